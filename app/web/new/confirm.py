"""The fourth step of a new broadcast: what will happen, and the button that does it, once."""

import re
from collections.abc import Mapping
from dataclasses import asdict
from http import HTTPStatus
from typing import Any

from flask import current_app, flash, request
from marshmallow import ValidationError
from sqlalchemy import Row

from app.accounts.roles import Role
from app.config.keys import PEOPLE_CLIENT
from app.errors import BadInput, Conflict, NotFound
from app.sms.content.templates import TemplateMissing
from app.sms.current import current_context
from app.sms.drafts.approval import (
    ApprovalMissing,
    ApprovalRefused,
    approve_draft,
    ask_approval,
    is_involved,
    needs_approval,
)
from app.sms.drafts.request import list_people
from app.sms.drafts.send import quote_draft, send_draft
from app.sms.drafts.some import Place, list_left_out
from app.sms.drafts.store import DraftChanged
from app.sms.models.states import ExclusionReason
from app.sms.quotes.quote import QuoteChanged, read_quoted
from app.subscribers.profiles.queries import look_up_subscribers
from app.web.guard import (
    current_user,
    describe_actor,
    flash_refusal,
    make_page_blueprint,
    require_role,
)
from app.web.new.figures import QuoteFacts, describe_quote, explain_costly, find_reason, say_parts
from app.web.new.frame import (
    find,
    find_counted_page,
    find_steps,
    go_to_broadcast,
    go_to_step,
    is_done,
    say_unfilled,
    show_step,
)
from app.web.new.moved import compare_quote, say_moved
from app.web.new.reading import mark_text
from app.web.subscribers.wording import describe_person, show_number
from app.web.words import count, find_zone

blueprint = make_page_blueprint("new_confirm")

_BEFORE = ("text", "audience", "when")
# People of a list.
_ROWS = 50
_MOVED = "The draft was changed in another window."
_LOOK_AGAIN = "Nothing was sent. Look again and press once more."


@blueprint.get("/new/<draft_id>/confirm")
@require_role(Role.AUTHOR)
def show(draft_id: str) -> Any:
    """Show what will happen."""
    draft = find(draft_id)
    if draft.broadcast:
        return go_to_broadcast(draft.broadcast)
    for step in _BEFORE:
        if not is_done(draft, step):
            return go_to_step(draft_id, step)
    if later := find_counted_page(draft):
        return show_step("confirm", draft, draft_id, later=later)
    return _show(draft)


@blueprint.get("/new/<draft_id>/left-out/<reason>")
@require_role(Role.AUTHOR)
def show_left_out(draft_id: str, reason: str) -> Any:
    """List the people whom a line of the quote leaves out, some at a time."""
    why, sentence = find_reason(reason)
    draft, ctx = find(draft_id), current_context()
    if draft.broadcast or not all(is_done(draft, step) for step in _BEFORE):
        return go_to_step(draft_id, "confirm")
    facts: dict[str, Any] = {"reason": reason, "sentence": sentence}
    if later := find_counted_page(draft):
        return show_step("left_out", draft, draft_id, later=later, **facts)
    place = Place(_read_place("start"), _read_place("skipped"))
    try:
        phones, following = list_left_out(ctx, draft, why, place=place, limit=_ROWS)
    except (ValidationError, BadInput, NotFound, Conflict):
        return go_to_step(draft_id, "confirm")  # which says what is not right
    known = look_up_subscribers(ctx.subscriber_context, phones)
    people = [
        describe_person(known[phone], ctx.now())
        if phone in known
        else {"number": show_number(None if why is ExclusionReason.ERASED else phone)}
        for phone in phones
    ]
    facts |= {"following": following and asdict(following), "is_first": place == Place()}
    return show_step("left_out", draft, draft_id, people=people, rows=_ROWS, **facts)


def _read_place(name: str) -> int:
    """Return a number of the address; 0 for what no page has put there."""
    return max(0, request.args.get(name, 0, int))


@blueprint.post("/new/<draft_id>/confirm")
@require_role(Role.SENDER)
def confirm(draft_id: str) -> Any:
    """Send the draft as it was quoted.  When something has moved, say what and ask again."""
    ctx = current_context()
    version, token = _read_version(), request.form.get("quote", "")
    try:
        broadcast_id, remains = send_draft(
            ctx,
            draft_id,
            version,
            token,
            client=PEOPLE_CLIENT,
            user=current_user().name,
            production=current_app.config["PRODUCTION"],
        )
    except DraftChanged:
        return _ask_again(find(draft_id), moved=_MOVED)
    except ApprovalMissing as e:
        return _ask_again(find(draft_id), moved=e.sentence)
    except QuoteChanged:
        return _count_again(find(draft_id), token)
    except TemplateMissing as e:
        return _ask_again(find(draft_id), moved=e.sentence)
    except (BadInput, NotFound, ValidationError):
        # The quote is too old, or the draft cannot be sent: its page says what to do.
        return _ask_again(find(draft_id), moved="The figures were too old.")
    if remains:
        current_app.extensions["wake_workers"]()
    return go_to_broadcast(broadcast_id)


