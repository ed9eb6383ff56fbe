"""A database that came back from a backup (crash point C10): nothing goes before all was asked."""

import shutil
from collections import Counter
from pathlib import Path

import pytest
from sqlalchemy import delete, select, update

from app.accounts.roles import Role
from app.accounts.sessions import find_session, sign_in
from app.accounts.users import accept_invitation, create_user, find_invitation
from app.errors import NotFound
from app.sms.audience.chunks import load_batch_recipients
from app.sms.audience.plan import plan_broadcast
from app.sms.broadcasts.control import pause_broadcast, resume_broadcast
from app.sms.broadcasts.store import accept_broadcast
from app.sms.dispatch.withhold import withhold_recipients
from app.sms.eligibility.decide import Eligibility, RecipientGroup
from app.sms.lifecycle.gates import begin_restore
from app.sms.models.batch import Attempt, Batch, Message
from app.sms.models.broadcast import Broadcast, Chunk
from app.sms.models.states import Attention, BatchState, BroadcastStatus, ExclusionReason
from app.sms.operations.restore import count_looked_up, end_restore_when_done, mark_restored
from app.sms.recovery.attention import Decision, resolve_batch
from app.sms.recovery.confirm import ReportedBatch, confirm_accepted
from app.sms.recovery.unknown_outcome import reconcile_due_batches
from app.sms.reports.reconcile import fetch_due_reports
from app.sms.request.model import BroadcastRequest
from app.subscribers.audiences.audience import plain_tag
from app.subscribers.models import Suppression
from app.text.segments import measure_text
from app.webhooks.incoming.apply import apply_events
from app.worker.jobs import plan_next, sweep
from tests.factories import many_numbers
from tests.people import add_people, stop
from tests.reporting import batch_report, ends, report, store_events, tell

ANN, BOB, CLO = "+46701234567", "+46707654321", "+46707654322"
_S = BatchState


@pytest.fixture
def backup(database_url, tmp_path):
    """Functions that save the database and bring it back."""
    here, there = Path(database_url.removeprefix("sqlite:///")), tmp_path / "backup.db"

    class Backup:
        def save(self, machine):
            with machine.ctx.db.read() as tx:
                tx.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
            shutil.copy(here, there)

        def bring_back(self, machine):
            machine.ctx.db.close()
            for suffix in ("-wal", "-shm"):
                Path(f"{here}{suffix}").unlink(missing_ok=True)
            shutil.copy(there, here)

    return Backup()


def _restore(machine):
    return mark_restored(machine.ctx, actor="ops")


def test_users_sign_in_again_and_links_of_the_backup_end(either_machine):
    ctx = either_machine.ctx
    password = "correct horse battery"
    token = create_user(ctx.db, ctx.clock, "Anna", Role.ADMIN, actor="ops")
    accept_invitation(ctx.db, ctx.clock, token, password)
    session = sign_in(ctx.db, ctx.clock, "Anna", password, address="192.0.2.1")
    link = create_user(ctx.db, ctx.clock, "Bo", Role.ADMIN, actor="ops")

    _restore(either_machine)

    assert find_session(ctx.db, ctx.clock, session) is None
    with pytest.raises(NotFound):
        find_invitation(ctx.db, ctx.clock, link)
    assert sign_in(ctx.db, ctx.clock, "Anna", password, address="192.0.2.1")


def _sweep_until_done(machine, *, at_most=10):
    for number in range(at_most):
        sweep(machine.ctx)
        if not machine.gates().restoring:
            return number + 1
        machine.clock.advance(15)
    raise AssertionError("restore mode does not end")


def test_everything_that_has_not_ended_is_in_doubt(either_machine, sandbox):
    machine = either_machine
    machine.store(many_numbers(6), size=1)
    machine.submit()
    machine.claim()
    for state in (_S.HELD, _S.EXPIRED):
        machine.corrupt(Batch, Batch.id == machine.claim().batch_id, state=state, lease_until=None)

    in_doubt = _restore(machine)

    assert machine.states() == [
        _S.ACCEPTED, _S.UNKNOWN, _S.UNKNOWN, _S.EXPIRED, _S.UNKNOWN, _S.UNKNOWN
    ]  # fmt: skip
    assert in_doubt == 4
    assert machine.violations() == []
    assert [(entry.actor, entry.action) for entry in machine.audit()] == [("ops", "restored")]


