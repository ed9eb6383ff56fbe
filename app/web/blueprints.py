"""The blueprints of the pages."""

from app.web.accounts.account import blueprint as account
from app.web.accounts.sign_in import blueprint as sign_in
from app.web.accounts.users import blueprint as users
from app.web.admin.audit import blueprint as audit
from app.web.admin.caps import blueprint as caps
from app.web.admin.keys import blueprint as keys
from app.web.broadcasts.attention import blueprint as attention
from app.web.broadcasts.pages import blueprint as broadcasts
from app.web.broadcasts.people import blueprint as broadcast_people
from app.web.broadcasts.resend import blueprint as resends
from app.web.conversations.inbox import blueprint as inbox
from app.web.conversations.tags import blueprint as tags
from app.web.conversations.templates import blueprint as templates
from app.web.glossary import blueprint as glossary
from app.web.new.audience import blueprint as new_audience
from app.web.new.audiences import blueprint as audiences
from app.web.new.confirm import blueprint as new_confirm
from app.web.new.drafts import blueprint as drafts
from app.web.new.text import blueprint as new_text
from app.web.new.when import blueprint as new_when
from app.web.overview import blueprint as overview
from app.web.routes import blueprint as start
from app.web.subscribers.add import blueprint as add_person
from app.web.subscribers.change import blueprint as change_person
from app.web.subscribers.erase import blueprint as erase_person
from app.web.subscribers.imports import blueprint as imports
from app.web.subscribers.people import blueprint as people
from app.web.subscribers.person import blueprint as person
from app.web.subscribers.suppressions import blueprint as suppressions

BLUEPRINTS = (
    start,
    sign_in,
    account,
    overview,
    broadcasts,
    broadcast_people,
    resends,
    attention,
    people,
    person,
    add_person,
    change_person,
    erase_person,
    imports,
    suppressions,
    inbox,
    templates,
    tags,
    users,
    keys,
    caps,
    audit,
    drafts,
    new_text,
    new_audience,
    audiences,
    new_when,
    new_confirm,
    glossary,
)
