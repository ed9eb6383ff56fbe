"""send_at: a broadcast goes out once, at its time, and until its claim it can be called back."""

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from app.sms.broadcasts.schedule import expire_overdue_broadcasts, start_due_broadcasts
from app.worker.jobs import sweep
from tests.background import context_of, plan_all, work_off
from tests.callers import PATIENT, Caller
from tests.clocks import ManualClock
from tests.factories import in_hours, many_numbers
from tests.people import add_people
from tests.shifting import shift_clock

ANN, BOB = "+46701234567", "+46707654321"
HOUR_S = 3600.0


@pytest.fixture
def service(make_service, sandbox):
    return make_service(**PATIENT)


def _steps(left):
    """Seconds from sweep to sweep: in large steps to shortly before, every 15 s around it."""
    coarse, fine = int(left.total_seconds() // 600), 45
    return [*[600] * coarse, *[15] * fine, *[600] * 18]


def _tick(service):
    sweep(context_of(service))
    work_off(service)


def test_it_waits_for_its_time_and_then_goes_out_once(either_service, sandbox):
    caller = Caller(either_service)
    made = caller.send(ANN, BOB, send_at=in_hours(hours=1))
    shift_clock(either_service, 0.98 * HOUR_S)
    _tick(either_service)
    before = sandbox.posts(), caller.show(made)["status"]

    shift_clock(either_service, 1.01 * HOUR_S)
    for _ in range(3):
        _tick(either_service)

    assert before == (0, "scheduled")
    assert sandbox.recipients() == [ANN, BOB]
    assert caller.show(made)["status"] == "complete"


def test_the_answer_says_that_it_waits(caller, sandbox):
    day = datetime.now(UTC) + timedelta(days=7)
    answer = caller.send(ANN, send_at=f"{day:%Y-%m-%dT09:00:00+02:00}")

    assert answer.status_code == 202
    told = answer.get_json()
    assert (told["status"], told["batch_id"], told["batch_ids"]) == ("scheduled", None, [])
    assert "at its time" in told["message"]
    assert caller.show(answer)["send_at"] == f"{day:%Y-%m-%dT07:00:00+00:00}"


@pytest.mark.parametrize(
    "moment",
    [None, "2126-01-01T00:00:00Z", "9999-12-31T23:59:59Z"],
)
@pytest.mark.parametrize("path", ["broadcast", "broadcast/quote", "broadcast/tag/vip"])
def test_a_start_more_than_a_year_ahead_is_refused_with_the_latest_one(
    caller, sandbox, path, moment
):
    body = {"message": "Hi", "send_at": moment or in_hours(24 * 366 + 1)}
    if "tag" not in path:
        body["recipients"] = [ANN]

    answer = caller.post(f"/api/{path}", body)

    assert answer.status_code == 400
    latest = datetime.now(UTC) + timedelta(days=366)
    (reason,) = answer.get_json()["fields"]["send_at"]
    assert reason == f"More than 366 days ahead: the latest start is {latest:%Y-%m-%d}."
    assert caller.send(ANN, send_at=in_hours(24 * 366 - 1)).status_code == 202


def test_several_processes_start_it_once(make_service, either_database, sandbox):
    services = [make_service(DATABASE_URL=either_database, **PATIENT) for _ in range(4)]
    made = Caller(services[0]).send(*many_numbers(1500), send_at=in_hours(hours=1))
    for service in services:
        shift_clock(service, 1.01 * HOUR_S)
    start = threading.Barrier(4)

    def work(service):
        start.wait()
        for _ in range(3):
            _tick(service)

    workers = [threading.Thread(target=work, args=(each,)) for each in services]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)

    assert sorted(sandbox.recipients()) == many_numbers(1500)
    assert Caller(services[0]).show(made)["status"] == "complete"


@pytest.mark.parametrize("started", [False, True])
def test_until_it_is_claimed_it_can_be_called_back(either_service, sandbox, started):
    caller = Caller(either_service)
    made = caller.send(ANN, send_at=in_hours(hours=1))
    shift_clock(either_service, 1.01 * HOUR_S)
    plan_all(either_service)
    if started:
        start_due_broadcasts(context_of(either_service))

    caller.act("cancel", made)
    _tick(either_service)

    assert sandbox.posts() == 0
    assert caller.show(made)["counts"]["cancelled"] == 1


def test_paused_over_its_time_it_waits_for_its_resumption(either_service, sandbox):
    caller = Caller(either_service)
    made = caller.send(ANN, send_at=in_hours(hours=1))
    caller.act("pause", made)
    shift_clock(either_service, 1.5 * HOUR_S)
    _tick(either_service)
    paused = sandbox.posts()

    caller.act("resume", made)
    _tick(either_service)

    assert paused == 0
    assert sandbox.recipients() == [ANN]


def test_resumed_before_its_time_it_still_waits_for_it(caller, service, sandbox):
    made = caller.send(ANN, send_at=in_hours(hours=1))
    caller.act("pause", made)

    caller.act("resume", made)
    _tick(service)

    assert caller.show(made)["status"] == "scheduled"
    assert sandbox.posts() == 0


