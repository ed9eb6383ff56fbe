"""The books of a broadcast: they add up, say why, and when."""

from datetime import UTC, datetime, timedelta

import pytest

from app.sms.dispatch.burst import submit_next
from app.sms.models.statuses import MessageStatus
from app.worker.jobs import plan_next
from tests.background import context_of, work_until
from tests.callers import PATIENT, Caller, id_of
from tests.endings import end_messages, read_batches
from tests.factories import many_numbers
from tests.reporting import report, tell
from tests.shifting import shift_clock

NUMBERS = many_numbers(10)


@pytest.fixture
def service(make_service, sandbox):
    return make_service(**PATIENT)


def _counted(view):
    return {word: count for word, count in view["counts"].items() if count}


def _reasons(view):
    return [(reason["status"], reason["code"], reason["messages"]) for reason in view["reasons"]]


def test_every_report_moves_its_recipient_to_its_word_and_the_counts_still_add_up(
    either_service, sandbox
):
    caller = Caller(either_service)
    made = caller.send(*NUMBERS, "nobody", skip_invalid=True)
    words = ["Delivered", "Failed", "Rejected", "Expired", "Aborted", "Cancelled", "Deleted"]
    words += ["Unknown", "Dispatched"]
    seen = [caller.show(made)]

    for number, word in zip(NUMBERS, words, strict=False):
        end_messages(context_of(either_service), made, {number: (word, 7)})
        seen.append(caller.show(made))

    assert {sum(view["counts"].values()) for view in seen} == {11}
    assert {sum(reason["messages"] for reason in view["reasons"]) for view in seen} == {11}
    assert _counted(seen[0]) == {"submitted": 10, "invalid": 1}
    ends = [word.lower() for word in words[:-1]]
    assert _counted(seen[-1]) == dict.fromkeys(ends, 1) | {"submitted": 2, "invalid": 1}
    assert ("submitted", None, 1) in _reasons(seen[-1])
    assert ("submitted", 7, 1) in _reasons(seen[-1])


def test_every_word_there_is_has_its_count(caller, sandbox):
    view = caller.show(caller.send(NUMBERS[0]))

    assert set(view["counts"]) == {status.value for status in MessageStatus} - {"duplicate"}


def test_the_reasons_say_why_and_whether_to_try_again_the_most_frequent_first(
    service, caller, sandbox
):
    made = caller.send(*NUMBERS)
    unknown_number, switched_off = ("Failed", 150), ("Failed", 153)
    ends = [("Delivered", 0), unknown_number, *([switched_off] * 3), ("Failed", 98_765)]

    end_messages(context_of(service), made, dict(zip(NUMBERS, ends, strict=False)))

    told = {(reason["status"], reason["code"]): reason for reason in caller.show(made)["reasons"]}
    assert _reasons(caller.show(made)) == [
        ("submitted", None, 4),
        ("delivered", 0, 1),
        ("failed", 153, 3),
        ("failed", 150, 1),
        ("failed", 98_765, 1),
    ]
    assert told["failed", 153]["retry"] is True
    assert "out of reach" in told["failed", 153]["reason"]
    assert told["failed", 150]["retry"] is False
    assert told["failed", 98_765]["reason"] == "The carrier could not deliver it."


def test_what_is_not_sent_is_told_by_what_became_of_its_batch(service, caller, sandbox):
    fault = {"status": 400, "code": "syntax_constraint_violation"}
    sandbox.order_fault(on="POST /batches", **fault)
    made = caller.send(*many_numbers(3_000))
    ctx = context_of(service)
    while plan_next(ctx):
        pass
    submit_next(ctx)
    submit_next(ctx)
    caller.act("cancel", made)

    view = caller.show(made)

    assert _reasons(view) == [
        ("submitted", None, 1000),
        ("rejected", None, 1000),
        ("cancelled", None, 1000),
    ]
    assert view["parts"] == 1000


