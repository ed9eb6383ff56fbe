"""The page on which an operator decides about a batch of unknown outcome."""

from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any

from flask import current_app, flash, render_template, request
from marshmallow import ValidationError
from sqlalchemy import Row
from werkzeug.wrappers import Response

from app.accounts.roles import Role
from app.errors import Conflict
from app.sms.context import Context
from app.sms.current import current_context
from app.sms.models.states import AT_SINCH, Attention, BatchState
from app.sms.operations.history import HistoryEntry
from app.sms.recovery.attention import (
    find_attention,
    find_batch,
    price_batch,
    read_attempt,
    read_decision,
    resolve_batch,
)
from app.sms.recovery.routes import DecisionSchema
from app.web.broadcasts.history import describe_entry
from app.web.broadcasts.states import name_row
from app.web.guard import describe_actor, flash_refusal, go_to, make_page_blueprint, require_role
from app.web.new.figures import read_micros, say_about
from app.web.new.frame import go_to_broadcast
from app.web.words import clock_time, say_duration, texts

blueprint = make_page_blueprint("attention")

# What we think, and why.
_LIKELY = {
    Attention.ABSENT: (
        "Most likely they were not sent.",
        "Sinch's list does not show the batch, though it was asked for it again and again.",
    ),
    Attention.UNREADABLE: (
        "It cannot be told.",
        "Sinch's list could not be read while it could have shown the batch.",
    ),
    Attention.MISMATCH: (
        "Some of it was probably sent.",
        "Sinch's list shows a batch of this reference with other people than ours.",
    ),
}


@blueprint.get("/attention/<reference>")
@require_role(Role.OPERATOR)
def show_decision(reference: str) -> Response | str:
    """Show what is known of a batch, and what can be decided."""
    return _show(reference, error="", note="")


@blueprint.get("/attention/<reference>/live")
@require_role(Role.OPERATOR)
def show_evidence(reference: str) -> str:
    """Show what is known now; in place of the form, once nothing is left to decide."""
    ctx = current_context()
    batch = find_batch(ctx, reference)
    return render_template("decision_live.html", is_answer=True, **_describe(ctx, batch))


@blueprint.post("/attention/<reference>")
@require_role(Role.OPERATOR)
def decide(reference: str) -> Response | str | tuple[str, HTTPStatus]:
    """Carry out a decision.  Without a note nothing is done."""
    form = {name: request.form.get(name, "") for name in ("decision", "note")}
    ctx = current_context()
    rows = find_attention(ctx, limit=1, reference=reference)
    if not rows:
        return _show(reference, error="", note="")
    try:
        decision = DecisionSchema().load(form)
    except ValidationError as e:
        missing = "note" in e.messages_dict
        error = "Write why, for those who ask later." if missing else "Choose one of the three."
        page = _show(reference, error=error, note=form["note"])
        return page if isinstance(page, Response) else (page, HTTPStatus.BAD_REQUEST)
    try:
        resolve_batch(
            ctx, reference, decision["decision"], actor=describe_actor(), note=decision["note"]
        )
        flash("Decided.\nThe decision and its note are kept with your name.", "done")
    except Conflict as e:
        flash_refusal(e)
    current_app.extensions["wake_workers"]()
    return go_to_broadcast(rows[0].public_id)


def _show(reference: str, *, error: str, note: str) -> Response | str:
    ctx = current_context()
    rows = find_attention(ctx, limit=1, reference=reference)
    if not rows:
        flash("Nothing to decide.\nThe batch needs no decision any more.", "done")
        return go_to("overview.show_overview")
    batch = rows[0]
    likely, why = _LIKELY[batch.attention]
    return render_template(
        "decision.html",
        name=name_row(batch),
        cost=_say_cost(ctx, batch),
        likely=likely,
        why=why,
        error=error,
        note=note,
        **_describe(ctx, batch),
    )


def _say_cost(ctx: Context, batch: Row[Any]) -> str:
    """Return what a batch costs if it is sent again; "" without prices."""
    cost = price_batch(ctx, batch)
    return say_about(read_micros(cost.micros), cost.currency) if cost.currency else ""


def _describe(ctx: Context, batch: Row[Any]) -> dict[str, Any]:
    """Return what is known of a batch, and what has settled it; "" while it needs a decision."""
    waits = batch.state is BatchState.NEEDS_ATTENTION
    return {
        "batch": batch,
        "known": _list_known(batch, read_attempt(ctx, batch), ctx.now()),
        "settled": "" if waits else _say_settled(ctx, batch),
    }


def _say_settled(ctx: Context, batch: Row[Any]) -> str:
    """Return how a batch came to need no decision any more."""
    if entry := read_decision(ctx, batch.client_reference):
        said = describe_entry(HistoryEntry(entry.at, entry.actor, entry.action, entry.facts))
        return f"{clock_time(entry.at, ctx.now())}: {said}"
    if batch.state in AT_SINCH and batch.accepted_at:
        return f"Sinch has it: that is known since {clock_time(batch.accepted_at, ctx.now())}."
    return "It needs no decision any more."


def _list_known(batch: Row[Any], attempt: Row[Any], now: datetime) -> list[dict[str, str]]:
    """Return what is known of a batch and since when, the oldest first."""

    def tell(at: datetime | None, bold: str, sentence: str = "") -> dict[str, str]:
        return {"time": clock_time(at, now) if at else "", "bold": bold, "sentence": sentence}

    answer = f"Sinch answered {attempt.http_status}." if attempt.http_status else "No answer came."
    took = (attempt.ended_at or now) - attempt.started_at
    waited = f"We waited {say_duration(took)}. " if took >= timedelta(seconds=1) else ""
    looked = f"Sinch's list was read {_count_times(batch.reconcile_attempts)}:"
    missing = f"it did not show the batch {_count_times(batch.not_found_count)}."
    if batch.not_found_count == batch.reconcile_attempts:
        missing = "it never showed the batch."
    known = [
        tell(attempt.started_at, f"We handed {texts(batch.size)} to Sinch."),
        tell(attempt.ended_at, answer, f"{waited}It is not known what came of it."),
        {"time": "Since then", "bold": looked, "sentence": missing},
    ]
    if batch.next_reconcile_at:
        known.append(tell(batch.next_reconcile_at, "The next look", "at Sinch's list."))
    return known


def _count_times(number: int) -> str:
    """Return how often something was done.

    >>> _count_times(1), _count_times(1200)
    ('once', '1,200 times')
    """
    return "once" if number == 1 else f"{number:,} times"