def test_an_audience_not_cut_yet_is_cut_now_and_in_doubt_too(either_machine):
    machine = either_machine
    broadcast = machine.store(many_numbers(5), size=2, plan=False)

    assert _restore(machine) == 3

    assert count_looked_up(machine.ctx) == (0, 3)
    assert machine.states() == [_S.UNKNOWN] * 3
    assert machine.counts(broadcast) == {"unconfirmed": 5}


def test_what_was_sent_after_the_backup_is_found_and_not_sent_again(machine, sandbox, backup):
    machine.store(many_numbers(6), size=2)
    machine.submit()
    backup.save(machine)
    machine.submit_all()
    backup.bring_back(machine)

    _restore(machine)
    _sweep_until_done(machine)
    machine.submit_all()

    assert machine.states() == [_S.ACCEPTED] * 3
    assert sorted(sandbox.recipients()) == many_numbers(6)
    assert sandbox.posts() == 3


def test_what_was_cut_and_sent_after_the_backup_is_found_under_the_same_references(
    machine, sandbox, backup
):
    machine.store(many_numbers(6), size=2, plan=False)
    backup.save(machine)
    plan_next(machine.ctx)
    machine.submit_all()
    before = [batch.client_reference for batch in machine.batches()]
    backup.bring_back(machine)

    _restore(machine)
    _sweep_until_done(machine)
    machine.submit_all()

    assert [batch.client_reference for batch in machine.batches()] == before
    assert machine.states() == [_S.ACCEPTED] * 3
    assert sandbox.posts() == 3


@pytest.mark.parametrize("paused", [False, True])
@pytest.mark.parametrize("set_back_s", [0, 2_400])
def test_a_tag_looked_up_and_sent_to_after_the_backup_is_not_sent_to_again(
    machine, sandbox, backup, paused, set_back_s
):
    """Nor when our clock is set back meanwhile, to before the broadcast was made."""
    accepted = _store_for_a_tag(machine, many_numbers(3))
    if paused:
        pause_broadcast(machine.ctx, accepted.public_id, actor="ops")
    backup.save(machine)
    machine.clock.advance(61)
    _start(machine, accepted)
    backup.bring_back(machine)
    machine.clock.set_back(set_back_s)

    _restore(machine)
    _sweep_until_done(machine)

    assert machine.states() == [_S.ACCEPTED]
    assert sandbox.posts() == 1


def test_a_tag_whose_time_has_not_come_at_the_restore_is_looked_up_at_its_time(machine, sandbox):
    accepted = _store_for_a_tag(machine, many_numbers(3), start_in_s=3_700)

    _restore(machine)
    _sweep_until_done(machine)
    assert machine.states() == []
    machine.clock.advance(3_701)
    _start(machine, accepted)

    assert machine.states() == [_S.ACCEPTED]


