"""Answers that users write to a person's text, once for each state of a thread.

The Idempotency-Key of an answer names the thread and the answer before it, as the user saw it.  So
a second press sends nothing, and of two users who answer at once only the first one's text goes.
"""

import re
from dataclasses import replace
from hashlib import sha256
from http import HTTPStatus
from typing import Any

from marshmallow import ValidationError

from app.config.keys import PEOPLE_CLIENT
from app.errors import BadInput, Conflict, KeyMisused
from app.http.arguments import reject_fields
from app.phone.e164 import normalise_number
from app.sms.broadcasts.create import create_broadcast
from app.sms.broadcasts.idempotency import RequestKey, find_replay
from app.sms.context import Context
from app.sms.inbound.threads import Thread, view_thread
from app.sms.models.states import Category
from app.sms.request.model import BroadcastRequest
from app.sms.request.schemas import BroadcastSchema
from app.subscribers.models import Scope

NO_ANSWER = "-"
_STATE = re.compile(r"[0-9A-Za-z-]{1,26}")


class AnsweredMeanwhile(Conflict):
    """Another answer came after the user's page was made: nothing was sent."""


class NoAnswerAllowed(Conflict):
    """The person gets no answer: nothing was sent."""


def name_state(thread: Thread) -> str:
    """Return the state of a thread that an answer is for: the answer before, if there is one."""
    return thread.answer.id if thread.answer else NO_ANSWER


def explain_refusal(thread: Thread) -> str | None:
    """Return why nothing may be sent to the person, None if an answer may go."""
    if normalise_number(thread.phone) is None:
        return "You cannot: the text did not come from a phone number."
    suppression = thread.suppression
    if suppression is None or suppression.scope is not Scope.ALL:
        return None
    if suppression.needs_review:
        return "You cannot yet: nothing is sent to this number until the text is judged."
    return "You cannot: they opted out, and nothing is sent to them until they text START."


def answer_thread(
    ctx: Context, text_id: int, text: str, *, state: str, author: str, production: bool
) -> tuple[dict[str, Any], HTTPStatus, bool]:
    """Send an answer from the number that the person wrote to, as create_broadcast.

    `state` is the thread's as the user saw it.  Raises NotFound for an unknown thread,
    NoAnswerAllowed, AnsweredMeanwhile, and BadInput with the reasons by field.
    """
    if not _STATE.fullmatch(state):
        raise AnsweredMeanwhile("The page is not one of ours: load it again.")
    thread = view_thread(ctx, text_id)
    request = _make_request(thread, text, author=author)
    key = _make_key(thread, request, state)
    try:
        if find_replay(ctx, key, client=PEOPLE_CLIENT) is None:
            _require_answerable(thread, state)
        return create_broadcast(ctx, request, client=PEOPLE_CLIENT, key=key, production=production)
    except KeyMisused as e:
        raise AnsweredMeanwhile("Another answer was sent meanwhile.") from e


def _require_answerable(thread: Thread, state: str) -> None:
    if reason := explain_refusal(thread):
        raise NoAnswerAllowed(reason)
    if name_state(thread) != state:
        raise AnsweredMeanwhile("Another answer was sent meanwhile.")


def _make_request(thread: Thread, text: str, *, author: str) -> BroadcastRequest:
    schema = BroadcastSchema()
    body = {
        "recipients": [thread.phone],
        "message": text,
        "sender": thread.our_number,
        "category": Category.TRANSACTIONAL.value,
    }
    try:
        request: BroadcastRequest = schema.load(body)
    except ValidationError as e:
        raise reject_fields(e, schema) from e
    except BadInput as e:
        raise NoAnswerAllowed("You cannot: the text did not come from a phone number.") from e
    return replace(request, created_by=author, is_answer=True)


def _make_key(thread: Thread, request: BroadcastRequest, state: str) -> RequestKey:
    meant = "\0".join((thread.phone, request.text, request.sender or ""))
    return RequestKey(f"answer:{thread.first_id}:{state}", sha256(meant.encode()).digest())
