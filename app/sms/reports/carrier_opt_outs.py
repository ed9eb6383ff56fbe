"""Opt-outs that a carrier reports: code 257 of a delivery report."""

from collections.abc import Iterable

from sqlalchemy import Connection

from app.phone.e164 import normalise_number
from app.sms.context import Context
from app.sms.reports.record import DeliveryReport
from app.subscribers.consent.ledger import ConsentEntry
from app.subscribers.models import Cause, ConsentKind
from app.subscribers.suppressions.store import (
    SuppressionRequest,
    lock_suppressions_exclusive,
    suppress_many,
)

# The carrier reports that the recipient opted out.
OPTED_OUT_CODE = 257


def lock_for_codes(tx: Connection, codes: Iterable[int | None]) -> None:
    """Lock suppressions for a change if one of these report codes is an opt-out."""
    if any(code == OPTED_OUT_CODE for code in codes):
        lock_suppressions_exclusive(tx)


def apply_carrier_opt_outs(
    tx: Connection, ctx: Context, reports: Iterable[DeliveryReport]
) -> list[ConsentEntry]:
    """Suppress the recipients whose reports say that they opted out.

    Returns the records to append to the consent ledger.
    """
    records = []
    for report in reports:
        phone = normalise_number(report.recipient)
        if report.code != OPTED_OUT_CODE or phone is None:
            continue
        at = min(report.at or ctx.now(), ctx.now())
        request = SuppressionRequest(cause=Cause.CARRIER, actor="carrier", at=at)
        if suppress_many(tx, ctx.subscriber_context, [phone], request):
            records.append(
                ConsentEntry(
                    kind=ConsentKind.OPT_OUT,
                    phone=phone,
                    at=at,
                    channel="carrier",
                    actor="carrier",
                    source=f"report on {report.sinch_id or report.reference}",
                    wording=f"code {OPTED_OUT_CODE}",
                )
            )
    return records
