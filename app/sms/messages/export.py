"""CSV export of a broadcast's messages, of any size in constant memory."""

from collections.abc import Callable, Iterator
from functools import cache

from app.csv_cells import Cell, write_lines
from app.phone.e164 import mask_number
from app.sms.context import Context
from app.sms.lifecycle.counts import explain_exclusion
from app.sms.messages.list import MessageView, read_messages
from app.sms.messages.queries import ALL, MessageFilter
from app.sms.models.statuses import explain

_HEADERS = ("recipient", "status", "code", "reason", "retry", "at", "batch_id", "client_reference")

_explain = cache(explain)


def export_messages(
    ctx: Context, public_id: str, *, masked: bool, wanted: MessageFilter = ALL
) -> Iterator[str]:
    """Return the file, some thousand lines at a time.

    No transaction is open between them.  Raises NotFound and Conflict before the first, as
    read_messages does.
    """
    pages = read_messages(ctx, public_id, wanted=wanted)
    return _write_pages(pages, _mask_in_ascii if masked else str)


def _write_pages(
    pages: Iterator[list[MessageView]], format_number: Callable[[str], str]
) -> Iterator[str]:
    yield write_lines([_HEADERS])
    for page in pages:
        yield write_lines(_make_row(message, format_number) for message in page)


def _make_row(message: MessageView, format_number: Callable[[str], str]) -> tuple[Cell, ...]:
    reason = explain_exclusion(message.status, message.exclusion_reason) or _explain(
        message.status, message.code
    )
    return (
        format_number(message.recipient),
        message.status.value,
        message.code,
        reason.sentence,
        reason.retry,
        message.at.isoformat() if message.at else None,
        message.batch_id,
        message.client_reference,
    )


def _mask_in_ascii(number: str) -> str:
    """Mask a number in ASCII, which spreadsheets read in any encoding.

    >>> _mask_in_ascii("+46701234567")
    '+46*******67'
    """
    return mask_number(number).replace("•", "*")
