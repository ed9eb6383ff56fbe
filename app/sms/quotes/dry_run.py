"""Sinch's own count of a broadcast request's parts, by a dry run: nothing is sent."""

from dataclasses import dataclass

from app.sinch.errors import (
    SinchBusy,
    SinchError,
    SinchMisconfigured,
    SinchRefusal,
    SinchUnreachable,
)
from app.sinch.schemas import OutgoingBatch
from app.sms.audience.chunks import MAX_BATCH_RECIPIENTS
from app.sms.audience.expand import iterate_chunks
from app.sms.context import Context
from app.sms.dispatch.payload import merge_parameters
from app.sms.quotes.estimate import list_parts
from app.sms.request.model import BroadcastRequest, collect_defaults

_WITHIN_S = 5.0
_REFERENCE = "cl-dry-run"


@dataclass(frozen=True, slots=True, kw_only=True)
class DryRunCheck:
    """Recipients and parts of a first batch as Sinch counts them, and our count of its parts.

    Without an answer of Sinch `problem` says why.
    """

    recipients: int | None = None
    parts: int | None = None
    our_parts: int = 0
    problem: str | None = None


def cross_check(ctx: Context, request: BroadcastRequest) -> DryRunCheck:
    """Have Sinch count the parts of a first batch, of 1,000 recipients at most.

    Sinch's errors are returned as a problem and never raised.
    """
    chunks = iterate_chunks(ctx, request, page_size=MAX_BATCH_RECIPIENTS)
    chunk = next((chunk for chunk in chunks if chunk.exclusion_reason is None), None)
    if chunk is None or not chunk.recipients:
        return DryRunCheck(problem="No recipient is left to ask Sinch about.")
    our_parts = sum(list_parts(request, chunk, chunk.recipients))
    batch = OutgoingBatch(
        recipients=chunk.recipients,
        text=request.texts.get(chunk.language or "", request.text),
        sender=request.sender or ctx.default_sender,
        client_reference=_REFERENCE,
        parameters=merge_parameters(
            collect_defaults(request), chunk.parameters or {}, chunk.recipients
        ),
        flash=request.flash,
    )
    try:
        answer = ctx.sinch.dry_run_batch(batch, within_s=_WITHIN_S)
    except SinchError as e:
        return DryRunCheck(our_parts=our_parts, problem=_explain(e))
    return DryRunCheck(recipients=answer.recipients, parts=answer.parts, our_parts=our_parts)


def _explain(error: SinchError) -> str:
    if isinstance(error, SinchUnreachable):
        return "Sinch cannot be reached."
    if isinstance(error, SinchBusy):
        return "Sinch is busy: try again later."
    if isinstance(error, SinchMisconfigured):
        return f"Sinch accepts nothing from this account as it is set up ({error})."
    if isinstance(error, SinchRefusal):
        return f"Sinch rejects this text ({error})."
    return "Sinch gave no usable answer."
