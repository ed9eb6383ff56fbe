"""Storage of drafts.  A draft that was sent does not change any more."""

import re
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Row, Select, delete, insert, or_, select, update

from app.db.audit import write_audit
from app.db.base import table_of
from app.db.engine import lock_table
from app.db.old_rows import OldRows
from app.errors import Conflict, NotFound
from app.ids import ID_CHARACTERS
from app.keywords.instructions import has_instruction
from app.pagination import Page, read_newest
from app.sms.content.placeholders import PLACEHOLDER
from app.sms.context import Context
from app.sms.drafts.people_file import forget_in_file
from app.sms.models.broadcast import Broadcast
from app.sms.models.draft import StoredDraft

_MAX_TITLE = 48
_UNTITLED = "Without a text"
_DRAFTS, _BROADCASTS = table_of(StoredDraft), table_of(Broadcast)
_ID = re.compile(rf"[0-9a-hjkmnp-tv-z]{{{ID_CHARACTERS}}}")
_APPROVAL = ("asked_at", "asked_by", "approved_at", "approved_by")
_APPROVED = ("approved_text", "approved_people", "approved_figures")
_NOT_APPROVED = dict.fromkeys(_APPROVAL + _APPROVED)


class DraftChanged(Conflict):
    """The draft is not the version that was looked at: nothing was done."""


class DraftSent(Conflict):
    """The draft is a broadcast already, `broadcast_id`: nothing was done."""


def save_draft(
    ctx: Context,
    public_id: str,
    changes: Mapping[str, Any],
    *,
    user: str,
    columns: Mapping[str, Any] | None = None,
) -> int:
    """Change keys of a draft's body, and other columns; None removes.  Returns the version.

    A draft that does not exist is made.  What changes nothing keeps version and approval.  Raises
    DraftSent.
    """
    if not _ID.fullmatch(public_id):
        raise NotFound("There is no such draft.")
    now = ctx.now()
    with ctx.db.write() as tx:
        row = _find(tx, public_id, lock=True)
        if row is None:
            # Another press of the button may make it meanwhile.
            lock_table(tx, _DRAFTS)
            row = _find(tx, public_id, lock=True)
        if row is not None:
            _reject_sent(row)
        body = {**(row.body if row else {}), **changes}
        body = {name: value for name, value in body.items() if value is not None}
        values = {"title": _choose_title(body), "body": body, **(columns or {})}
        if row is None:
            made = {"public_id": public_id, "version": 1, "created_at": now, "created_by": user}
            tx.execute(insert(_DRAFTS), {**made, **values, "changed_at": now, "changed_by": user})
            return 1
        version: int = row.version
        if all(row._mapping[name] == value for name, value in values.items()):
            return version
        changed = {"version": version + 1, "changed_at": now, "changed_by": user}
        ours = update(_DRAFTS).where(_DRAFTS.c.id == row.id)
        tx.execute(ours.values(**values, **changed, **_NOT_APPROVED))
        return version + 1


def find_draft(ctx: Context, public_id: str) -> Row[Any]:
    """Return a draft, with the public id of its broadcast as `broadcast`.  Raises NotFound."""
    with ctx.db.read() as tx:
        row = _find(tx, public_id)
    if row is None:
        raise NotFound("There is no such draft.")
    return row


def list_drafts(ctx: Context, *, cursor: int | None = None, limit: int = 50) -> Page[Row[Any]]:
    """List drafts that are not sent, the newest first."""
    shown = (_DRAFTS.c[name] for name in ("id", "public_id", "title", "changed_at", "changed_by"))
    query: Select[Any] = select(*shown)
    query = query.where(_DRAFTS.c.broadcast_id.is_(None))
    with ctx.db.read() as tx:
        return read_newest(tx, query, _DRAFTS.c.id, cursor=cursor, limit=limit)


def delete_draft(ctx: Context, public_id: str, *, actor: str) -> None:
    """Delete a draft that is not sent.  Raises NotFound and DraftSent."""
    with ctx.db.write() as tx:
        row = _find(tx, public_id, lock=True)
        if row is None:
            raise NotFound("There is no such draft.")
        _reject_sent(row)
        tx.execute(delete(_DRAFTS).where(_DRAFTS.c.id == row.id))
        write_audit(tx, ctx.now(), actor, "delete draft", public_id)


