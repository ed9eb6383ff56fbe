"""The third step of a new broadcast: its sender, its kind, its start and its end."""

from datetime import datetime
from typing import Any

from flask import request
from marshmallow import ValidationError

from app.accounts.roles import Role
from app.errors import BadInput, ClarionError
from app.http.arguments import collect_errors
from app.sms.current import current_context
from app.sms.drafts.count import count_draft
from app.sms.drafts.request import END_AFTER, list_people
from app.sms.models.states import Category
from app.sms.request.schemas import BroadcastRequestSchema, check_times
from app.web.guard import make_page_blueprint, require_role
from app.web.new.figures import describe_waits
from app.web.new.frame import (
    find,
    find_counted_page,
    find_zone,
    go_on,
    go_to_broadcast,
    is_done,
    read_text,
    save,
    show_step,
)
from app.web.words import say_duration

blueprint = make_page_blueprint("new_when")

_FIELDS = ("sender", "category", "start", "day", "clock", "end")
# Hours after the start; Sinch keeps a text for three days.
_ENDS = (1, 2, 4, 8, 12, 24, 48, 72)


@blueprint.get("/new/<draft_id>/when")
@require_role(Role.AUTHOR)
def show(draft_id: str) -> Any:
    """Show sender, kind, start and end, and when it rings."""
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
    return _show(draft, typed, local=local)


@blueprint.post("/new/<draft_id>/when")
@require_role(Role.AUTHOR)
def change(draft_id: str) -> Any:
    """Save sender, kind, start and end."""
    draft = find(draft_id)
    typed = {name: read_text(name) for name in _FIELDS}
    given: dict[str, Any] = {name: typed[name] for name in ("sender", "category") if typed[name]}
    errors = _read_start(typed, given) | _find_errors(given)
    if errors:
        return _show(draft, typed, errors=errors)
    changes = {name: given.get(name) for name in ("sender", "category", "send_at")}
    changes[END_AFTER] = int(typed["end"]) if typed["end"] in map(str, _ENDS) else None
    return save(draft_id, changes) or go_on(draft_id, "when", "confirm")


def _show(
    draft: Any,
    typed: dict[str, str],
    *,
    local: datetime | None = None,
    errors: dict[str, str] | None = None,
) -> Any:
    ctx = current_context()
    in_words = None
    if local:
        ahead = local - ctx.now()
        in_words = f"{local:%A %-d %B %Y, %H:%M} in {find_zone()}"
        in_words += (
            f", in {say_duration(ahead)}" if ahead.total_seconds() > 0 else ", which is past"
        )
    return show_step(
        "when",
        draft,
        draft.public_id,
        errors=errors,
        typed=typed,
        zone=str(find_zone()),
        in_words=in_words,
        ends=_ENDS,
        usual_end=round(ctx.rules.expire_after_s / 3_600),
        default_sender=ctx.default_sender,
        waits=None if errors else _describe_waits(draft),
    )


def _describe_waits(draft: Any) -> dict[str, Any] | None:
    """Return when it rings in words, or the page with it; None while that is not known."""
    if not is_done(draft, "audience") or not is_done(draft, "when"):
        return None
    if later := find_counted_page(draft):
        return {"later": later}
    ctx = current_context()
    try:
        counted = count_draft(ctx, draft.body, list_people(ctx, draft))
    except (ValidationError, ClarionError):
        return None
    return describe_waits(counted, ctx.now(), find_zone())


def _read_start(typed: dict[str, str], given: dict[str, Any]) -> dict[str, str]:
    """Add the start to what is given.  Returns what is wrong with it."""
    if typed["start"] != "later":
        return {}
    if not typed["day"] or not typed["clock"]:
        return {"day": "Choose the day and the time, or let it start as soon as it is confirmed."}
    try:
        local = datetime.fromisoformat(f"{typed['day']}T{typed['clock']}")
    except ValueError:
        return {"day": "Not a day and a time."}
    given["send_at"] = local.replace(tzinfo=find_zone()).isoformat()
    return {}


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
