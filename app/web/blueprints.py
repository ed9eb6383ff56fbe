"""The blueprints of the pages."""

from app.web.attention import blueprint as attention
from app.web.broadcasts import blueprint as broadcasts
from app.web.conversations.inbox import blueprint as inbox
from app.web.overview import blueprint as overview
from app.web.routes import blueprint as start
from app.web.sign_in import blueprint as sign_in
from app.web.subscribers.people import blueprint as people
from app.web.subscribers.person import blueprint as person

BLUEPRINTS = (start, sign_in, overview, broadcasts, attention, people, person, inbox)