def mark_sent(tx: Connection, public_id: str, version: int, broadcast_id: int) -> None:
    """Make a draft the broadcast that is stored in this transaction.  Raises DraftChanged."""
    # The broadcast has the numbers.
    change_version(tx, public_id, version, broadcast_id=broadcast_id, numbers=None, file=None)


def change_version(tx: Connection, public_id: str, version: int, **columns: Any) -> None:
    """Change columns of a version of a draft that is not sent.

    Raises DraftChanged for a draft of another version, or that is a broadcast already.
    """
    ours = update(_DRAFTS).where(
        _DRAFTS.c.public_id == public_id,
        _DRAFTS.c.version == version,
        _DRAFTS.c.broadcast_id.is_(None),
    )
    if not tx.execute(ours.values(columns)).rowcount:
        raise DraftChanged("The draft was changed meanwhile: nothing was done.")


def forget_in_drafts(tx: Connection, phone: str) -> None:
    """Remove a number from drafts, and the rows of files that have it, however it is written."""
    query = select(_DRAFTS.c.id, _DRAFTS.c.numbers, _DRAFTS.c.file)
    found = or_(_DRAFTS.c.numbers.contains(phone), _DRAFTS.c.file.is_not(None))
    for row in tx.execute(query.where(found).with_for_update()).all():
        numbers = [number for number in (row.numbers or "").split("\n") if number != phone]
        left = {"numbers": "\n".join(numbers) or None, "file": row.file}
        if row.file:
            left["file"] = forget_in_file(row.file, phone)
        if left != {"numbers": row.numbers, "file": row.file}:
            ours = update(_DRAFTS).where(_DRAFTS.c.id == row.id)
            tx.execute(ours.values(**left, version=_DRAFTS.c.version + 1))


def old_drafts(ctx: Context) -> OldRows:
    """Return the drafts that were not changed for DRAFTS_KEPT_DAYS, sent or not."""
    return OldRows(_DRAFTS, _DRAFTS.c.changed_at < ctx.seconds_from_now(-ctx.rules.drafts_kept_s))


def delete_draft_of(tx: Connection, broadcast_id: int) -> None:
    """Delete the draft that became a broadcast."""
    tx.execute(delete(_DRAFTS).where(_DRAFTS.c.broadcast_id == broadcast_id))


def make_title(message: str) -> str:
    """Return the beginning of a text, in one line, without its opt-out footer and placeholders.

    >>> make_title("Pickup\\nmoved"), len(make_title("a" * 49))
    ('Pickup moved', 48)
    >>> make_title("Doors open\\nReply STOP to unsubscribe"), make_title("Reply STOP")
    ('Doors open', 'Reply STOP')
    >>> make_title("Hi ${first_name}, doors open")
    'Hi …, doors open'
    """
    before, _, last = message.rpartition("\n")
    said = before if before and has_instruction(last) else message
    text = " ".join(PLACEHOLDER.sub("…", said).split()) or _UNTITLED
    return text if len(text) <= _MAX_TITLE else text[: _MAX_TITLE - 1] + "…"


def _choose_title(body: Mapping[str, Any]) -> str:
    """Return the title of a draft: of its template's name, else of its text."""
    return make_title(body["template"]["name"] if "template" in body else body.get("message", ""))


def _find(tx: Connection, public_id: str, *, lock: bool = False) -> Row[Any] | None:
    broadcast = select(_BROADCASTS.c.public_id).where(_BROADCASTS.c.id == _DRAFTS.c.broadcast_id)
    query = select(_DRAFTS, broadcast.scalar_subquery().label("broadcast"))
    query = query.where(_DRAFTS.c.public_id == public_id)
    return tx.execute(query.with_for_update(of=_DRAFTS) if lock else query).first()


def _reject_sent(row: Row[Any]) -> None:
    if row.broadcast_id is not None:
        raise DraftSent("The draft is a broadcast already.", broadcast_id=row.broadcast)
