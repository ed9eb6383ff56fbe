"""What clients are to be told, written in the transaction that makes it true."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, insert

from app.db.base import table_of
from app.ids import make_id
from app.sms.context import Context
from app.sms.report_models import OutboxEvent

# Made once: to make a statement costs several times what it takes to run one.
_ADD = insert(table_of(OutboxEvent))


def note_for_client(
    tx: Connection, ctx: Context, *, client: str, kind: str, facts: Mapping[str, Any]
) -> None:
    """Note that a client is to be told of something, once this transaction is committed."""
    now = ctx.now()
    row = {"public_id": make_id(now), "client": client, "kind": kind, "at": now}
    tx.execute(_ADD, row | {"facts": dict(facts), "spread": False})
