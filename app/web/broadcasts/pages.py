"""Pages of broadcasts: the list, one that moves by itself, its people, and pause, resume, stop."""

import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from flask import current_app, flash, render_template, request
from marshmallow import ValidationError
from werkzeug.wrappers import Response

from app.accounts.roles import Role
from app.errors import Conflict
from app.ids import make_id
from app.sms.audience.grown import find_growth, find_quoted
from app.sms.broadcasts import control
from app.sms.broadcasts.query_schemas import BroadcastQuerySchema, CancelSchema
from app.sms.broadcasts.views import BroadcastView, list_broadcasts, view_broadcast, view_delivery
from app.sms.current import current_context
from app.sms.drafts.approval import resume_as_user
from app.sms.models.states import FINAL, BroadcastStatus, CancelRequestState
from app.sms.operations.history import HistoryEntry, read_history
from app.web.broadcasts.accounting import account_for, count_never_handed
from app.web.broadcasts.delivery import describe_delivery
from app.web.broadcasts.history import describe_entry, list_events
from app.web.broadcasts.people import link_lines
from app.web.broadcasts.resend import describe_cost, describe_resend
from app.web.broadcasts.states import (
    choose_poll_s,
    describe_progress,
    describe_state,
    name_row,
    say_verdict,
)
from app.web.guard import (
    current_user,
    describe_actor,
    flash_refusal,
    make_page_blueprint,
    require_role,
)
from app.web.new.figures import add_amounts
from app.web.new.frame import go_to_broadcast
from app.web.polling import slow_down
from app.web.words import people

blueprint = make_page_blueprint("broadcasts")

_ROWS = 50
_CANCEL_WITHIN_S = 3.0
_B = BroadcastStatus
# Filters of the list, by the word of their chip.
_FILTERS = {
    "All": None,
    "Sending": _B.SENDING,
    "Scheduled": _B.SCHEDULED,
    "Paused": _B.PAUSED,
    "Done": _B.COMPLETE,
    "A decision waits": _B.COMPLETE_NEEDS_ATTENTION,
    "Stopped": _B.CANCELLED,
}
_PAUSABLE = (_B.QUEUED, _B.SENDING, _B.SCHEDULED)
_RESUMABLE = (_B.PAUSED, _B.HALTED, _B.MISSED_START)


@blueprint.get("/broadcasts")
@require_role(Role.VIEWER)
def list_all() -> str:
    """List broadcasts, newest first."""
    query = BroadcastQuerySchema().load({"limit": str(_ROWS)} | request.args.to_dict())
    page = list_broadcasts(current_context(), with_threads=False, **query)
    rows = []
    for view in page.rows:
        accounting = account_for(view)
        rows.append(
            {
                "id": view.row.public_id,
                "name": name_row(view.row),
                "client": view.row.created_by or view.row.client,
                "created_at": view.row.created_at,
                "state": describe_state(view),
                "asked_for": accounting.asked_for,
                "is_known": accounting.asked_for or not view.row.resolving,
                "delivered": accounting.delivered,
            }
        )
    status = query.get("status")
    return render_template(
        "broadcasts/list.html",
        rows=rows,
        cursor=page.cursor,
        cursor_given="cursor" in query,
        status=status,
        filters=_FILTERS,
    )


@blueprint.get("/broadcasts/<broadcast_id>")
@require_role(Role.VIEWER)
def show_broadcast(broadcast_id: str) -> str:
    """Show a broadcast: its state, what can be done, and where everybody is."""
    facts = _describe(broadcast_id)
    _add_cost(facts)
    return render_template("broadcasts/page.html", **facts)


@blueprint.get("/broadcasts/<broadcast_id>/live")
@require_role(Role.VIEWER)
def show_broadcast_region(broadcast_id: str) -> str:
    """Show the part of a broadcast that moves; once its state has changed, also the rest."""
    facts = _describe(broadcast_id)
    head_changed = request.args.get("state") != facts["state_key"]
    figures_changed = request.args.get("figures") != facts["figures_key"]
    if facts["poll_s"] and not (head_changed or figures_changed):
        facts["poll_s"] = slow_down(request.args.get("wait", 0.0, float), facts["poll_s"])
    if head_changed or not facts["poll_s"]:
        _add_cost(facts)
    return render_template("broadcasts/live.html", head_changed=head_changed, **facts)


@blueprint.get("/broadcasts/<broadcast_id>/stop")
@require_role(Role.SENDER)
def ask_to_stop(broadcast_id: str) -> Response | str:
    """Show what a stop does, in figures, before it is done."""
    return _show_panel(broadcast_id, note="", error="")


@blueprint.post("/broadcasts/<broadcast_id>/stop")
@require_role(Role.SENDER)
def stop(broadcast_id: str) -> Response | tuple[Response | str, HTTPStatus]:
    """Stop a broadcast, here and at Sinch, and say what came of it."""
    ctx, started = current_context(), time.monotonic()
    try:
        options = CancelSchema().load({"note": request.form.get("note", "")})
    except ValidationError as e:
        error = " ".join(e.messages_dict["note"])
        page = _show_panel(broadcast_id, note=request.form["note"], error=error)
        return page, HTTPStatus.BAD_REQUEST

    def cancel() -> None:
        control.cancel_broadcast(ctx, broadcast_id, actor=describe_actor(), **options)
        control.cancel_at_sinch(ctx, limit=20, within_s=_CANCEL_WITHIN_S)
        took = int(time.monotonic() - started) + 1
        said = _describe_stop(view_broadcast(ctx, broadcast_id))
        flash(f"Stopped in {took} s.\n{said}", "done")

    return _change(broadcast_id, cancel)