def test_of_a_page_of_broadcasts_each_has_its_own_sums(either_service, sandbox):
    caller = Caller(either_service)
    made = [caller.send(*NUMBERS[: n + 1]) for n in range(4)]
    for n, public_id in enumerate(made):
        ends = dict.fromkeys(NUMBERS[:n], ("Delivered" if n % 2 else "Failed", n))
        end_messages(context_of(either_service), public_id, ends)
    caller.act("cancel", made[3])

    page = caller.get("/api/broadcasts").get_json()["broadcasts"]
    alone = [caller.show(public_id) for public_id in made[::-1]]

    # Percentiles are estimates, never later than the time of the call.
    for view in (*page, *alone):
        view["timeline"].pop("delivered")
    assert page == alone
    assert [_counted(view) for view in page] == [
        {"delivered": 3, "submitted": 1},
        {"failed": 2, "submitted": 1},
        {"delivered": 1, "submitted": 1},
        {"submitted": 1},
    ]


def test_parts_are_those_of_whom_sinch_has(caller, sandbox):
    sandbox.order_fault(on="POST /batches", status=400, code="syntax_invalid_parameter_format")
    sandbox.order_fault(on="POST /batches", status=400, code="syntax_invalid_parameter_format")

    view = caller.show(caller.send(*NUMBERS[:2], message="x" * 400))

    assert view["parts_per_message"] == 3
    assert view["parts"] == 3


def test_the_timeline_tells_when_most_were_delivered(either_service, sandbox):
    caller, numbers = Caller(either_service), many_numbers(200)
    made = caller.send(*numbers)
    start = datetime.fromisoformat(caller.show(made)["created_at"])
    batches = read_batches(context_of(either_service), id_of(made))
    shift_clock(either_service, 4_000)
    ctx = context_of(either_service)

    def delivered(number, after_s):
        at = (start + timedelta(seconds=after_s)).isoformat()
        return report(number, "Delivered", batch=batches[number], at=at)

    waits_s = [10] * 60 + [100] * 35 + [3600] * 4
    tell(ctx, *map(delivered, numbers, waits_s))
    end_messages(ctx, made, dict.fromkeys(numbers[len(waits_s) :], ("Failed", 150)))

    view = caller.show(made)
    times = {
        name: (datetime.fromisoformat(at) - start).total_seconds()
        for name, at in view["timeline"]["delivered"].items()
    }
    assert times["p50"] == pytest.approx(10, rel=0.06)
    assert times["p90"] == pytest.approx(100, rel=0.06)
    assert times["p99"] == pytest.approx(3600, rel=0.06)
    assert view["timeline"]["all_reported_at"] == view["all_reported_at"] is not None


@pytest.mark.parametrize("share", [1, 2])
def test_no_time_of_the_timeline_is_after_the_last_report_or_now(either_service, sandbox, share):
    """Delays are counted in classes, whose middle may lie behind the last of their reports."""
    caller, numbers = Caller(either_service), many_numbers(20)
    made = caller.send(*numbers)
    ctx = context_of(either_service)
    batches = read_batches(ctx, id_of(made))

    for wait_s in (7, 700):
        shift_clock(either_service, wait_s)
        ctx = context_of(either_service)
        at = ctx.now().isoformat()
        told = numbers[: len(numbers) // share]
        tell(ctx, *(report(n, "Delivered", batch=batches[n], at=at) for n in told))
        timeline = caller.show(made)["timeline"]

        latest = timeline["all_reported_at"] or context_of(either_service).now().isoformat()
        times = [*timeline["delivered"].values(), latest]
        assert times == sorted(times)


def test_of_one_for_later_the_delays_count_from_its_time(service, caller, sandbox):
    soon = datetime.now(UTC) + timedelta(hours=1)
    made = caller.send(NUMBERS[0], send_at=soon.isoformat())
    shift_clock(service, 3600)
    work_until(service, lambda: caller.show(made)["status"] == "complete")

    shift_clock(service, 3610)
    end_messages(
        context_of(service), made, {NUMBERS[0]: ("Delivered", 0)}, at=soon + timedelta(seconds=2)
    )

    half = datetime.fromisoformat(caller.show(made)["timeline"]["delivered"]["p50"])
    assert (half - soon).total_seconds() == pytest.approx(2, rel=0.06)
