"""The page that says what every word of the pages means."""

from flask import render_template

from app.accounts.roles import ROLE_SENTENCES, Role
from app.web.broadcasts.accounting import LINES
from app.web.guard import make_page_blueprint, require_role

blueprint = make_page_blueprint("glossary")

_TERMS = {
    "Text": "What one person gets on their phone: an SMS.",
    "Part": "A text of up to 160 characters is one part, or of up to 70 once one of them is "
    "outside the usual set, such as an emoji. A longer one is sent in parts of 153 or 67, and each "
    "is paid for.",
    "Broadcast": "One text to many people, or to one.",
    "Draft": "A broadcast that is being written. Nothing of it is sent until it is confirmed.",
    "Approval": "A second person looks at a large broadcast before it is sent.",
    "Audience": "The people whom a broadcast is for: by tags and values, by numbers, or by a file.",
    "Tag": "A word on people, such as members. A broadcast may go to all who have it.",
    "Value": "What is stored of a person beside the name, such as a city. Texts may contain it.",
    "Marketing": "Offers and news. Only people who agreed to it get it, and not in quiet hours.",
    "Transactional": "What a person ordered or needs, such as a code. It needs no agreement.",
    "Agreed": "A person said yes to marketing: the words, the place and the time are kept.",
    "Opted out": "A person wants no marketing, or no text at all. It takes effect at once and "
    "holds over every import.",
    "Perhaps “stop”": "A text that may mean “stop”. Its number gets nothing until an operator has "
    "read it.",
    "Quiet hours": "The night where a person is. Marketing waits for their morning.",
    "Handed to Sinch": "Sinch has the text, and brings it to the network of the phone.",
    "Thread": "All texts with one person, both ways.",
    "Sealed": "Each entry of a consent history has a checksum that includes the entry before, so "
    "that a later change shows.",
    "Suppression key": "Opt-outs of erased people are kept under SUPPRESSION_KEY, or under a key "
    "made of SECRET_KEY. Set it in the environment or in .env as it was when they were erased, and "
    "start the service and its workers again: under another key nothing is sent.",
    "Wrong figures": "A check found figures that do not add up: a fault of Clarion. Change nothing "
    "in the database by hand, keep the log and a backup, and report it. Broadcasts may go on.",
}


@blueprint.get("/words")
@require_role(Role.VIEWER)
def show_words() -> str:
    """Explain the statuses, the words and the roles."""
    return render_template("glossary.html", lines=LINES, terms=_TERMS, roles=ROLE_SENTENCES)