def _show_panel(broadcast_id: str, *, note: str, error: str) -> Response | str:
    """Show the broadcast with the panel that asks for a stop."""
    facts = _describe(broadcast_id)
    if not facts["can_stop"]:
        return go_to_broadcast(broadcast_id)
    return render_template(
        "broadcasts/page.html", is_stopping=True, note=note, error=error, **facts
    )


@blueprint.post("/broadcasts/<broadcast_id>/pause")
@require_role(Role.SENDER)
def pause(broadcast_id: str) -> Response:
    """Pause a broadcast."""
    ctx = current_context()

    def change() -> None:
        control.pause_broadcast(ctx, broadcast_id, actor=describe_actor())
        flash("Paused.\nNothing more is handed to Sinch until it is resumed.", "done")

    return _change(broadcast_id, change)


@blueprint.post("/broadcasts/<broadcast_id>/resume")
@require_role(Role.SENDER)
def resume(broadcast_id: str) -> Response:
    """Resume a broadcast."""
    ctx = current_context()

    def change() -> None:
        resume_as_user(ctx, broadcast_id, user=current_user().name, actor=describe_actor())
        flash("Resumed.\nThe texts that wait are handed to Sinch.", "done")

    return _change(broadcast_id, change)


def _change(broadcast_id: str, change: Callable[[], None]) -> Response:
    """Change a broadcast.  What its state does not allow is said on its page."""
    try:
        change()
    except Conflict as e:
        flash_refusal(e)
    current_app.extensions["wake_workers"]()
    return go_to_broadcast(broadcast_id)


def _describe(broadcast_id: str) -> dict[str, Any]:
    view, delivery = view_delivery(current_context(), broadcast_id)
    accounting, row = account_for(view), view.row
    history = read_history(current_context(), row)
    shown = describe_delivery(view, delivery, accounting, history)
    link_lines(view, accounting)
    state = describe_state(view)
    return {
        "id": row.public_id,
        "name": name_row(view.row),
        "text": row.text,
        "purged_at": row.purged_at,
        "kept_until": view.kept_until,
        "sender": row.sender,
        "client": row.client,
        "created_by": row.created_by,
        "parts": row.parts,
        "encoding": row.encoding,
        "state": state,
        "verdict": say_verdict(view, accounting),
        "accounting": accounting,
        "duplicates": row.duplicates,
        "progress": describe_progress(view, accounting),
        "about": _say_about(view, history),
        "events": list_events(view, history),
        "again": describe_resend(view, accounting),
        "can_pause": row.status in _PAUSABLE,
        "can_resume": row.status in _RESUMABLE,
        "grown": add_amounts(people(grown_to), find_quoted(row), number=grown_to)
        if (grown_to := find_growth(row))
        else "",
        "can_stop": _can_stop(view),
        "stop": _describe_panel(view),
        "poll_s": choose_poll_s(view, behind=shown["behind"]),
        # Also what can be stopped changes: at last no text is at Sinch any more.
        "state_key": f"{row.status.value}:{view.status}:{int(_can_stop(view))}",
        "figures_key": "-".join(str(line.figure) for line in accounting.lines),
        "seen_at": view.seen_at,
        "draft_id": make_id(view.seen_at),
        **shown,
    }


def _add_cost(facts: dict[str, Any]) -> None:
    """Add what it would cost to send again, for those who may."""
    again = facts["again"]
    if again and not again["resent"] and current_user().role.includes(Role.SENDER):
        again |= describe_cost(facts["id"], again["figure"])


def _say_about(view: BroadcastView, history: list[HistoryEntry]) -> str:
    """Return what kind of text it is, its sender, and who stopped it or made it."""
    row = view.row
    stops = [describe_entry(entry) for entry in history if entry.action == "cancel"]
    by = stops[0] if stops else f"Made by {row.created_by or row.client}."
    return f"{row.category.value.capitalize()}, from {row.sender}. {by}"


def _can_stop(view: BroadcastView) -> bool:
    """Return True while a stop can still keep a text from a person."""
    if view.row.status not in FINAL:
        return True
    at_sinch = view.counts["submitted"] > 0 and view.row.expires_at > view.seen_at
    return at_sinch and view.row.status in (_B.COMPLETE, _B.COMPLETE_NEEDS_ATTENTION)


def _describe_panel(view: BroadcastView) -> dict[str, int]:
    """Return how many people get nothing after a stop, are at Sinch, and have the text."""
    delivered = view.counts["delivered"]
    return {
        "unsent": count_never_handed(view),
        "at_sinch": view.counts["submitted"],
        "delivered": delivered,
    }


def _describe_stop(view: BroadcastView) -> str:
    """Return what a stop came to, in figures that are read after it."""
    unsent = sum(line.figure for line in account_for(view).lines if line.kind == "stopped")
    requests = view.cancel_requests
    called_back = requests.get(CancelRequestState.CANCELLED, 0)
    too_late = requests.get(CancelRequestState.TOO_LATE, 0)
    open_requests = (CancelRequestState.WANTED, CancelRequestState.UNCLEAR)
    unknown = sum(requests.get(state, 0) for state in open_requests)
    at_sinch = called_back + too_late + unknown
    sentences = [f"{people(unsent)} {'gets' if unsent == 1 else 'get'} nothing."] if unsent else []
    if not at_sinch:
        return " ".join([*sentences, "No text was at Sinch."])
    outcomes = [
        f"{figure:,} {words}"
        for figure, words in (
            (called_back, "called back"),
            (too_late, "had left before"),
            (unknown, "not known yet"),
        )
        if figure
    ]
    were = "1 was" if at_sinch == 1 else f"{at_sinch:,} were"
    return " ".join([*sentences, f"{were} already at Sinch: {', '.join(outcomes)}."])
