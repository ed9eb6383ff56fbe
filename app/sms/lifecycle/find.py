"""Find a broadcast by its public id, behind the wall between clients."""

from http import HTTPStatus
from typing import Any

from sqlalchemy import Connection, Row

from app.db.base import table_of
from app.errors import ClarionError, NotFound
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


class Purged(ClarionError):
    """The texts and numbers of a broadcast were deleted: its counts are left."""

    status = HTTPStatus.GONE


def require_kept(broadcast: Row[Any]) -> None:
    """Raise Purged if the texts and numbers of a broadcast were deleted."""
    if broadcast.purged_at is not None:
        raise Purged(
            "The text and numbers of this broadcast were deleted on "
            f"{broadcast.purged_at:%Y-%m-%d}; its counts are kept.",
            purged_at=broadcast.purged_at.isoformat(),
        )
