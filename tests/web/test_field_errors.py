"""Errors at the fields of all forms: each is a sentence, and the note on top leads to its field."""

import re
from html.parser import HTMLParser

from app.accounts.roles import Role
from tests.web.addresses import list_pages
from tests.web.hostile import reach
from tests.web.new.drafting import fill_in
from tests.web.samples import make_samples
from tests.web.visitor import read_words, visit

# What fields of text hold: nothing, too much, and what is neither name nor number.
_WRONG = ("", "x" * 3_000, "!")
_SENTENCE = re.compile(r"[A-Z0-9“'\"].*\.")
# Words of programs: the reasons of marshmallow, and names of fields.
_JARGON = re.compile(r"Length must|Not a valid|required field|double quotes|\w_\w.*:|^\w+: ")
_WRONG_AT_FIELD = re.compile(r'<p class="wrong".*?</p>', re.S)
_LINKS = re.compile(r'<li><a href="#([^"]*)">')


class FormReader(HTMLParser):
    """Reads the forms of a page: where each is sent, its values, and which of them are written."""

    def __init__(self, address: str, page: str) -> None:
        super().__init__()
        self.address = address
        self.forms: list[tuple[str, dict[str, str], list[str]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        name, kind = given.get("name"), given.get("type", "text")
        if tag == "form" and given.get("method") == "post":
            self.forms.append((given.get("action") or self.address, {}, []))
        if not self.forms or not name or kind in ("file", "checkbox"):
            return
        _, values, written = self.forms[-1]
        if tag == "textarea" or (tag == "input" and kind not in ("hidden", "radio")):
            written.append(name)
        elif tag == "input" and (kind == "hidden" or "checked" in given):
            values[name] = given.get("value") or ""


def test_every_error_at_a_field_is_a_sentence_and_the_note_leads_to_it(service, sandbox):
    admin = visit(service, Role.ADMIN)
    (values,) = make_samples(*reach(service), ["hello"])
    values["draft_id"] = fill_in(admin, "+46701234567").split("/")[2]
    pages = [
        route.address(values)
        for route in list_pages(service)
        if route.rule.arguments <= values.keys() and "count" not in route.rule.rule
    ]
    forms = {
        form[0]: form
        for page in pages
        for form in FormReader(page, admin.get(page).text).forms
        if form[2]
    }
    wrong, found = [], 0

    for action, known, written in forms.values():
        for text in _WRONG:
            answer = admin.client.post(action, data=known | dict.fromkeys(written, text)).text
            said = [read_words(each) for each in _WRONG_AT_FIELD.findall(answer)]
            found += len(said)
            wrong += [
                f"{action}: {sentence}"
                for sentence in said
                if not _SENTENCE.fullmatch(sentence) or _JARGON.search(sentence)
            ]
            wrong += [
                f"{action} leads to {field}"
                for field in _LINKS.findall(answer)
                if f'id="{field}"' not in answer
            ]

    assert wrong == []
    assert found > 20
