"""A stolen key against a cap: many clients, two processes, and workers that are killed."""

from sqlalchemy import select

from app.sms.caps.caps import CapName, set_cap
from app.sms.models.batch import Batch
from app.sms.models.cap import ALL, CapPeriod, CapUnit
from app.sms.models.states import BatchState, ExclusionReason
from tests.factories import broadcast_to, many_numbers
from tests.kills.judging import is_settled
from tests.kills.mortal import PATIENT, Clients, mortal, wait_until

CAP = 150
OF_EACH_ORDER = 4
THREADS = 16
SOON_S = 300.0


def test_a_stolen_key_never_sends_a_part_more_than_a_cap(sinch, either_database, tmp_path):
    settings = PATIENT | {"SINCH_REGION_URL": sinch.url, "DATABASE_URL": either_database}
    # The batches of a killed worker are looked up once its lease has ended.
    settings |= {"FIRST_BYTE_WITHIN_S": "5", "LEASE_S": "12"}
    with mortal(tmp_path, **settings, WEB_CONCURRENCY="2") as service:
        service.start()
        _cap(service, CAP)
        clients = Clients(service.url, _make_order)

        with clients.sending(THREADS):
            wait_until(lambda: _total(sinch) > CAP // 2, within_s=SOON_S, why="half of the cap")
            service.kill_workers(lambda pids: pids[:1])
            wait_until(lambda: len(clients.orders) > 80, within_s=SOON_S, why="80 orders")
        wait_until(lambda: clients.insist(), within_s=SOON_S, why="an answer to each order")
        wait_until(lambda: _only_capped_wait(service), within_s=SOON_S, why="nothing else waits")
        reached = _total(sinch)
        _resend_the_absent(service)
        _cap(service, 1_000_000)
        wait_until(lambda: is_settled(service), within_s=SOON_S, why="nothing is under way")

        # A killed worker may have taken parts of the cap for a batch that never left.
        assert CAP - OF_EACH_ORDER * THREADS <= reached <= CAP
        wanted = {number for order in clients.orders for number in order.numbers}
        assert sinch.copies() == dict.fromkeys(wanted, 1)
        assert service.violations() == []


def _cap(service, amount):
    with service._looking() as ctx:
        set_cap(ctx, CapName(ALL, CapPeriod.DAY, CapUnit.PARTS), amount, actor="ops")


def _make_order(number):
    numbers = many_numbers(OF_EACH_ORDER, start=number * OF_EACH_ORDER)
    return broadcast_to(*numbers)


def _total(sinch):
    return sum(sinch.copies().values())


def _only_capped_wait(service):
    """Return True if nothing is to be sent, or in doubt, but what waits for the cap."""
    waits = (BatchState.PENDING, BatchState.SENDING, BatchState.UNKNOWN, BatchState.HELD)
    query = select(Batch.id).where(
        Batch.state.in_(waits),
        Batch.exclusion_reason.is_distinct_from(ExclusionReason.CAP_REACHED),
    )
    with service._looking() as ctx, ctx.db.read() as tx:
        return tx.execute(query.limit(1)).first() is None


def _resend_the_absent(service):
    """Send again what a killed worker never handed to Sinch, as an operator would."""
    for reference in service.attention():
        service.resolve(reference, "resend")
