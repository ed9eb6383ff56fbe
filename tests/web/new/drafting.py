"""A person at the steps of a new broadcast."""

import re

HIDDEN = re.compile(r'name="(version|quote)" value="([^"]+)"')


def send(visitor, path, fields=None):
    return visitor.post(path, fields, on="/new")


def begin(visitor, text="Pickup moved to 08:30"):
    """Save a text as a new draft.  Returns the path of the draft."""
    form = re.search(r'action="(/new/\w+)/text"', visitor.get("/new").text)[1]
    answer = send(visitor, f"{form}/text", {"message": text, "go": "on"})
    assert answer.headers["Location"] == f"{form}/audience"
    return form


def fill_in(visitor, *numbers, text="Pickup moved to 08:30", category="transactional"):
    """Make a draft with all that it needs.  Returns its path."""
    draft = begin(visitor, text)
    pasted = {"kind": "numbers", "numbers": "\r\n".join(numbers)}
    assert send(visitor, f"{draft}/audience", pasted).headers["Location"] == f"{draft}/when"
    when = {"category": category}
    assert send(visitor, f"{draft}/when", when).headers["Location"] == f"{draft}/confirm"
    return draft


def read_form(visitor, draft):
    return dict(HIDDEN.findall(visitor.get(f"{draft}/confirm?counted=1").text))
