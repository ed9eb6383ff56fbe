"""The blueprints of subscribers, their tags, audiences, suppressions, consent and imports."""

from app.subscribers.audiences.routes import blueprint as audiences
from app.subscribers.consent.routes import blueprint as consent
from app.subscribers.imports.routes import blueprint as imports
from app.subscribers.profiles.routes import blueprint as subscribers
from app.subscribers.suppressions.routes import blueprint as suppressions
from app.subscribers.tags.routes import blueprint as tags

BLUEPRINTS = (subscribers, tags, audiences, imports, suppressions, consent)
