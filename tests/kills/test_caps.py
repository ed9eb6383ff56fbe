"""A stolen key against its cap: 64 clients, two processes, a kill, no Redis, an open circuit."""

import time
from datetime import UTC, datetime, timedelta

from sqlalchemy import select

from app.config.scopes import DEFAULT_SCOPES
from app.keys.store import KeyOptions, create_key
from app.sms.caps.caps import CapName, set_cap
from app.sms.models.batch import Batch
from app.sms.models.cap import CapPeriod, CapUnit
from app.sms.models.states import BatchState, ExclusionReason
from tests.factories import broadcast_to, many_numbers
from tests.kills.judging import is_settled
from tests.kills.mortal import PATIENT, Clients, mortal, wait_until
from tests.wire import unused_port

CAP = 150
OF_EACH_ORDER = 4
THREADS = 64
# Threads of a worker that may have claimed a batch each when it is killed.
CLAIMING = 10
SOON_S = 300.0


def test_a_stolen_key_never_sends_a_part_more_than_its_cap(sinch, either_database, tmp_path):
    settings = PATIENT | {"SINCH_REGION_URL": sinch.url, "DATABASE_URL": either_database}
    # The batches of a killed worker are looked up once its lease has ended.
    settings |= {"FIRST_BYTE_WITHIN_S": "5", "LEASE_S": "12"}
    settings |= {"WEB_CONCURRENCY": "2", "REDIS_URL": f"redis://127.0.0.1:{unused_port()}"}
    _wait_out_midnight()
    with mortal(tmp_path, **settings) as service:
        service.start()
        key_id, key = _make_key(service)
        _cap(service, key_id, CAP)
        clients = Clients(service.url, _make_order, key=key)
        # Ordered before: all of the cap may be sent while a test looks at its first third.
        fault = {"on": "POST /batches", "when": "before", "do": "answer", "times": 6}
        fault |= {"skip": CAP // 3 // OF_EACH_ORDER, "status": 401, "code": "unauthorized"}
        sinch.control.order_fault(**fault)

        with clients.sending(THREADS):
            wait_until(lambda: _total(sinch) > CAP // 3, within_s=SOON_S, why="a third of the cap")
            service.kill_workers(lambda pids: pids[:1])
            wait_until(lambda: len(clients.orders) > 100, within_s=SOON_S, why="100 orders")
        wait_until(lambda: clients.insist(), within_s=SOON_S, why="an answer to each order")
        wait_until(lambda: _only_capped_wait(service), within_s=SOON_S, why="nothing else waits")
        reached, (opened,) = _total(sinch), sinch.control.faults()
        _resend_the_absent(service)
        _cap(service, key_id, 1_000_000)
        wait_until(lambda: is_settled(service), within_s=SOON_S, why="nothing is under way")

        assert opened["hits"] == 6
        # A killed worker may have taken parts of the cap for a batch that never left.
        assert CAP - OF_EACH_ORDER * CLAIMING <= reached <= CAP
        wanted = {number for order in clients.orders for number in order.numbers}
        assert sinch.copies() == dict.fromkeys(wanted, 1)
        assert service.violations() == []


def _wait_out_midnight():
    """The cap begins anew at midnight: do not begin so shortly before that it would."""
    now = datetime.now(UTC)
    midnight = (now + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    if midnight - now < timedelta(minutes=5):
        time.sleep((midnight - now).total_seconds())


def _make_key(service):
    with service._looking() as ctx:
        options = KeyOptions(DEFAULT_SCOPES)
        row, key = create_key(ctx.db, ctx.clock, "tests", options, actor="ops")
        return row.id, key


def _cap(service, key_id, amount):
    with service._looking() as ctx:
        cap = CapName(f"key:{key_id}", CapPeriod.DAY, CapUnit.PARTS)
        set_cap(ctx, cap, amount, actor="ops")


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
