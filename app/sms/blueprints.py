"""The blueprints of broadcasts and messages, the `sms` blueprint first."""

from app.sms.analytics.routes import blueprint as analytics
from app.sms.broadcasts.routes import blueprint as sms
from app.sms.content.template_routes import blueprint as templates
from app.sms.inbound.routes import blueprint as inbounds
from app.sms.messages.routes import blueprint as messages
from app.sms.privacy.routes import blueprint as privacy
from app.sms.quotes.price_routes import blueprint as prices
from app.sms.quotes.routes import blueprint as quotes
from app.sms.recovery.routes import blueprint as recovery

BLUEPRINTS = (sms, messages, recovery, analytics, inbounds, prices, quotes, templates, privacy)