@pytest.mark.parametrize("told", ["nothing", "one", "all"])
@pytest.mark.parametrize("list_first", [True, False])
def test_who_counts_as_opted_out_was_sent_to_if_sinch_has_her_in_the_batch_of_another(
    machine, sandbox, backup, told, list_first
):
    """BOB agreed again after the backup, and CLO opted out: their batch had another number then."""
    accepted = _store_for_a_tag(machine, (ANN, BOB, CLO))
    stop(machine.ctx, ANN, BOB)
    backup.save(machine)
    with machine.ctx.db.write() as tx:
        tx.execute(delete(Suppression).where(Suppression.phone == BOB))
    stop(machine.ctx, CLO)
    machine.clock.advance(61)
    _start(machine, accepted)
    (sent,) = sandbox.batches()
    names = {"batch": sent["id"], "reference": sent["client_reference"]}
    reports = {
        "nothing": [],
        "one": [report(BOB, "Delivered", **names)],
        "all": [batch_report([_delivered(1)], **names)],
    }
    backup.bring_back(machine)

    _restore(machine)
    if list_first:
        _sweep_until_done(machine)
    tell(machine.ctx, *reports[told])
    _sweep_until_done(machine)
    for passed_s in (3_600, 5 * 86_400):
        machine.clock.advance(passed_s)
        sweep(machine.ctx)
        fetch_due_reports(machine.ctx)

    in_doubt = {ANN, CLO} if told == "one" and not list_first else {CLO}
    counts = machine.counts(accepted.id)
    assert counts.pop("delivered", 0) + counts.pop("unknown", 0) == 1
    assert counts == Counter(
        "unconfirmed" if number in in_doubt else "suppressed" for number in (ANN, CLO)
    )
    ended = ends(machine.ctx, accepted.id)
    assert ended[ANN] == ended[CLO] == (None, None) != ended[BOB]
    assert machine.violations() == []


def _store_for_a_tag(machine, numbers, *, start_in_s=60):
    """Store a broadcast to the subscribers with a tag, scheduled."""
    add_people(machine.ctx, numbers, tags=["vip"])
    order = BroadcastRequest(
        recipients=(),
        audience=plain_tag("vip"),
        text="Hi",
        size=measure_text("Hi"),
        send_at=machine.ctx.seconds_from_now(start_in_s),
    )
    return accept_broadcast(machine.ctx, order, client="tests")


def _start(machine, accepted):
    resume_broadcast(machine.ctx, accepted.public_id, actor="ops")
    sweep(machine.ctx)
    while plan_next(machine.ctx):
        pass
    machine.submit_all()


def test_nothing_is_claimed_until_all_of_it_was_asked_about(either_machine, sandbox):
    machine = either_machine
    machine.store(many_numbers(3), size=1)
    _restore(machine)
    machine.clock.advance(1)
    new = machine.store([ANN])
    machine.idle()
    reconcile_due_batches(machine.ctx, limit=2)

    early = end_restore_when_done(machine.ctx)
    machine.idle()
    reconcile_due_batches(machine.ctx)

    assert not early
    assert end_restore_when_done(machine.ctx)
    assert not machine.gates().restoring
    assert machine.claim().broadcast_id == new


def test_a_list_that_cannot_be_read_is_not_having_asked(machine, sandbox):
    machine.store([ANN])
    sandbox.order_fault(on="GET /batches", status=503, times=None)
    _restore(machine)

    for _ in range(4):
        sweep(machine.ctx)
        machine.clock.advance(15)

    assert machine.gates().restoring
    sandbox.clear_faults()
    machine.clock.advance(60)
    _sweep_until_done(machine)


@pytest.mark.slow
def test_it_ends_by_itself_even_when_the_list_can_never_be_read(machine, sandbox):
    machine.store([ANN])
    sandbox.order_fault(on="GET /batches", status=503, times=None)
    _restore(machine)

    _sweep_until_done(machine, at_most=140)

    assert machine.batch().attention is Attention.UNREADABLE


@pytest.mark.slow
def test_many_in_doubt_are_each_asked_once_before_it_ends(machine, sandbox):
    """More than a sweep asks: those asked first must not keep the others waiting."""
    machine.store(many_numbers(110), size=1)
    _restore(machine)

    sweeps = _sweep_until_done(machine, at_most=8)

    assert sweeps >= 3
    assert all(batch.reconcile_attempts >= 1 for batch in machine.batches())


@pytest.mark.slow
def test_what_is_not_found_needs_an_operator_and_is_not_sent(machine, sandbox):
    machine.store([BOB])
    machine.submit()
    machine.store([ANN])
    _restore(machine)
    _sweep_until_done(machine)

    for _ in range(70):
        sweep(machine.ctx)
        machine.submit_all()
        machine.clock.advance(15)

    assert machine.states() == [_S.ACCEPTED, _S.NEEDS_ATTENTION]
    assert sandbox.recipients() == [BOB]


