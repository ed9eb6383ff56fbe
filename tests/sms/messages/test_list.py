"""The messages of a broadcast, all or some: each once, in order, however they are asked for."""

import pytest

from app.sms.audience.plan import plan_broadcast
from app.sms.messages.list import list_messages, read_messages
from app.sms.messages.queries import MessageFilter
from app.sms.models.statuses import MessageStatus
from tests.background import context_of
from tests.callers import PATIENT, Caller, id_of
from tests.endings import end_messages
from tests.factories import many_numbers

_M = MessageStatus
NUMBERS = many_numbers(10)


@pytest.fixture
def service(make_service, sandbox):
    return make_service(**PATIENT)


def _messages(caller, made, **query):
    return caller.get(f"/api/broadcasts/{id_of(made)}/messages", **query).get_json()["messages"]


def test_each_says_where_it_stands_why_since_when_and_whether_to_try_again(either_service, sandbox):
    caller = Caller(either_service)
    made = caller.send(*NUMBERS[:3])
    end_messages(context_of(either_service), made, {NUMBERS[1]: ("Failed", 153)})

    told = _messages(caller, made)

    (batch,) = sandbox.batches()
    names = {"batch_id": batch["id"], "client_reference": batch["client_reference"]}
    taken_at = caller.show(made)["timeline"]["last_submitted_at"]
    submitted = {
        "status": "submitted",
        "code": None,
        "reason": "Sinch has it; no final status is reported yet.",
        "retry": False,
        "at": taken_at,
        **names,
    }
    assert told == [
        {"recipient": NUMBERS[0], **submitted},
        {
            "recipient": NUMBERS[1],
            "status": "failed",
            "code": 153,
            "reason": "The phone was off or out of reach.",
            "retry": True,
            "at": "2026-03-01T12:00:05.250000+00:00",
            **names,
        },
        {"recipient": NUMBERS[2], **submitted},
    ]


def test_they_can_be_chosen_by_status_and_by_code(either_service, sandbox):
    caller = Caller(either_service)
    made = caller.send(*NUMBERS)
    ends = [("Delivered", 0), ("Failed", 150), ("Failed", 153), ("Dispatched", 401)]
    end_messages(context_of(either_service), made, dict(zip(NUMBERS, ends, strict=False)))

    def choose(**query):
        return [each["recipient"] for each in _messages(caller, made, **query)]

    assert choose(status="failed") == NUMBERS[1:3]
    assert choose(status="failed", code=153) == [NUMBERS[2]]
    assert choose(code=0) == [NUMBERS[0]]
    assert choose(status="submitted") == NUMBERS[3:]
    assert choose(status="submitted", code=401) == [NUMBERS[3]]
    assert choose(status="delivered", code=153) == []
    assert choose(status="pending") == choose(status="invalid") == choose(code=7) == []


_WRONG_CHOICES = [
    ({"status": "sent"}, "status"),
    ({"status": "accepted"}, "status"),
    ({"status": "duplicate"}, "status"),
    ({"status": ""}, "status"),
    ({"code": "x"}, "code"),
    ({"code": "-1"}, "code"),
    ({"code": "1.5"}, "code"),
    ({"code": str(2**31)}, "code"),
    ({"code": "9" * 5000}, "code"),
    ({"state": "failed"}, "state"),
]


@pytest.mark.parametrize("path", ["messages", "messages.csv"])
def test_a_wrong_choice_names_the_field(caller, sandbox, path):
    made = caller.send(NUMBERS[0])

    for query, field in _WRONG_CHOICES:
        answer = caller.get(f"/api/broadcasts/{id_of(made)}/{path}", **query)

        assert answer.status_code == 400, query
        assert [*answer.get_json()["fields"]] == [field], query


def _mixed(machine, count, size, *, plan):
    """A broadcast cut into batches of `size`, a few of them submitted, some of those reported.

    Of `plan` steps of planning one cuts 20 chunks; the rest of the audience waits.
    """
    numbers = many_numbers(count)[::-1]
    broadcast = machine.store(numbers, size=size, plan=False)
    for _ in range(plan):
        plan_broadcast(machine.ctx, broadcast)
    return machine.broadcast(broadcast), numbers


# Small ones stand as given, large ones in order; of these 10 chunks of 3 are not planned yet.
SHAPES = {"small": (30, 3, 1), "large": (90, 3, 2), "half planned": (90, 3, 1), "waits": (90, 3, 0)}


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
def test_whatever_the_page_and_the_filter_everybody_comes_once_in_order(
    make_machine, either_database, sandbox, shape
):
    machine = make_machine(either_database)
    count, size, plan = SHAPES[shape]
    broadcast, numbers = _mixed(machine, count, size, plan=plan)
    fault = {"status": 400, "code": "syntax_constraint_violation"}
    sandbox.order_fault(on="POST /batches", skip=2, **fault)
    if plan:
        for _ in range(8):
            machine.submit()
    taken = [each for page in read_all(machine, broadcast) for each in page if each.batch_id]
    _end_some(machine, broadcast, [each.recipient for each in taken])

    everybody = walk(machine, broadcast, limit=1000)

    assert sorted(each.recipient for each in everybody) == sorted(numbers)
    in_order = sorted(numbers) if count > 20 * size and plan else numbers
    assert [each.recipient for each in everybody] == in_order
    statuses = {each.status for each in everybody}
    assert len(statuses) >= (1 if plan == 0 else 4)
    several = [(_M.FAILED, _M.PENDING), (_M.DELIVERED, _M.SUBMITTED, _M.REJECTED)]
    for chosen in [(), *((status,) for status in _M), *several]:
        for code in (None, 153, 0):
            wanted = [
                each
                for each in everybody
                if (not chosen or each.status in chosen) and code in (None, each.code)
            ]
            for limit in (1, 7, 1000) if not chosen else (3, 1000):
                found = walk(machine, broadcast, limit=limit, statuses=chosen, code=code)
                assert found == wanted, (chosen, code, limit)


def walk(machine, broadcast, *, limit, statuses=(), code=None):
    """All that is wanted, page by page; no page is larger than asked for."""
    found, cursor = [], None
    while True:
        page = list_messages(
            machine.ctx,
            broadcast.public_id,
            cursor=cursor,
            limit=limit,
            wanted=MessageFilter(statuses, code),
        )
        assert len(page.rows) <= limit
        found += page.rows
        cursor = page.cursor
        if cursor is None:
            return found


def read_all(machine, broadcast):
    """The same as the export reads it; as one page where it would have to wait for the order."""
    if broadcast.planned == 0:
        return [walk(machine, broadcast, limit=1000)]
    return list(read_messages(machine.ctx, broadcast.public_id))


def _end_some(machine, broadcast, taken):
    ends = [("Delivered", 0), ("Failed", 153), ("Failed", 150), ("Dispatched", 401)]
    end_messages(machine.ctx, broadcast.public_id, dict(zip(taken, ends, strict=False)))


@pytest.mark.parametrize("shape", SHAPES)
def test_a_place_that_there_is_not_is_the_next_there_is(machine, sandbox, shape):
    count, size, plan = SHAPES[shape]
    broadcast, _ = _mixed(machine, count, size, plan=plan)
    mark = "u" if shape == "waits" else ""

    def page(place):
        return list_messages(machine.ctx, broadcast.public_id, cursor=f"{place}{mark}", limit=2)

    assert page("1-9999").rows == page("2-0").rows != []
    assert page("1-3") == page("2-0")
    assert page("9999999-0").rows == []
    assert page("9999999-0").cursor is None
