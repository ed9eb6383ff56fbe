"""Threads: one for each number, by its newest text; who waits for an answer, who opted out."""

from datetime import UTC, datetime

import pytest

from app.errors import BadInput
from app.sms.broadcasts.views import list_broadcasts, list_newest
from app.sms.inbound import threads
from app.sms.inbound.answer import AnsweredMeanwhile, NoAnswerAllowed, answer_thread, name_state
from app.sms.inbound.threads import (
    ThreadFilter,
    count_to_answer,
    find_answers,
    list_threads,
    view_thread,
)
from app.sms.models.states import BroadcastStatus
from tests.background import context_of
from tests.callers import PATIENT, Caller, id_of
from tests.factories import many_numbers
from tests.reporting import inbound, tell

ANN, BOB = "+46701234567", "+46707654321"


@pytest.fixture
def service(make_service, sandbox):
    return make_service(**PATIENT)


def write(ctx, phone, text, name="01IN"):
    tell(ctx, inbound(phone, text, name=name, received_at=datetime.now(UTC).isoformat()))


def answer(ctx, text_id, text, state="-"):
    return answer_thread(ctx, text_id, text, state=state, author="Anna", production=False)


def senders(ctx, show=ThreadFilter.ALL):
    return [row.sender for row in list_threads(ctx, show=show).rows]


def test_each_filter_has_its_threads(either_service):
    ctx = context_of(either_service)
    unsure, asked, stopped, answered = many_numbers(4)
    write(ctx, answered, "When do you open?", "01A")
    answer(ctx, list_threads(ctx).rows[0].id, "At 10.")
    for number, text, name in (
        (stopped, "Hello?", "01B"),
        (stopped, "STOP", "01C"),
        (asked, "Who is this?", "01D"),
        (unsure, "start stop", "01E"),
    ):
        write(ctx, number, text, name)

    assert senders(ctx) == [unsure, asked, stopped, answered]
    assert senders(ctx, ThreadFilter.TO_ANSWER) == [unsure, asked]
    assert senders(ctx, ThreadFilter.OPTED_OUT) == [stopped]
    assert count_to_answer(ctx) == 2


def test_a_new_text_after_an_answer_waits_again(service):
    ctx = context_of(service)
    write(ctx, ANN, "When do you open?", "01A")
    answer(ctx, list_threads(ctx).rows[0].id, "At 10.")
    assert senders(ctx, ThreadFilter.TO_ANSWER) == []

    write(ctx, ANN, "On Sundays, too?", "01B")

    assert senders(ctx, ThreadFilter.TO_ANSWER) == [ANN]


def test_a_list_is_read_page_by_page_though_a_page_looks_at_few_texts(service, monkeypatch):
    ctx, numbers = context_of(service), many_numbers(7)
    for number in (*numbers, numbers[0]):
        write(ctx, number, "Hello", f"01{number[-1]}{len(senders(ctx))}")
    monkeypatch.setattr(threads, "_WINDOW", 3)

    found, cursor = [], None
    while True:
        page = list_threads(ctx, limit=2, cursor=cursor)
        found += [row.sender for row in page.rows]
        if page.cursor is None:
            break
        cursor = int(page.cursor)

    assert found == [numbers[0], *reversed(numbers[1:])]


def test_a_thread_has_the_texts_both_ways_in_order(either_service):
    ctx = context_of(either_service)
    write(ctx, ANN, "When do you open?", "01A")
    text_id = list_threads(ctx).rows[0].id
    answer(ctx, text_id, "At 10.")
    write(ctx, ANN, "Thanks", "01B")

    thread = view_thread(ctx, text_id)

    assert [(text.is_ours, text.body) for text in thread.texts] == [
        (False, "When do you open?"),
        (True, "At 10."),
        (False, "Thanks"),
    ]
    assert (thread.texts[1].author, thread.answer.author) == ("Anna", "Anna")
    assert thread.first_id == text_id < thread.newest_id


def test_the_newest_answer_to_each_number_is_found(either_service):
    ctx = context_of(either_service)
    write(ctx, ANN, "When do you open?", "01A")
    write(ctx, BOB, "Who is this?", "01B")
    text_id = list_threads(ctx).rows[1].id
    answer(ctx, text_id, "At 10.")
    answer(ctx, text_id, "At 9, sorry.", name_state(view_thread(ctx, text_id)))

    found = find_answers(ctx, [ANN, BOB])

    assert {phone: (sent.text, sent.author) for phone, sent in found.items()} == {
        ANN: ("At 9, sorry.", "Anna")
    }


def test_a_list_of_broadcasts_may_leave_out_what_is_in_threads(either_service):
    ctx, caller = context_of(either_service), Caller(either_service)
    write(ctx, ANN, "When do you open?", "01A")
    answer(ctx, list_threads(ctx).rows[0].id, "At 10.")
    write(ctx, BOB, "STOP", "01B")
    alone, marketing = id_of(caller.send(ANN)), id_of(caller.send(*many_numbers(2)))

    listed = list_broadcasts(ctx, with_threads=False).rows
    everything = list_broadcasts(ctx).rows
    done = list_newest(ctx, list(BroadcastStatus), limit=9)

    assert [view.row.public_id for view in listed] == [marketing, alone]
    assert {view.row.public_id for view in done} == {marketing, alone}
    assert [view.row.client for view in everything] == ["tests", "tests", "clarion", "people"]


def test_of_two_answers_to_one_state_the_first_is_sent(either_service, sandbox):
    ctx = context_of(either_service)
    write(ctx, ANN, "When do you open?")
    text_id = list_threads(ctx).rows[0].id

    first = answer(ctx, text_id, "At 10.")
    again = answer(ctx, text_id, "At 10.")
    with pytest.raises(AnsweredMeanwhile):
        answer(ctx, text_id, "At 9.")
    answer(ctx, text_id, "At 9, sorry.", name_state(view_thread(ctx, text_id)))

    assert first[0]["broadcast_id"] == again[0]["broadcast_id"]
    assert sandbox.recipients() == [ANN, ANN]


@pytest.mark.parametrize("state", ["", "\0", "x" * 30, "01J0000000000000000000000", "é"])
def test_a_state_that_the_thread_does_not_have_sends_nothing(either_service, sandbox, state):
    ctx = context_of(either_service)
    write(ctx, ANN, "When do you open?")

    with pytest.raises(AnsweredMeanwhile):
        answer(ctx, list_threads(ctx).rows[0].id, "At 10.", state)

    assert sandbox.recipients() == []


def test_nothing_is_sent_to_those_who_opted_out_nor_to_what_is_no_number(service, sandbox):
    ctx = context_of(service)
    write(ctx, ANN, "STOP", "01A")
    write(ctx, "12345", "Your balance is low", "01B")
    sent = sandbox.recipients()

    for row in list_threads(ctx).rows:
        with pytest.raises(NoAnswerAllowed):
            answer(ctx, row.id, "Hello")

    assert sandbox.recipients() == sent


def test_an_empty_answer_names_its_field(service):
    ctx = context_of(service)
    write(ctx, ANN, "When do you open?")

    with pytest.raises(BadInput) as refused:
        answer(ctx, list_threads(ctx).rows[0].id, " ")

    assert list(refused.value.facts["fields"]) == ["message"]
