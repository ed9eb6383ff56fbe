"""The blueprints of the pages."""

from app.web.attention import blueprint as attention
from app.web.broadcasts import blueprint as broadcasts
from app.web.conversations.inbox import blueprint as inbox
from app.web.overview import blueprint as overview
from app.web.routes import blueprint as start
from app.web.sign_in import blueprint as sign_in

BLUEPRINTS = (start, sign_in, overview, broadcasts, attention, inbox)
