"""Parts that all steps of a new broadcast share: finding, saving, errors, the way on."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from flask import flash, render_template, request, url_for
from marshmallow import ValidationError
from sqlalchemy import Row
from werkzeug.wrappers import Response

from app.errors import BadInput, ClarionError, Conflict, NotFound
from app.http.arguments import collect_errors
from app.sms.content.templates import TemplateMissing
from app.sms.current import current_context
from app.sms.drafts.count import DraftCount, TextCount, has_few_people
from app.sms.drafts.request import find_open_names
from app.sms.drafts.store import DraftSent, find_draft, save_draft
from app.subscribers.lists.phone_list import SortedPhones
from app.web.guard import current_user, go_to
from app.web.new.figures import list_sums, list_times, say_all_done, say_sample
from app.web.words import find_zone

# An argument of the address: the page is shown with its counts, which may take seconds.
_COUNTED = "counted"
_STEPS = {"text": "Text", "audience": "Audience", "when": "When", "confirm": "Confirm"}
# What a draft lacks until a step is done.
_MISSING = {"text": "the text", "audience": "the audience", "when": "its kind and its start"}
# The step at which a field of the request is entered.
_STEP_OF = {
    "message": "text",
    "template": "text",
    "language": "text",
    "parameters": "text",
    "recipients": "audience",
    "audience": "audience",
    "sender": "when",
    "category": "when",
    "send_at": "when",
    "expire_at": "when",
}


def find(draft_id: str) -> Row[Any]:
    """Return a draft.  Raises NotFound."""
    return find_draft(current_context(), draft_id)


def read_text(name: str) -> str:
    """Return a field of the form, with the ends of lines that phones know."""
    return request.form.get(name, "").replace("\r\n", "\n").strip()


def find_counted_page(draft: Row[Any] | None) -> str | None:
    """Return the address of this page with its counts, which come behind it.

    Returns None where the page itself shows them, since there are few people.
    """
    if _COUNTED in request.args or has_few_people(current_context(), draft):
        return None
    given = {**request.args.to_dict(), **(request.view_args or {}), _COUNTED: 1}
    return url_for(request.endpoint or "", **given)


def is_done(draft: Row[Any], step: str) -> bool:
    """Return True if a step has what a broadcast needs."""
    body = draft.body
    match step:
        case "text":
            return "message" in body or "template" in body
        case "audience":
            is_chosen = draft.file and draft.file["is_chosen"]
            return bool(draft.numbers or is_chosen or "audience" in body)
        case "when":
            return "category" in body
    return False


def describe_so_far(
    draft: Row[Any] | None,
    counted: TextCount | DraftCount | None,
    *,
    body: Mapping[str, Any] | None = None,
    **has: bool,
) -> dict[str, Any]:
    """Return what a draft comes to as it was counted, and what is still missing.

    `body` and `has`, by step, are of a form that is not saved.
    """
    ctx, zone, body = current_context(), find_zone(), body or (draft.body if draft else {})
    done = {step: draft is not None and is_done(draft, step) for step in _MISSING} | has
    rows, total = list_sums(counted, has_text=done["text"]) if counted else [], None
    if done["when"]:
        rows += list_times(body, counted, ctx.now(), zone)
        if done["text"] and isinstance(counted, DraftCount) and counted.counted == counted.people:
            rate = ctx.rules.messages_per_second
            total = say_all_done(body, counted, rate, ctx.now(), zone)
    missing = [words for step, words in _MISSING.items() if not done[step]]
    return {
        "rows": rows,
        "total": ("Everybody done", total) if total else None,
        "sample": say_sample(counted) if counted else "",
        "missing": f"Still missing: {', '.join(missing)}." if missing else "Nothing is missing.",
    }


def show_step(
    step: str,
    draft: Row[Any] | None,
    draft_id: str,
    *,
    errors: Mapping[str, str] | None = None,
    **facts: Any,
) -> str | tuple[str, HTTPStatus]:
    """Show a step; with errors it is answered as a bad request."""
    steps = [
        {
            "key": key,
            "word": word,
            "is_done": draft is not None and is_done(draft, key),
            "is_here": key == step,
        }
        for key, word in _STEPS.items()
    ]
    page = render_template(
        f"new/{step}.html",
        draft=draft,
        draft_id=draft_id,
        steps=steps,
        errors=errors or {},
        **facts,
    )
    return (page, HTTPStatus.BAD_REQUEST) if errors else page


def save(draft_id: str, changes: Mapping[str, Any], **columns: Any) -> Response | None:
    """Save what a step has.  Returns where to go if the draft is a broadcast already."""
    try:
        save_draft(current_context(), draft_id, changes, user=current_user().name, columns=columns)
    except DraftSent as e:
        flash("It was sent already.\nThe draft is this broadcast; nothing was changed.", "warn")
        return go_to_broadcast(e.facts["broadcast_id"])
    return None


def go_on(draft_id: str, step: str, following: str) -> Response:
    """Return where the pressed button leads: to the following step, or back to this one."""
    if request.form.get("go") in ("stay", "seek"):
        flash("Saved.\nThe draft is under Broadcasts, Drafts.", "done")
        following = step
    return go_to_step(draft_id, following)


def go_to_step(draft_id: str, step: str) -> Response:
    """Return the way to a step."""
    return go_to(f"new_{step}.show", draft_id=draft_id)


def go_to_broadcast(broadcast_id: str) -> Response:
    """Return the way to a broadcast's page."""
    return go_to("broadcasts.show_broadcast", broadcast_id=broadcast_id)


def say_error(error: ValidationError | ClarionError) -> str:
    """Return the first sentence of what is wrong."""
    return next(iter(collect_errors(error).values()))


def say_unfilled(body: Mapping[str, Any], listed: SortedPhones | None) -> str | None:
    """Return that numbers which are listed have no values for a text; None if they have."""
    if not listed:
        return None
    names = find_open_names(current_context(), body)
    missing = [name for name in names if name not in listed.parameters]
    if not missing:
        return None
    return f"Numbers alone have no values: give a default for {', '.join(missing)}."


def find_steps(error: ValidationError | ClarionError) -> list[dict[str, str]]:
    """Return what is not right yet, each with the step where it is mended."""
    if isinstance(error, TemplateMissing):
        return [{"step": "text", "sentence": error.sentence}]
    if isinstance(error, NotFound):
        return [{"step": "audience", "sentence": error.sentence + "."}]
    unnamed = "text" if isinstance(error, (BadInput, Conflict)) else "audience"
    return [
        {"step": _STEP_OF.get(name, unnamed), "sentence": sentence}
        for name, sentence in collect_errors(error).items()
    ]