def test_lists_from_before_the_backup_do_not_count(machine, sandbox):
    """Since then an operator may have had it sent again."""
    machine.store([ANN])
    machine.corrupt(
        Batch,
        state=_S.UNKNOWN,
        unknown_at=machine.ctx.now(),
        next_reconcile_at=machine.ctx.seconds_from_now(3600),
        reconcile_attempts=7,
        not_found_count=4,
        absent_at=machine.ctx.now(),
    )

    _restore(machine)

    batch = machine.batch()
    assert (batch.reconcile_attempts, batch.not_found_count, batch.absent_at) == (0, 0, None)
    assert batch.next_reconcile_at <= machine.ctx.now()


def test_a_broadcast_accepted_since_is_not_in_doubt(machine, sandbox):
    machine.store([ANN])
    _restore(machine)
    machine.clock.advance(1)
    new = machine.store([BOB])

    assert machine.states(new) == [_S.PENDING]
    _sweep_until_done(machine)
    machine.submit_all()
    assert sandbox.recipients() == [BOB]


def test_a_sweep_in_the_middle_of_it_does_not_end_it(machine, sandbox):
    """Or the process may have died behind the first step: audiences are not cut yet."""
    broadcast = machine.store(many_numbers(4), size=2, plan=False)
    _restore_without_cutting(machine)

    sweep(machine.ctx)

    assert machine.gates().restoring
    while plan_broadcast(machine.ctx, broadcast):
        pass
    assert machine.states() == [_S.UNKNOWN] * 2


def _restore_without_cutting(machine):
    with machine.ctx.db.write() as tx:
        begin_restore(tx, now=machine.ctx.now(), last_broadcast_id=1)


def test_a_paused_broadcast_stays_paused(machine, sandbox):
    broadcast = machine.store([ANN, BOB], size=1)
    pause_broadcast(machine.ctx, machine.broadcast(broadcast).public_id, actor="ops")

    _restore(machine)
    _sweep_until_done(machine)

    assert machine.broadcast(broadcast).status.value == "paused"


def test_a_second_time_is_like_the_first(machine, sandbox):
    machine.store([ANN])

    assert _restore(machine) == _restore(machine) == 1
    _sweep_until_done(machine)


@pytest.mark.slow
def test_what_was_halved_and_sent_after_the_backup_is_seen_and_not_taken_for_absent(
    machine, sandbox, backup
):
    machine.store([ANN, BOB], size=2)
    backup.save(machine)
    bad_number = {"status": 400, "code": "syntax_invalid_parameter_format"}
    sandbox.order_fault(on="POST /batches", when="before", do="answer", **bad_number)
    machine.submit_all()
    backup.bring_back(machine)

    _restore(machine)
    for _ in range(90):
        sweep(machine.ctx)
        machine.clock.advance(15)

    batch = machine.batch()
    assert (batch.state, batch.attention) == (_S.NEEDS_ATTENTION, Attention.MISMATCH)
    assert sandbox.recipients() == [ANN, BOB]


def test_what_was_set_aside_and_sent_after_the_backup_is_not_taken_for_absent(
    machine, sandbox, backup
):
    numbers = many_numbers(3)
    machine.store(numbers)
    backup.save(machine)
    stop(machine.ctx, *numbers[:2])
    _keep_first_aside(machine)
    machine.submit_all()
    assert sandbox.recipients() == numbers[2:]

    backup.bring_back(machine)
    _restore(machine)
    for _ in range(40):
        reconcile_due_batches(machine.ctx)
        machine.clock.advance(60)

    assert machine.batch().attention is Attention.MISMATCH


def _keep_first_aside(machine):
    """As a claim would that finds the first two opted out: they stay in the batch."""
    batch = machine.batch()
    with machine.ctx.db.write() as tx:
        broadcast = machine.broadcast(batch.broadcast_id)
        numbers = load_batch_recipients(tx, batch).recipients
        opted_out = RecipientGroup(numbers[:2], [0, 1], Eligibility(ExclusionReason.OPTED_OUT))
        withhold_recipients(tx, broadcast, batch, [opted_out, RecipientGroup(numbers[2:], [2])])


