"""The messages of a broadcast as a CSV file, of any size in the same memory."""

from collections.abc import Callable, Iterator
from functools import cache

from app.csv_cells import Cell, write_lines
from app.phone.e164 import mask_number
from app.sms.context import Context
from app.sms.lifecycle.counts import explain_exclusion
from app.sms.messages.list import MessageView, read_messages
from app.sms.models.statuses import MessageStatus, explain

_HEADING = ("recipient", "status", "code", "reason", "retry", "at", "batch_id", "client_reference")

_explain = cache(explain)


def export_messages(
    ctx: Context,
    public_id: str,
    *,
    masked: bool,
    status: MessageStatus | None = None,
    code: int | None = None,
) -> Iterator[str]:
    """The file, some thousand lines at a time.

    Nothing is held while a piece of it is on its way.  Raises NotFound and Conflict before the
    first piece, as read_messages does.
    """
    pages = read_messages(ctx, public_id, status=status, code=code)
    show_number = _mask_plainly if masked else str
    return _write(pages, show_number)


def _write(pages: Iterator[list[MessageView]], show_number: Callable[[str], str]) -> Iterator[str]:
    yield write_lines([_HEADING])
    for page in pages:
        yield write_lines(_make_row(each, show_number) for each in page)


def _make_row(message: MessageView, show_number: Callable[[str], str]) -> tuple[Cell, ...]:
    reason = explain_exclusion(message.status, message.exclusion_reason) or _explain(
        message.status, message.code
    )
    return (
        show_number(message.recipient),
        message.status.value,
        message.code,
        reason.sentence,
        reason.retry,
        message.at.isoformat() if message.at else None,
        message.batch_id,
        message.client_reference,
    )


def _mask_plainly(number: str) -> str:
    """A number masked in ASCII, which spreadsheets read without being told the encoding.

    >>> _mask_plainly("+46701234567")
    '+46*******67'
    """
    return mask_number(number).replace("•", "*")