@blueprint.post("/new/<draft_id>/confirm/count")
@require_role(Role.SENDER)
def show_moved(draft_id: str) -> Any:
    """Count many people again, and show what has moved since a quote; nothing is saved."""
    draft = find(draft_id)
    if draft.broadcast:
        return go_to_broadcast(draft.broadcast)
    return _show(draft, token=request.form.get("quote", ""))


@blueprint.post("/new/<draft_id>/ask")
@require_role(Role.AUTHOR)
def ask(draft_id: str) -> Any:
    """Ask for a second person's approval."""
    quote = request.form.get("quote", "")
    try:
        ask_approval(current_context(), draft_id, _read_version(), quote, user=current_user().name)
    except DraftChanged:
        return _ask_again(find(draft_id), moved=_MOVED)
    flash("Asked.\nThe overview shows it to everybody who may approve it.", "done")
    return go_to_step(draft_id, "confirm")


@blueprint.post("/new/<draft_id>/approve")
@require_role(Role.SENDER)
def approve(draft_id: str) -> Any:
    """Approve a draft of other people."""
    draft, version, quote = find(draft_id), _read_version(), request.form.get("quote", "")
    user, actor = current_user().name, describe_actor()
    try:
        approve_draft(current_context(), draft, version, quote, user=user, actor=actor)
    except DraftChanged:
        return _ask_again(find(draft_id), moved=_MOVED)
    except ApprovalRefused as e:
        flash_refusal(e)
        return go_to_step(draft_id, "confirm")
    flash(
        "Approved.\nIt can be sent now; another text or more people take the approval away.", "done"
    )
    return go_to_step(draft_id, "confirm")


def _read_version() -> int:
    """Return the version of the draft that its page showed; 0, which none has, without one."""
    typed = request.form.get("version", "")
    return int(typed) if re.fullmatch("[0-9]{1,9}", typed) else 0


def _count_again(draft: Row[Any], token: str) -> Any:
    """Show what has moved since a quote; many people are counted behind the page."""
    if draft.broadcast or not find_counted_page(draft):
        return _ask_again(draft, token=token)
    page = show_step("confirm", draft, draft.public_id, recount=token)
    return page, HTTPStatus.CONFLICT


def _ask_again(draft: Row[Any], *, moved: str = "", token: str = "") -> Any:
    if draft.broadcast:
        return go_to_broadcast(draft.broadcast)
    return _show(draft, moved=moved, token=token), HTTPStatus.CONFLICT


def _show(draft: Row[Any], *, moved: str = "", token: str = "") -> Any:
    ctx = current_context()
    try:
        quote = quote_draft(ctx, draft)
    except (ValidationError, BadInput, NotFound, Conflict) as e:
        unfilled = say_unfilled(draft.body, list_people(ctx, draft))
        faults = [{"step": "text", "sentence": unfilled}] if unfilled else find_steps(e)
        return show_step("confirm", draft, draft.public_id, faults=faults, moved=moved)
    zone = find_zone()
    facts = describe_quote(quote, draft, ctx.now(), zone)
    quoted, now_quoted = read_quoted(ctx, token), read_quoted(ctx, quote["token"])
    if quoted and now_quoted:
        name = draft.body.get("template", {}).get("name")
        moved = say_moved(quoted, now_quoted, zone=zone, now=ctx.now(), template=name)
    needs = now_quoted is not None and needs_approval(ctx, draft, now_quoted)
    return show_step(
        "confirm",
        draft,
        draft.public_id,
        faults=[],
        moved=moved,
        look_again=_LOOK_AGAIN,
        changes=compare_quote(quoted, now_quoted) if quoted and now_quoted else [],
        quote=quote,
        texts=[
            text | {"pieces": list(mark_text(text["text"])), "costly": explain_costly(text)}
            for text in quote["texts"]
        ],
        facts=facts,
        total=(say_parts(quote["parts"]), facts.cost or ""),
        card=_list_card(draft, quote, facts, is_approved=not needs),
        zone=str(zone),
        needs_approval=needs,
        is_involved=is_involved(draft, current_user().name),
        quoted_at=ctx.now().astimezone(zone),
    )


def _list_card(
    draft: Row[Any], quote: Mapping[str, Any], facts: QuoteFacts, *, is_approved: bool
) -> list[tuple[str, str]]:
    """Return what the card beside the button says."""
    sender = draft.body.get("sender") or current_context().default_sender
    approved = [("Approved by", draft.approved_by)] if draft.approved_by and is_approved else []
    return [("From", sender), ("People", count(quote["recipients"])), *approved, *facts.times]