@pytest.mark.parametrize(("late_s", "status"), [(290, "complete"), (310, "missed_start")])
def test_how_late_it_may_start_is_a_setting(make_service, sandbox, late_s, status):
    service = make_service(MAX_START_DELAY_S="300", **PATIENT)
    made = Caller(service).send(ANN, send_at=in_hours(hours=1))

    shift_clock(service, HOUR_S + late_s)
    _tick(service)

    assert Caller(service).show(made)["status"] == status
    assert sandbox.posts() == (status == "complete")


def test_too_late_it_asks_and_goes_out_when_told(either_service, sandbox, capsys):
    caller = Caller(either_service)
    made = caller.send(ANN, send_at=in_hours(hours=1))
    shift_clock(either_service, 3 * HOUR_S)
    _tick(either_service)
    asked = caller.show(made)["status"], sandbox.posts()

    caller.act("resume", made)
    _tick(either_service)

    assert asked == ("missed_start", 0)
    assert "missed their start" in capsys.readouterr().err
    assert sandbox.recipients() == [ANN]


def test_too_late_it_asks_and_may_be_cancelled(either_service, sandbox):
    caller = Caller(either_service)
    made = caller.send(ANN, send_at=in_hours(hours=1))
    shift_clock(either_service, 3 * HOUR_S)
    _tick(either_service)

    caller.act("cancel", made)
    _tick(either_service)

    assert caller.show(made)["status"] == "cancelled"
    assert sandbox.posts() == 0


def test_too_late_and_never_answered_it_expires(service, caller, sandbox):
    made = caller.send(ANN, send_at=in_hours(hours=1), expire_at=in_hours(hours=3))
    shift_clock(service, 2.5 * HOUR_S)
    _tick(service)
    shift_clock(service, 3.5 * HOUR_S)

    _tick(service)

    assert caller.show(made)["status"] == "expired"
    assert sandbox.posts() == 0


def test_a_clock_that_is_set_back_completes_no_broadcast_whose_audience_was_not_looked_up(
    either_service, sandbox
):
    ctx, caller = context_of(either_service), Caller(either_service)
    add_people(ctx, [ANN], tags=["vip"])
    body = {"message": "Hi", "send_at": in_hours(hours=1), "expire_at": in_hours(hours=2)}
    made = caller.post("/api/broadcast/tag/vip", body)

    class SetBack(ManualClock):
        """Is set back by four hours once it was looked at."""

        def now(self):
            looked = super().now()
            self.set_back(4 * HOUR_S)
            return looked

    clock = SetBack()
    clock.advance(3 * HOUR_S)
    expire_overdue_broadcasts(replace(ctx, clock=clock))

    shown = caller.show(made)
    assert (shown["status"], shown["recipients"]) == ("expired", 0)
    assert sandbox.posts() == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("night", "local", "utc"),
    [
        pytest.param("2026-03-28", "2026-03-29T03:30:00+02:00", "01:30", id="spring forward"),
        pytest.param("2026-10-24", "2026-10-25T02:30:00+02:00", "00:30", id="fall back, first"),
        pytest.param("2026-10-24", "2026-10-25T02:30:00+01:00", "01:30", id="fall back, second"),
    ],
)
def test_in_the_nights_when_the_clocks_change_it_goes_out_once_at_its_moment(
    service, sandbox, night, local, utc
):
    stockholm = ZoneInfo("Europe/Stockholm")
    clock = ManualClock()
    service.extensions["clarion"] = replace(context_of(service), clock=clock)
    due = datetime.fromisoformat(local)
    before = datetime.fromisoformat(f"{night}T22:00:00").replace(tzinfo=stockholm)
    clock.advance((before.astimezone(UTC) - clock.now()).total_seconds())
    made = Caller(service).send(ANN, send_at=local)
    assert made.status_code == 202, made.data
    started = None

    for step_s in _steps(due - clock.now()):
        clock.advance(step_s)
        sweep(context_of(service))
        if started is None and Caller(service).show(made)["status"] != "scheduled":
            started = clock.now()

    assert started is not None
    assert timedelta() <= started - due < timedelta(seconds=15)
    assert f"{due.astimezone(UTC):%H:%M}" == utc


def test_a_clock_set_back_and_forth_again_sends_it_once(either_service, sandbox):
    caller = Caller(either_service)
    made = caller.send(ANN, send_at=in_hours(hours=1))

    for hours in (1.01, 0.5, 1.02, -2, 1.03):
        shift_clock(either_service, hours * HOUR_S)
        _tick(either_service)

    assert sandbox.recipients() == [ANN]
    assert caller.show(made)["status"] == "complete"


def test_a_clock_set_back_after_its_start_does_not_hold_the_rest(service, caller, sandbox):
    numbers = many_numbers(1500)
    caller.send(*numbers, send_at=in_hours(hours=1))
    shift_clock(service, 1.01 * HOUR_S)
    sweep(context_of(service))
    plan_all(service)

    shift_clock(service, -5 * HOUR_S)
    work_off(service)

    assert sandbox.recipients() == numbers


def test_a_clock_that_jumps_far_ahead_sends_nothing_without_a_word(service, caller, sandbox):
    made = caller.send(ANN, send_at=in_hours(hours=1))

    shift_clock(service, 20 * HOUR_S)
    _tick(service)

    assert caller.show(made)["status"] == "missed_start"
    assert sandbox.posts() == 0
