"""What Sinch itself says that an order would take; nothing is sent."""

from dataclasses import dataclass

from app.sinch.errors import (
    SinchBusy,
    SinchError,
    SinchMisconfigured,
    SinchRefusal,
    SinchUnreachable,
)
from app.sinch.schemas import OutgoingBatch
from app.sms.audience.chunks import AudienceChunk
from app.sms.audience.expand import iterate_chunks
from app.sms.content.placeholders import DEFAULT, find_placeholders
from app.sms.context import Context
from app.sms.quotes.estimate import list_parts
from app.sms.request.model import BroadcastRequest, collect_defaults

_WITHIN_S = 5.0
_REFERENCE = "cl-dry-run"


@dataclass(frozen=True, slots=True, kw_only=True)
class DryRunCheck:
    """The first recipients of an order, and the parts of all their texts together.

    `recipients` and `parts` are Sinch's word, `our_parts` is what we make of the same texts.
    Without Sinch's word `problem` says why.
    """

    recipients: int | None = None
    parts: int | None = None
    our_parts: int = 0
    problem: str | None = None


def cross_check(ctx: Context, request: BroadcastRequest) -> DryRunCheck:
    """Have Sinch count the parts of a first batch, of 1,000 recipients at most.

    Whatever Sinch answers, or fails to, is told and never raised.
    """
    piece = next(
        (each for each in iterate_chunks(ctx, request) if each.exclusion_reason is None), None
    )
    if piece is None or not piece.recipients:
        return DryRunCheck(problem="Nobody is left whom Sinch could be asked about.")
    text = request.texts.get(piece.language or "", request.text)
    values = _collect_values(request, piece, text)
    ours = sum(list_parts(text, piece, collect_defaults(request), piece.recipients))
    batch = OutgoingBatch(
        recipients=piece.recipients,
        text=text,
        sender=request.sender or ctx.default_sender,
        client_reference=_REFERENCE,
        parameters=values or None,
        flash=request.flash,
    )
    try:
        answer = ctx.sinch.dry_run_batch(batch, within_s=_WITHIN_S)
    except SinchError as e:
        return DryRunCheck(our_parts=ours, problem=_explain(e))
    return DryRunCheck(recipients=answer.recipients, parts=answer.parts, our_parts=ours)


def _collect_values(
    request: BroadcastRequest, piece: AudienceChunk, text: str
) -> dict[str, dict[str, str]]:
    """For each placeholder of the text the values of these recipients, and the default."""
    own, defaults = piece.own or {}, collect_defaults(request)
    values = {name: dict(own.get(name, {})) for name in find_placeholders(text)}
    for name in values:
        if name in defaults:
            values[name][DEFAULT] = defaults[name]
    return values


def _explain(error: SinchError) -> str:
    if isinstance(error, SinchUnreachable):
        return "Sinch cannot be reached."
    if isinstance(error, SinchBusy):
        return "Sinch is busy: ask again later."
    if isinstance(error, SinchMisconfigured):
        return f"Sinch takes nothing from this account as it is set up ({error})."
    if isinstance(error, SinchRefusal):
        return f"Sinch refuses this text ({error})."
    return "Sinch gave no usable answer."
