"""Background jobs: one that fails stops no other job."""

from sqlalchemy import insert, select

from app.accounts.models import SignInWait
from app.logs import configure_logging
from app.sms.operations.heartbeat import read_health
from app.worker.jobs import run_maintenance, sweep
from tests.factories import many_numbers

FAILED = "a job failed; the next run tries it again"


def _rename(machine, old, new):
    with machine.ctx.db.write() as tx:
        tx.exec_driver_sql(f"ALTER TABLE {old} RENAME TO {new}")


def test_a_job_of_the_minute_that_fails_stops_no_other(machine, capfd):
    configure_logging("INFO")
    _rename(machine, "marketing_sends", "missing")
    with machine.ctx.db.write() as tx:
        tx.exec_driver_sql("INSERT INTO metadata (name, value) VALUES ('violations', '[\"one\"]')")

    run_maintenance(machine.ctx)

    _rename(machine, "missing", "marketing_sends")
    assert capfd.readouterr().err.count(FAILED) == 1
    assert read_health(machine.ctx).violations == []


def test_a_job_of_a_sweep_that_fails_stops_no_other(machine, capfd):
    configure_logging("INFO")
    machine.store(many_numbers(2))
    machine.claim()
    machine.ctx.clock.advance(10_000)
    _rename(machine, "attempts", "missing")

    sweep(machine.ctx)

    _rename(machine, "missing", "attempts")
    assert capfd.readouterr().err.count(FAILED) >= 1
    assert read_health(machine.ctx).background_alive
    sweep(machine.ctx)


def test_waits_after_wrong_passwords_are_purged_by_the_minute(machine):
    ctx = machine.ctx
    row = {"subject_hash": b"x" * 32, "failures": 3, "tried_at": ctx.now()}
    with ctx.db.write() as tx:
        tx.execute(insert(SignInWait), row)
    ctx.clock.advance(3_601)

    run_maintenance(ctx)

    with ctx.db.read() as tx:
        assert tx.execute(select(SignInWait.failures)).all() == []
