"""Find a broadcast by its public id, behind the wall between clients."""

from typing import Any

from sqlalchemy import Connection, Row

from app.db.base import table_of
from app.errors import NotFound
from app.sms.context import Context
from app.sms.models.broadcast import Broadcast

_BROADCASTS = table_of(Broadcast)


def find_broadcast(tx: Connection, ctx: Context, public_id: str, *, lock: bool = False) -> Row[Any]:
    """Return a broadcast that the viewer sees; `lock` locks it until the transaction ends.

    Raises NotFound, also for a broadcast of another client.
    """
    broadcast = ctx.viewer.find(tx, _BROADCASTS, public_id, lock=lock)
    if broadcast is None:
        raise NotFound("There is no such broadcast.")
    return broadcast
