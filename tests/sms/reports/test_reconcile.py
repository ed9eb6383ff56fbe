"""Reports that nobody told of are asked for; what is never reported ends as unknown, visibly."""

from datetime import timedelta

import pytest

from app.sinch.schemas import ReportMode
from app.sms.models.batch import Batch
from app.sms.models.states import BatchState
from app.sms.models.statuses import MessageStatus
from app.sms.reports.reconcile import fetch_due_reports
from tests.factories import many_numbers
from tests.machine import Machine
from tests.reporting import ends, report, tell

ANN = "+46701234567"
# The sandbox's magic numbers.
FAILED, EXPIRED, SILENT = "+12025550101", "+12025550102", "+12025550107"
REPORT = "GET /batches/{id}/delivery_report"
_M = MessageStatus


def _go_on(machine, sandbox, seconds):
    """Let time pass on both sides, asking whenever it is time."""
    end = machine.ctx.now() + timedelta(seconds=seconds)
    while (at := machine.batch().next_report_at) is not None and at <= end:
        step = max((at - machine.ctx.now()).total_seconds(), 0.0)
        machine.clock.advance(step)
        if step:
            sandbox.advance(step)
        fetch_due_reports(machine.ctx)


def _count(sandbox, path):
    return sum(path in request["path"] for request in sandbox.requests())


def test_a_report_is_asked_for_until_every_end_is_known(either_machine, sandbox):
    machine = either_machine
    broadcast = machine.store([ANN, FAILED, EXPIRED])
    machine.submit()
    assert fetch_due_reports(machine.ctx) == 0  # it is not time yet

    _go_on(machine, sandbox, 3600)

    found = ends(machine.ctx, broadcast)
    assert found == {ANN: (_M.DELIVERED, 0), FAILED: (_M.FAILED, 150), EXPIRED: (_M.EXPIRED, 153)}
    assert (machine.batch().next_report_at, machine.batch().ended) == (None, 3)
    assert machine.broadcast(broadcast).all_reported_at is not None


@pytest.mark.parametrize(
    ("public_url", "setting", "asked_for", "waits"),
    [
        ("http://127.0.0.1:9", "", None, (600, 1800)),
        ("http://127.0.0.1:9", "none", None, (10, 20)),
        ("http://127.0.0.1:9", "", ReportMode.NONE, (10, 20)),
        ("http://127.0.0.1:9", "none", ReportMode.FULL, (600, 1800)),
        ("", "", None, (10, 20)),
        ("", "", ReportMode.FULL, (10, 20)),
    ],
)
def test_who_is_called_back_asks_later(
    make_service, sandbox, public_url, setting, asked_for, waits
):
    service = make_service(PUBLIC_URL=public_url, DELIVERY_REPORT=setting)
    machine = Machine.over(service.extensions["clarion"])
    machine.store([SILENT], delivery_report=asked_for)
    machine.submit()
    first = machine.batch().next_report_at

    machine.clock.advance((first - machine.ctx.now()).total_seconds())
    fetch_due_reports(machine.ctx)

    second = machine.batch().next_report_at
    told = first - machine.batch().accepted_at, second - first
    assert tuple(report.total_seconds() for report in told) == waits


def test_a_thousand_recipients_cost_one_question(machine, sandbox):
    machine.store(many_numbers(1_000), size=1_000)
    machine.submit()
    sandbox.advance(3600)
    machine.clock.advance(3600)

    assert fetch_due_reports(machine.ctx) == 1

    assert _count(sandbox, "delivery_report") == 1
    assert machine.batch().ended == 1_000


def test_what_is_never_reported_becomes_unknown_behind_its_margin(machine, sandbox, capsys):
    machine = machine.with_rules(report_margin_s=7_200.0)
    broadcast = machine.store([ANN, SILENT], expire_s=3_600)
    machine.submit()

    _go_on(machine, sandbox, 3_600 + 7_100)
    assert ends(machine.ctx, broadcast)[SILENT] == (_M.SUBMITTED, 401)
    assert machine.broadcast(broadcast).all_reported_at is None

    _go_on(machine, sandbox, 2 * 3_600)
    assert ends(machine.ctx, broadcast) == {ANN: (_M.DELIVERED, 0), SILENT: (_M.UNKNOWN, None)}
    assert machine.broadcast(broadcast).all_reported_at is not None
    assert "never reported" in capsys.readouterr().err


def test_a_late_report_still_counts_behind_unknown(machine, sandbox):
    machine = machine.with_rules(report_margin_s=1.0)
    broadcast = machine.store([SILENT], expire_s=60)
    machine.submit()
    _go_on(machine, sandbox, 7_200)
    assert ends(machine.ctx, broadcast) == {SILENT: (_M.UNKNOWN, None)}

    tell(machine.ctx, report(SILENT, "Delivered", batch=machine.batch().sinch_id))

    assert ends(machine.ctx, broadcast) == {SILENT: (_M.DELIVERED, 0)}
    assert machine.batch().ended == 1
    assert machine.violations() == []


def test_a_report_that_cannot_be_read_ends_nothing_however_late(machine, sandbox):
    machine = machine.with_rules(report_margin_s=1.0)
    broadcast = machine.store([ANN], expire_s=60)
    machine.submit()
    sandbox.order_fault(on=REPORT, status=503, times=None)

    _go_on(machine, sandbox, 86_400)
    assert ends(machine.ctx, broadcast) == {ANN: (None, None)}

    sandbox.clear_faults()
    _go_on(machine, sandbox, 86_400)
    assert ends(machine.ctx, broadcast) == {ANN: (_M.DELIVERED, 0)}


def test_a_batch_that_sinch_forgot_ends_as_unknown(machine, sandbox):
    machine = machine.with_rules(report_margin_s=1.0)
    broadcast = machine.store([ANN], expire_s=60)
    machine.submit()
    sandbox.reset()

    _go_on(machine, sandbox, 7_200)

    assert ends(machine.ctx, broadcast) == {ANN: (_M.UNKNOWN, None)}


def test_a_batch_whose_id_nobody_learnt_ends_as_unknown(machine):
    machine = machine.with_rules(report_margin_s=1.0)
    broadcast = machine.store([ANN], expire_s=60)
    claim = machine.claim()
    now = machine.ctx.now()
    accepted = {"state": BatchState.ACCEPTED, "lease_until": None, "next_report_at": now}
    machine.corrupt(Batch, Batch.id == claim.batch_id, **accepted)
    machine.clock.advance(120)

    fetch_due_reports(machine.ctx)

    assert ends(machine.ctx, broadcast) == {ANN: (_M.UNKNOWN, None)}


def test_of_two_that_ask_at_once_one_asks(machine, sandbox):
    machine.store([SILENT])
    machine.submit()
    machine.clock.advance(60)
    row = machine.batch()
    fetch_due_reports(machine.ctx)
    # The other had looked before: its time and count are those of then.
    machine.corrupt(Batch, next_report_at=row.next_report_at)
    sandbox_before = _count(sandbox, "delivery_report")

    fetch_due_reports(machine.worker("other").ctx)

    assert _count(sandbox, "delivery_report") == sandbox_before + 1
    assert machine.batch().report_fetches == row.report_fetches + 2


@pytest.mark.parametrize("days", [1, 400])
def test_a_clock_that_was_set_back_keeps_no_question_waiting(machine, sandbox, days):
    machine.store([ANN])
    machine.submit()
    sandbox.advance(3_600)
    machine.clock.set_back(days * 86_400)

    assert fetch_due_reports(machine.ctx) == 1
