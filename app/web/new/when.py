"""The third step of a new broadcast: its sender, its kind, its start and its end."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from flask import render_template, request
from marshmallow import ValidationError
from sqlalchemy import Row

from app.accounts.roles import Role
from app.clock import is_skipped
from app.errors import BadInput, ClarionError
from app.http.arguments import collect_errors
from app.sms.current import current_context
from app.sms.drafts.count import count_draft
from app.sms.drafts.request import END_AFTER, list_people
from app.sms.models.states import Category
from app.sms.request.prepare import check_times
from app.sms.request.schemas import BroadcastRequestSchema
from app.web.guard import make_page_blueprint, require_role
from app.web.new.frame import (
    describe_so_far,
    find,
    find_counted_page,
    go_on,
    go_to_broadcast,
    is_done,
    read_text,
    save,
    say_error,
    show_step,
)
from app.web.new.send_times import describe_send_times
from app.web.words import find_zone, say_ahead

blueprint = make_page_blueprint("new_when")

_FIELDS = ("sender", "category", "start", "day", "clock", "end")
# Hours after the start; Sinch keeps a text for three days.
_ENDS = (1, 2, 4, 8, 12, 24, 48, 72)


@blueprint.get("/new/<draft_id>/when")
@require_role(Role.AUTHOR)
def show(draft_id: str) -> Any:
    """Show sender, kind, start and end, and when it is sent where."""
    draft = find(draft_id)
    if draft.broadcast:
        return go_to_broadcast(draft.broadcast)
    body = draft.body
    starts_at = body.get("send_at")
    local = datetime.fromisoformat(starts_at).astimezone(find_zone()) if starts_at else None
    typed = {
        "sender": body.get("sender", ""),
        "category": body.get("category", ""),
        "start": "later" if local else "now",
        "day": f"{local:%Y-%m-%d}" if local else "",
        "clock": f"{local:%H:%M}" if local else "",
        "end": str(body.get(END_AFTER, "")),
    }
    return _show(draft, typed, body)


@blueprint.post("/new/<draft_id>/when")
@require_role(Role.AUTHOR)
def change(draft_id: str) -> Any:
    """Save sender, kind, start and end."""
    draft, typed = find(draft_id), _read_typed()
    changes, errors = _read_changes(typed)
    if errors:
        return _show(draft, typed, draft.body, errors=errors)
    return save(draft_id, changes) or go_on(draft_id, "when", "confirm")


@blueprint.post("/new/<draft_id>/when/send-times")
@require_role(Role.AUTHOR)
def show_send_times(draft_id: str) -> str:
    """Show when it is sent there by what is chosen now; nothing is saved."""
    draft, typed = find(draft_id), _read_typed()
    changes, errors = _read_changes(typed)
    body = {name: value for name, value in {**draft.body, **changes}.items() if value is not None}
    facts = _describe_start(draft, typed, body, errors=errors, is_answer=True)
    return render_template("new/send_times.html", is_answer=True, **facts)


def _show(
    draft: Row[Any],
    typed: Mapping[str, str],
    body: Mapping[str, Any],
    *,
    errors: Mapping[str, str] | None = None,
) -> Any:
    ctx = current_context()
    return show_step(
        "when",
        draft,
        draft.public_id,
        errors=errors,
        typed=typed,
        ends=_ENDS,
        usual_end=round(ctx.rules.expire_after_s / 3_600),
        default_sender=ctx.default_sender,
        **_describe_start(draft, typed, body, errors=errors or {}),
    )


def _describe_start(
    draft: Row[Any],
    typed: Mapping[str, str],
    body: Mapping[str, Any],
    *,
    errors: Mapping[str, str],
    is_answer: bool = False,
) -> dict[str, Any]:
    """Return the start in words, and when it is sent where; or what is missing for that."""
    ctx, zone = current_context(), find_zone()
    starts_at = _parse_start(typed) if typed["start"] == "later" else None
    facts: dict[str, Any] = {
        "zone": str(zone),
        "in_words": _say_start(starts_at, ctx.now()) if starts_at else "",
        "send_times": None,
        "so_far": describe_so_far(draft, None, body=body, when="category" in body),
    }
    has_people, has_kind = is_done(draft, "audience"), "category" in body
    missing = next(iter(errors.values()), "")
    if not (has_people and has_kind):
        missing = "Choose the audience and the kind, and it is shown here."
    if not has_people or (errors and not is_answer):
        return facts | {"missing": missing}
    # An answer to a change comes behind the page by itself.
    if not is_answer and (later := find_counted_page(draft)):
        return facts | {"later": later}
    try:
        counted = count_draft(ctx, body, list_people(ctx, draft, body))
    except (ValidationError, ClarionError) as e:
        return facts | {"missing": missing or say_error(e)}
    facts["so_far"] = describe_so_far(draft, counted, body=body, when=has_kind)
    if missing:
        return facts | {"missing": missing}
    start = max(starts_at or ctx.now(), ctx.now())
    send_times = describe_send_times(counted, start, zone, ctx.subscriber_rules)
    return facts | {"send_times": send_times}


def _say_start(local: datetime, now: datetime) -> str:
    ahead = say_ahead(local - now) if local > now else "which is past"
    return f"{local:%A %-d %B %Y, %H:%M} in {find_zone()}, {ahead}"


def _read_typed() -> dict[str, str]:
    return {name: read_text(name) for name in _FIELDS}


def _read_changes(typed: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return what is typed as keys of a draft's body, and what is wrong by field."""
    given: dict[str, Any] = {name: typed[name] for name in ("sender", "category") if typed[name]}
    errors = _read_start(typed, given) | _find_errors(given)
    changes = {name: given.get(name) for name in ("sender", "category", "send_at")}
    changes[END_AFTER] = int(typed["end"]) if typed["end"] in map(str, _ENDS) else None
    return changes, errors


def _read_start(typed: Mapping[str, str], given: dict[str, Any]) -> dict[str, str]:
    """Add the start to what is given.  Returns what is wrong with it."""
    if typed["start"] != "later":
        return {}
    if not typed["day"] or not typed["clock"]:
        return {"day": "Choose the day and the time, or let it start as soon as it is confirmed."}
    local = _parse_start(typed)
    if local is None:
        return {"day": "Not a day and a time."}
    if is_skipped(local):
        return {"day": f"The clocks go forward then: that day has no {local:%H:%M}."}
    given["send_at"] = local.isoformat()
    return {}


def _parse_start(typed: Mapping[str, str]) -> datetime | None:
    """Return the day and time as typed, in our zone; None for anything else."""
    try:
        local = datetime.fromisoformat(f"{typed['day']}T{typed['clock']}")
    except ValueError:
        return None
    return None if local.tzinfo else local.replace(tzinfo=find_zone())


def _find_errors(given: dict[str, Any]) -> dict[str, str]:
    if request.form.get("category") not in list(Category):
        return {"category": "Choose what kind of text it is."}
    try:
        schema = BroadcastRequestSchema(only=("message", *given))
        check_times(schema.load({"message": "-", **given}), current_context().now())
    except (ValidationError, BadInput) as e:
        errors = collect_errors(e)
        return {"day" if name == "send_at" else name: text for name, text in errors.items()}
    return {}
