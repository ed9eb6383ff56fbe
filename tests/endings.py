"""What Sinch reports of the messages of a broadcast, given by number."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import select

from app.sms.context import Context
from app.sms.models.batch import Batch, Message
from app.sms.models.broadcast import Broadcast
from tests.callers import id_of
from tests.reporting import AT, report, tell


def end_messages(
    ctx: Context, made: Any, ends: Mapping[str, tuple[str, int]], *, at: datetime | None = None
) -> None:
    """Have Sinch report status and code on these recipients, all at once."""
    batches = read_batches(ctx, id_of(made))
    moment = at.isoformat() if at else AT
    tell(
        ctx,
        *(
            report(number, status, code, batch=batches[number], at=moment)
            for number, (status, code) in ends.items()
        ),
    )


def read_batches(ctx: Context, public_id: str) -> dict[str, str]:
    """Sinch's name for the batch that each recipient is in."""
    query = (
        select(Message.recipient, Batch.sinch_id)
        .join(Batch, Batch.id == Message.batch_id)
        .join(Broadcast, Broadcast.id == Message.broadcast_id)
        .where(Broadcast.public_id == public_id)
    )
    with ctx.db.read() as tx:
        return {row.recipient: row.sinch_id for row in tx.execute(query)}
