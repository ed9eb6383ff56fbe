"""Opt-outs that a carrier reports: code 257 of a delivery report."""

from collections.abc import Iterable

from sqlalchemy import Connection

from app.phone.e164 import normalise_number
from app.sms.context import Context
from app.sms.reports.record import DeliveryReport
from app.subscribers.consent.ledger import ConsentRecord
from app.subscribers.models import Cause, ConsentKind
from app.subscribers.suppressions.store import lock_suppressions_exclusive, suppress

# The carrier says that the person opted out.
OPTED_OUT_CODE = 257


def lock_for_codes(tx: Connection, codes: Iterable[int | None]) -> None:
    """Hold suppressions for the change when one of these codes of reports brings one about."""
    if any(code == OPTED_OUT_CODE for code in codes):
        lock_suppressions_exclusive(tx)


def apply_carrier_opt_outs(
    tx: Connection, ctx: Context, told: Iterable[DeliveryReport]
) -> list[ConsentRecord]:
    """Suppress whom a carrier reports as opted out; what is to be written into the ledger of it."""
    said = []
    for each in told:
        if each.code != OPTED_OUT_CODE or not normalise_number(each.recipient):
            continue
        at = min(each.at or ctx.now(), ctx.now())
        if suppress(
            tx, ctx.subscriber_context, each.recipient, cause=Cause.CARRIER, actor="carrier", at=at
        ):
            said.append(
                ConsentRecord(
                    kind=ConsentKind.OPT_OUT,
                    phone=each.recipient,
                    at=at,
                    channel="carrier",
                    actor="carrier",
                    source=f"report on {each.sinch_id or each.reference}",
                    wording=f"code {OPTED_OUT_CODE}",
                )
            )
    return said
