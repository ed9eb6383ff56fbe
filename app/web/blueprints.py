"""The blueprints of the pages."""

from app.web import glossary, overview, routes
from app.web.accounts import account, sign_in, users
from app.web.admin import audit, caps, keys
from app.web.broadcasts import attention, pages, resend
from app.web.broadcasts import people as broadcast_people
from app.web.conversations import inbox, tags, templates
from app.web.new import audience, audiences, confirm, drafts, text, when
from app.web.subscribers import add, change, erase, imports, people, person, suppressions

_MODULES = (
    *(routes, overview, glossary),
    *(sign_in, account, users, keys, caps, audit),
    *(pages, broadcast_people, resend, attention),
    *(people, person, add, change, erase, imports, suppressions),
    *(inbox, templates, tags),
    *(drafts, text, audience, audiences, when, confirm),
)
BLUEPRINTS = tuple(module.blueprint for module in _MODULES)