def test_whom_sinch_does_not_list_is_in_doubt_when_a_claim_withheld_her_after_the_backup(
    either_machine, sandbox
):
    machine = either_machine
    broadcast = _lose_a_claim_without(machine, ANN, to=(ANN, BOB))

    _restore(machine)
    sweep(machine.ctx)

    assert machine.counts(broadcast) == {"submitted": 1, "unconfirmed": 1}
    assert machine.homes(broadcast)[ANN] != machine.homes(broadcast)[BOB]
    assert machine.violations() == []


def test_the_list_tells_who_was_sent_to_when_the_audience_was_divided_in_another_way(
    either_machine, sandbox
):
    """Sinch has ANN and CLO in one batch; the database has ANN and BOB there, and CLO alone."""
    machine = either_machine
    broadcast = machine.store((ANN, CLO, BOB), size=2)
    machine.submit()
    with machine.ctx.db.write() as tx:
        tx.execute(update(Attempt).values(overridden=True))
        first, second = tx.execute(select(Batch.id).order_by(Batch.id)).scalars()
        for number, home, phones in ((0, first, (ANN, BOB)), (1, second, (CLO,))):
            chunk = update(Chunk).where(Chunk.number == number)
            tx.execute(chunk.values(recipients="\n".join(phones)))
            moved = update(Message).where(Message.recipient.in_(phones))
            tx.execute(moved.values(batch_id=home))
    forgotten = {"accepted_at": None, "sinch_id": None, "next_report_at": None}
    machine.corrupt(Batch, Batch.id == first, state=_S.PENDING, **forgotten)
    assert sorted(sandbox.recipients()) == [ANN, CLO]

    _restore(machine)
    _sweep_until_done(machine)

    assert machine.counts(broadcast) == {"submitted": 2, "unconfirmed": 1}
    homes = machine.homes(broadcast)
    assert len({homes[ANN], homes[BOB], homes[CLO]}) == 3
    assert machine.violations() == []


@pytest.mark.parametrize("told", ["one", "all"])
def test_a_report_before_the_list_proves_nothing_about_whom_the_list_lacks(
    either_machine, sandbox, told
):
    machine = either_machine
    broadcast = _lose_a_claim_without(machine, ANN, to=(ANN, BOB))
    _restore(machine)
    reference = machine.batch().client_reference

    if told == "one":
        tell(machine.ctx, report(BOB, "Delivered", reference=reference))
    else:
        tell(machine.ctx, batch_report([_delivered(1)], reference=reference))
    assert machine.states() == [_S.ACCEPTED if told == "one" else _S.UNKNOWN]
    sweep(machine.ctx)

    counts = machine.counts(broadcast)
    assert counts == {"delivered" if told == "one" else "submitted": 1, "unconfirmed": 1}
    assert ends(machine.ctx, broadcast)[ANN] == (None, None)
    assert machine.violations() == []


@pytest.mark.parametrize("told", ["one", "all"])
def test_a_full_report_says_who_was_sent_to_where_no_list_can_be_read(
    either_machine, sandbox, told
):
    machine = either_machine
    broadcast = _lose_a_claim_without(machine, ANN, to=(ANN, BOB))
    sandbox.order_fault(on="GET /batches", status=503, times=None)
    _restore(machine)
    (sinch_id,) = (batch["id"] for batch in sandbox.batches())
    names = {"batch": sinch_id, "reference": machine.batch().client_reference}
    on_all = batch_report([{"code": 401, "status": "Dispatched", "count": 1}], **names)
    tell(machine.ctx, report(BOB, "Dispatched", **names) if told == "one" else on_all)
    machine.clock.advance(3_600)

    fetch_due_reports(machine.ctx)

    assert machine.homes(broadcast)[ANN] != machine.homes(broadcast)[BOB]
    assert machine.counts(broadcast)["unconfirmed"] == 1
    assert ends(machine.ctx, broadcast)[BOB] != ends(machine.ctx, broadcast)[ANN] == (None, None)
    assert machine.violations() == []


