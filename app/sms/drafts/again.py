"""A new draft from a broadcast: its text, its people, sender and category, never its schedule."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, select

from app.db.base import table_of
from app.errors import Conflict
from app.phone.e164 import find_pseudonyms
from app.sms.content.placeholders import DEFAULT
from app.sms.content.templates import TemplateMissing, load_template
from app.sms.context import Context
from app.sms.drafts.numbers import MAX_NUMBERS
from app.sms.drafts.store import save_draft
from app.sms.lifecycle.find import find_broadcast
from app.sms.models.broadcast import Chunk

_CHUNKS = table_of(Chunk)
# Options that the pages do not offer, by their words.
_OPTIONS = {
    "flash": "that it is shown at once and not stored",
    "max_parts": "its largest number of parts",
    "delivery_report": "its kind of delivery reports",
}


def copy_broadcast(ctx: Context, public_id: str, draft_id: str, *, user: str) -> list[str]:
    """Make a draft of a broadcast.  Returns sentences about what is not copied or not as it was.

    Raises NotFound for an unknown broadcast, and DraftSent if the draft is a broadcast already.
    """
    with ctx.db.read() as tx:
        row = find_broadcast(tx, ctx, public_id)
        sentences: list[str] = []
        body = _copy_text(tx, ctx, row, sentences) | _copy_audience(row)
        numbers = None if row.audience else _copy_numbers(tx, row, sentences)
    if row.sender != ctx.default_sender:
        body["sender"] = row.sender
    body["category"] = row.category.value
    options = [words for name, words in _OPTIONS.items() if name in row.options]
    sentences += [f"Not copied: {words}." for words in options]
    save_draft(ctx, draft_id, body, user=user, columns={"numbers": numbers})
    return sentences


def _copy_text(tx: Connection, ctx: Context, row: Row[Any], sentences: list[str]) -> dict[str, Any]:
    """Return the template, or the text as it was sent, and the defaults of placeholders."""
    defaults: Mapping[str, str] = row.options.get("defaults") or {}
    body: dict[str, Any] = {}
    if defaults:
        body["parameters"] = {name: {DEFAULT: value} for name, value in defaults.items()}
    if "template" not in row.options:
        return body | ({"message": row.text} if row.text else {})
    name, version = row.options["template"]
    try:
        newest = load_template(tx, ctx.viewer, name, None).version
    except (TemplateMissing, Conflict):
        sentences.append(f"The template {name} cannot be used any more: its text is copied.")
        if row.texts:
            sentences.append(f"Of {len(row.texts)} languages one is copied.")
        return body | {"message": row.text}
    if newest != version:
        sentences.append(f"The template {name} has version {newest} now; it was {version}.")
    return body | {"template": {"name": name}, "language": row.options.get("language")}


def _copy_audience(row: Row[Any]) -> dict[str, Any]:
    if row.audience is None:
        return {}
    fields = row.audience["fields"]
    return {"audience": row.audience["select"]} | ({"fields": fields} if fields else {})


def _copy_numbers(tx: Connection, row: Row[Any], sentences: list[str]) -> str | None:
    """Return the numbers, one a line; None if they are too many, or all erased."""
    if row.recipients > MAX_NUMBERS:
        sentences.append(
            f"Its {row.recipients:,} numbers are not copied: more than {MAX_NUMBERS:,} belong in a "
            "file, with a tag."
        )
        return None
    chunks = tx.execute(
        select(_CHUNKS.c.recipients, _CHUNKS.c.parameters)
        .where(_CHUNKS.c.broadcast_id == row.id)
        .order_by(_CHUNKS.c.number)
    ).all()
    recipients = list(_list_recipients(chunks))
    if not recipients:
        sentences.append("Its numbers are not kept any more.")
    erased = set(find_pseudonyms(recipients))
    if erased:
        people = "1 person" if len(erased) == 1 else f"{len(erased):,} people"
        sentences.append(f"Not copied: {people} whose data was erased.")
    if any(chunk.parameters for chunk in chunks):
        sentences.append("Not copied: values of single people; each gets the default.")
    return "\n".join(phone for phone in recipients if phone not in erased) or None


def _list_recipients(chunks: Sequence[Any]) -> Iterator[str]:
    for chunk in chunks:
        yield from filter(None, chunk.recipients.split("\n"))
