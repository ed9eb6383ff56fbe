"""Idempotency-Key: a repeated request gets the first one's answer and sends nothing.

https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/
A key belongs to its client, is stored in its broadcast's transaction and is kept for 30 days.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import sha256
from http import HTTPStatus
from typing import Any

from sqlalchemy import Connection, Row, and_, bindparam, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite

from app.db.base import table_of
from app.db.old_rows import OldRows
from app.db.prepared import Prepared
from app.errors import BadInput, KeyMisused, RequestRunning
from app.sms.context import Context
from app.sms.models.broadcast import IdempotencyKey

MAX_KEY_CHARACTERS = 255
_PRINTABLE = re.compile(rf"[ -~]{{1,{MAX_KEY_CHARACTERS}}}")
# A string of https://www.rfc-editor.org/rfc/rfc9651.html#section-3.3.3, without parameters.
_QUOTED = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\])*)"')
_KEYS = table_of(IdempotencyKey)
_IS_THIS = and_(_KEYS.c.client == bindparam("client"), _KEYS.c.key == bindparam("key"))
_SELECT = Prepared(select(_KEYS).where(_IS_THIS))
_DELETE_OLD = Prepared(delete(_KEYS).where(_IS_THIS, _KEYS.c.created_at <= bindparam("oldest")))
_INSERT = Prepared(
    {
        "sqlite": sqlite.insert(_KEYS).on_conflict_do_nothing(),
        "postgresql": postgresql.insert(_KEYS).on_conflict_do_nothing(),
    }
)
_KEEP_ANSWER = Prepared(
    update(_KEYS)
    .where(_IS_THIS, _KEYS.c.answer.is_(None))
    .values(answer_status=bindparam("new_status"), answer=bindparam("new_answer"))
)
# Beyond the longest answer of the first request.
_RUNNING_MARGIN_S = 10.0


class KeyTaken(Exception):
    """Another request with this key was stored first."""


@dataclass(frozen=True, slots=True)
class RequestKey:
    """A client's key and two SHA-256 of its request: of what it means, and of its bytes.

    Earlier versions stored the second.  `on_replay` is called when the request gets the answer of
    an earlier one, and `on_keep` with the broadcast's id in the transaction that stores the key.
    """

    value: str
    request_hash: bytes
    raw_hash: bytes = b""
    on_replay: Callable[[], object] = field(default=lambda: None, compare=False)
    on_keep: Callable[[Connection, int], object] = field(
        default=lambda tx, broadcast_id: None, compare=False
    )


def read_key(header: str, request_hash: bytes, raw_hash: bytes = b"") -> RequestKey:
    """Parse the header.  Raises BadInput for an invalid key.

    The draft requires quotes, most clients send none: quoted and bare keys are equal.

    >>> read_key('"8e03978e"', b"").value
    '8e03978e'
    >>> read_key("8e03978e", b"").value
    '8e03978e'
    """
    value = _unquote(header.strip(" \t"))
    if not _PRINTABLE.fullmatch(value):
        raise BadInput(
            f"Idempotency-Key must be 1 to {MAX_KEY_CHARACTERS} printable ASCII characters"
        )
    return RequestKey(value, request_hash, raw_hash)


def make_key(name: str) -> RequestKey:
    """Return the key of an action on a page, which is done once under this name."""
    return RequestKey(name, sha256(name.encode()).digest())


def _unquote(value: str) -> str:
    # WSGI joins a header that comes twice with a comma.
    if '"' not in value and "," not in value:
        return value
    quoted = _QUOTED.fullmatch(value)
    if not quoted:
        raise BadInput(
            'Idempotency-Key must come once: in "quotes", with a \\ before each " and \\ in it, '
            "or without any quotes and commas"
        )
    return re.sub(r"\\(.)", r"\1", quoted[1])


def find_replay(ctx: Context, key: RequestKey, *, client: str) -> Row[Any] | None:
    """Return the row of a key; None for a new key.  No answer: its request ended without one.

    Raises KeyMisused for a key of another request, RequestRunning while its first request runs.
    """
    with ctx.db.read() as tx:
        row: Row[Any] | None = _SELECT.first(tx, {"client": client, "key": key.value})
    if row is None or row.created_at <= ctx.seconds_from_now(-ctx.rules.idempotency_kept_s):
        return None
    if row.request_hash not in (key.request_hash, key.raw_hash):
        raise KeyMisused("This Idempotency-Key came with another request: use a new one for each.")
    remaining_s = (row.running_until - ctx.now()).total_seconds()
    # A clock that was set back must not block the answer for longer than a request takes.
    if row.answer is None and 0 < remaining_s <= _running_s(ctx):
        raise RequestRunning(
            "The first request with this Idempotency-Key is still running.", retry_after_s=2
        )
    key.on_replay()
    return row


def keep_key(
    tx: Connection,
    ctx: Context,
    key: RequestKey,
    *,
    client: str,
    broadcast_id: int,
    answer: dict[str, Any] | None,
) -> None:
    """Store the key with its broadcast, and a known answer.  Raises KeyTaken for a stored key."""
    now = ctx.now()
    oldest = now - timedelta(seconds=ctx.rules.idempotency_kept_s)
    _DELETE_OLD.change(tx, {"client": client, "key": key.value, "oldest": oldest})
    row = {
        "client": client,
        "key": key.value,
        "request_hash": key.request_hash,
        "broadcast_id": broadcast_id,
        "created_at": now,
        "running_until": now + timedelta(seconds=_running_s(ctx)),
        "answer_status": None if answer is None else HTTPStatus.ACCEPTED.value,
        "answer": answer,
    }
    if not _INSERT.change(tx, row):
        raise KeyTaken
    key.on_keep(tx, broadcast_id)


def keep_answer(
    tx: Connection, key: RequestKey, *, client: str, status: int, answer: dict[str, Any]
) -> None:
    """Store the answer to the first request with this key, unless one is stored."""
    values = {"client": client, "key": key.value, "new_status": status, "new_answer": answer}
    _KEEP_ANSWER.change(tx, values)


def old_keys(ctx: Context) -> OldRows:
    """Return the keys that are older than IDEMPOTENCY_KEPT_DAYS."""
    oldest = ctx.seconds_from_now(-ctx.rules.idempotency_kept_s)
    return OldRows(_KEYS, _KEYS.c.created_at <= oldest)


def _running_s(ctx: Context) -> float:
    return ctx.rules.budget_s + sum(ctx.rules.lookup_waits_s) + _RUNNING_MARGIN_S