@pytest.mark.slow
def test_who_was_withheld_after_the_backup_is_decided_about_anew(machine, sandbox):
    broadcast = _lose_a_claim_without(machine, ANN, to=(ANN, BOB, CLO))
    _restore(machine)
    _sweep_until_done(machine)
    for _ in range(130):
        sweep(machine.ctx)
        machine.clock.advance(15)
    (in_doubt,) = (b for b in machine.batches() if b.state is _S.NEEDS_ATTENTION)

    stop(machine.ctx, ANN)
    _resolve(machine, in_doubt, Decision.RESEND)
    machine.submit_all()

    assert machine.counts(broadcast) == {"submitted": 2, "abandoned": 1}
    assert sandbox.recipients() == [BOB, CLO]
    assert machine.violations() == []


def test_a_list_with_fewer_recipients_than_were_sent_needs_an_operator_without_a_restore(
    machine, sandbox
):
    _lose_a_claim_without(machine, ANN, to=(ANN, BOB))
    machine.corrupt(Batch, next_reconcile_at=machine.ctx.now(), unknown_at=machine.ctx.now())

    reconcile_due_batches(machine.ctx)

    assert machine.batch().attention is Attention.MISMATCH


def test_a_report_on_a_batch_that_was_given_up_lets_its_broadcast_await_reports_again(
    either_machine, sandbox
):
    """After a restore; the books never say that all is reported meanwhile."""
    machine = either_machine
    broadcast = _lose_a_claim_without(machine, ANN, to=(ANN, BOB))
    sandbox.order_fault(on="GET /batches", status=503, times=None)
    _restore(machine)
    machine.corrupt(Batch, state=_S.NEEDS_ATTENTION, attention=Attention.UNREADABLE)
    _resolve(machine, machine.batch(), Decision.GIVE_UP)
    assert machine.broadcast(broadcast).all_reported_at is not None

    store_events(machine.ctx, report(BOB, "Delivered", reference=machine.batch().client_reference))
    with machine.ctx.db.write() as tx:
        confirm_accepted(tx, machine.ctx, _reported(machine))

    assert machine.violations() == []
    assert machine.broadcast(broadcast).all_reported_at is None
    apply_events(machine.ctx)
    assert machine.violations() == []
    sandbox.clear_faults()
    machine.clock.advance(60)
    sweep(machine.ctx)
    assert machine.counts(broadcast) == {"delivered": 1, "unconfirmed": 1}
    assert machine.violations() == []


def _lose_a_claim_without(machine, withheld, *, to):
    """Store a broadcast and send it to all but one; the database then forgets the claim."""
    broadcast = machine.store(to)
    stop(machine.ctx, withheld)
    with machine.ctx.db.read() as tx:
        before = tx.execute(select(Batch.__table__)).one()._asdict()
    machine.submit_all()
    forget = {"state": _S.UNKNOWN, "unknown_at": machine.ctx.now()}
    _forget(machine, before | forget)
    return broadcast


def _forget(machine, batch):
    """Put back a batch as it was before its claim, and its messages, as a backup does."""
    with machine.ctx.db.write() as tx:
        tx.execute(update(Message).values(batch_id=batch["id"]))
        tx.execute(delete(Attempt))
        tx.execute(delete(Batch).where(Batch.id != batch["id"]))
        tx.execute(update(Batch).values(batch))
        tx.execute(update(Broadcast).values(status=BroadcastStatus.SENDING, completed_at=None))
        tx.execute(delete(Suppression))


def _delivered(count):
    return {"code": 0, "status": "Delivered", "count": count}


def _reported(machine):
    batch = machine.batch()
    return ReportedBatch(batch, ["01SINCHBATCH"], machine.broadcast(batch.broadcast_id).status)


def _resolve(machine, batch, decision):
    resolve_batch(machine.ctx, batch.client_reference, decision, actor="ops", note="a test")
