"""The inbox: threads by person, one of them open, an answer to it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Any

from flask import current_app, flash, render_template, request
from marshmallow import Schema, ValidationError, fields, validate
from sqlalchemy import Row
from werkzeug.wrappers import Response

from app.accounts.roles import Role
from app.config.keys import OWN_CLIENT, PEOPLE_CLIENT
from app.errors import BadInput, ClarionError, Conflict, NotFound, RequestRunning
from app.http.fields import Cursor, MessageText
from app.sms.current import current_context
from app.sms.inbound.answer import AnsweredMeanwhile, answer_thread, explain_refusal, name_state
from app.sms.inbound.threads import (
    SentAnswer,
    Thread,
    ThreadFilter,
    ThreadText,
    find_answers,
    find_phone,
    list_threads,
    read_body,
    view_thread,
)
from app.sms.models.statuses import MessageStatus
from app.subscribers.models import Scope
from app.subscribers.suppressions import manage
from app.subscribers.suppressions.schemas import MAX_NOTE
from app.web.broadcasts.accounting import MARKS
from app.web.guard import (
    current_user,
    describe_actor,
    flash_refusal,
    go_to,
    make_page_blueprint,
    require_role,
)
from app.web.polling import slow_down
from app.web.subscribers.wording import show_name, show_number, show_text
from app.web.words import clock_time, day_of

blueprint = make_page_blueprint("inbox")

_ROWS = 50
_CUT = 100
_LIST_POLL_S, _THREAD_POLL_S = 15.0, 5.0
# Clients whose name says nothing to people.
_OURS = (PEOPLE_CLIENT, OWN_CLIENT)
_NO_TEXT = "(a picture, or another message without text)"
_CHIPS = {
    "All": ThreadFilter.ALL,
    "To answer": ThreadFilter.TO_ANSWER,
    "Opted out": ThreadFilter.OPTED_OUT,
}


class InboxQuerySchema(Schema):
    """The list of threads: its filter, its page."""

    show = fields.Enum(ThreadFilter, by_value=True, load_default=ThreadFilter.ALL)
    cursor = Cursor()


class ThreadQuerySchema(InboxQuerySchema):
    """A thread that polls: its newest text when it was read last, and how long it has waited."""

    newest = fields.String(validate=validate.Length(max=64))
    wait = fields.Float(validate=validate.Range(0, 3600))


class ListQuerySchema(InboxQuerySchema):
    """A list that polls: the thread that is open beside it."""

    open = fields.Integer(validate=validate.Range(1))


class JudgementSchema(Schema):
    """The judgement of a text that may mean "stop", and why."""

    meant = fields.String(required=True, validate=validate.OneOf(["stop", "go_on"]))
    note = MessageText(required=True, validate=validate.Length(1, MAX_NOTE))


@dataclass(frozen=True, slots=True)
class Draft:
    """An answer as it was typed, and what was wrong with it."""

    text: str = ""
    error: str = ""
    note: str = ""
    judgement: str = ""
    judgement_error: str = ""


@blueprint.get("/inbox")
@require_role(Role.VIEWER)
def show_inbox() -> str:
    """List threads, the one with the newest text first."""
    return render_template("conversations/inbox.html", **_describe_list(_load(InboxQuerySchema)))


@blueprint.get("/inbox/list")
@require_role(Role.VIEWER)
def show_list_region() -> str:
    """Show the list alone, which is polled."""
    query = _load(ListQuerySchema)
    opened = query.pop("open", None)
    phone = find_phone(current_context(), opened) if opened else None
    facts = _describe_list(query, opened=opened, phone=phone)
    return render_template("conversations/threads.html", **facts)


@blueprint.get("/inbox/<int:text_id>")
@require_role(Role.VIEWER)
def show_thread(text_id: int) -> str:
    """Show a thread beside the list."""
    return _show_thread(text_id, Draft())


@blueprint.get("/inbox/<int:text_id>/thread")
@require_role(Role.VIEWER)
def show_thread_region(text_id: int) -> str:
    """Show the texts of a thread alone, which are polled less often while nothing comes."""
    query = _load(ThreadQuerySchema)
    facts = _describe_thread(view_thread(current_context(), text_id))
    if query.get("newest") == facts["newest"]:
        facts["poll_s"] = slow_down(query.get("wait", 0.0), _THREAD_POLL_S)
    return render_template("conversations/thread.html", **facts)


@blueprint.post("/inbox/<int:text_id>")
@require_role(Role.AUTHOR)
def answer(text_id: int) -> Response | tuple[str, HTTPStatus]:
    """Send an answer, once for each state of the thread that its page showed."""
    text = request.form.get("message", "")
    if not text.strip():
        return _show_thread(text_id, Draft(text, error="Write an answer.")), HTTPStatus.BAD_REQUEST
    try:
        created, _, is_incomplete = answer_thread(
            current_context(),
            text_id,
            text,
            state=request.form.get("state", ""),
            author=current_user().name,
            production=current_app.config["PRODUCTION"],
        )
    except RequestRunning:
        # A second press, while the first one is at Sinch.
        return go_to("inbox.show_thread", text_id=text_id)
    except (BadInput, Conflict) as e:
        return _show_thread(text_id, _describe_failure(text, e, text_id)), e.status
    except NotFound:
        raise
    except ClarionError as e:
        return _show_thread(text_id, Draft(text, note=f"Not sent.\n{e.sentence}")), e.status
    if is_incomplete:
        current_app.extensions["wake_workers"]()
    flash(*_say_sent(created))
    return go_to("inbox.show_thread", text_id=text_id)


@blueprint.post("/inbox/<int:text_id>/judge")
@require_role(Role.OPERATOR)
def judge(text_id: int) -> Response | tuple[str, HTTPStatus]:
    """Say what a text meant that may mean "stop": stop all texts, or let them go on."""
    ctx = current_context()
    suppression = view_thread(ctx, text_id).suppression
    if suppression is None or not suppression.needs_review:
        flash("Nothing to decide.\nThe text was judged meanwhile.", "done")
        return go_to("inbox.show_thread", text_id=text_id)
    form = {name: request.form.get(name, "") for name in ("meant", "note")}
    try:
        judgement = JudgementSchema().load(form)
    except ValidationError as e:
        missing = "note" in e.messages_dict
        error = (
            f"Write why, in 1 to {MAX_NOTE} characters." if missing else "Choose one of the two."
        )
        draft = Draft(judgement=form["note"], judgement_error=error)
        return _show_thread(text_id, draft), HTTPStatus.BAD_REQUEST
    actor, note = describe_actor(), judgement["note"]
    try:
        carry_out_judgement(suppression, judgement["meant"], actor=actor, note=note)
    except Conflict as e:
        flash_refusal(e)
    return go_to("inbox.show_thread", text_id=text_id)


def carry_out_judgement(suppression: Row[Any], meant: str, *, actor: str, note: str) -> None:
    """Stop all texts, or let them go on, and say so.  Raises Conflict."""
    ctx, public_id = current_context().subscriber_context, suppression.public_id
    if meant == "stop":
        manage.confirm_suppression(ctx, public_id, actor=actor, channel=manage.PAGE, note=note)
        flash("Stopped.\nNothing is sent to them. The note is kept with your name.", "done")
    else:
        manage.release_suppression(ctx, public_id, actor=actor, channel=manage.PAGE, note=note)
        flash("Texts may go on.\nThe note is kept with your name.", "done")


def _load(schema: type[Schema]) -> dict[str, Any]:
    query: dict[str, Any] = schema().load(request.args.to_dict())
    return query


def _describe_failure(text: str, error: ClarionError, text_id: int) -> Draft:
    reasons = error.facts.get("fields") or {}
    if "message" in reasons:
        return Draft(text, error=reasons["message"][0])
    if isinstance(error, AnsweredMeanwhile):
        last = view_thread(current_context(), text_id).answer
        return Draft(
            text,
            note=f"Not sent. {_say_answered(last)}\nLook at the thread. To send yours "
            "as well, press the button again.",
        )
    return Draft(text, note=f"Not sent.\n{error.sentence}")


def _say_answered(last: SentAnswer | None) -> str:
    if last is None:
        return "The page was too old."
    name = last.author or "A colleague"
    return f"{name} answered at {clock_time(last.at, current_context().now())}."


def _say_sent(created: dict[str, Any]) -> tuple[str, str]:
    if created.get("batch_id") or created["status"] == "queued":
        return "Sent.\nIts status is below the text.", "done"
    return f"Kept, but not sent yet.\n{created['message']}", "warn"


def _show_thread(text_id: int, draft: Draft) -> str:
    query = InboxQuerySchema(unknown="exclude").load(request.args.to_dict())
    thread = view_thread(current_context(), text_id)
    listed = _describe_list(query, opened=text_id, phone=thread.phone)
    facts = listed | _describe_thread(thread)
    return render_template("conversations/inbox.html", draft=draft, **facts)


def _describe_list(
    query: dict[str, Any], *, opened: int | None = None, phone: str | None = None
) -> dict[str, Any]:
    ctx, show = current_context(), query["show"]
    page = list_threads(ctx, limit=_ROWS, **query)
    answers = find_answers(ctx, [row.sender for row in page.rows])
    return {
        "rows": [_describe_row(row, answers.get(row.sender), phone) for row in page.rows],
        "cursor": page.cursor,
        "cursor_given": query.get("cursor"),
        "show": show,
        "chips": _CHIPS,
        "opened": opened,
        "list_poll_s": _LIST_POLL_S,
        "seen_at": ctx.now(),
    }


def _describe_row(row: Row[Any], answer: SentAnswer | None, phone: str | None) -> dict[str, Any]:
    """Return a thread with its last text, theirs or an answer."""
    person, at = row._asdict(), row.recorded_at
    body = " ".join(read_body(row.kind, row.body).split()) or _NO_TEXT
    if answer and answer.at >= at:
        at, body = answer.at, f"You: {' '.join(answer.text.split())}"
    return {
        "id": row.id,
        "name": show_name(person, row.sender),
        "body": show_text(body, person)[:_CUT],
        "at": at,
        "waits": not row.answered and not row.opted_out,
        "opted_out": row.opted_out,
        "to_review": row.to_review,
        "is_open": row.sender == phone,
    }


def _describe_thread(thread: Thread) -> dict[str, Any]:
    suppression, last = thread.suppression, thread.texts[-1]
    person = thread.subscriber._asdict() if thread.subscriber else None
    return {
        "id": thread.newest_id,
        "name": show_name(person, thread.phone),
        "person_id": person["public_id"] if person else None,
        "details": _list_details(thread),
        "days": _group_by_day(thread.texts, person),
        "newest": f"{thread.newest_id}.{len(thread.texts)}.{last.status}.{bool(suppression)}"[:64],
        "poll_s": _THREAD_POLL_S,
        "state": name_state(thread),
        "refusal": explain_refusal(thread),
        "our_number": thread.our_number,
        "to_review": bool(suppression and suppression.needs_review),
        "opted_out_at": _find_opted_out_at(suppression),
        "seen_at": current_context().now(),
    }


def _list_details(thread: Thread) -> str:
    person = thread.subscriber
    if person is None:
        return "Not among the people you keep."
    return ", ".join(filter(None, (show_number(thread.phone), person.language, person.time_zone)))


def _find_opted_out_at(suppression: Row[Any] | None) -> datetime | None:
    if suppression is None or suppression.needs_review or suppression.scope is not Scope.ALL:
        return None
    at: datetime = suppression.suppressed_at
    return at


def _describe_text(text: ThreadText, person: Mapping[str, Any] | None) -> dict[str, Any]:
    body = text.body if text.body.strip() else _NO_TEXT
    kind, word = MARKS[MessageStatus(text.status)] if text.is_ours else ("", "")
    return {
        "at": text.at,
        "body": show_text(body, person),
        "is_ours": text.is_ours,
        "kind": kind,
        "word": word,
        "reason": text.reason if kind not in ("delivered", "sending") else "",
        "by": text.author or ("" if text.client in _OURS else text.client),
    }


def _group_by_day(
    texts: Sequence[ThreadText], person: Mapping[str, Any] | None
) -> list[dict[str, Any]]:
    days: list[dict[str, Any]] = []
    for text in texts:
        if not days or days[-1]["day"] != day_of(text.at):
            days.append({"day": day_of(text.at), "texts": []})
        days[-1]["texts"].append(_describe_text(text, person))
    return days
