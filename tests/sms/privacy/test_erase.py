"""A person is erased: their number is nowhere any more, and every sum stays as it was."""

import pytest
from sqlalchemy import MetaData, select, update

from app.accounts.models import User
from app.accounts.roles import Role
from app.errors import NotFound
from app.ids import make_id
from app.phone.e164 import find_pseudonyms
from app.sms.audience.plan import plan_broadcast
from app.sms.broadcasts.control import cancel_broadcast
from app.sms.drafts.store import save_draft
from app.sms.messages.list import list_messages, read_messages
from app.sms.models.batch import Batch, MarketingSend
from app.sms.models.broadcast import Broadcast, Chunk
from app.sms.models.erasure import Erasure
from app.sms.models.reports import DeadLetterReason, Event, Inbound
from app.sms.models.states import BatchState
from app.sms.privacy.erase import continue_erasures, erase_number, erase_subscriber
from app.subscribers.consent.ledger import ConsentEntry, append_consent_entries
from app.subscribers.consent.verify import verify_ledger
from app.subscribers.imports.models import Import, ImportChunk, ImportRefusal, ImportStatus
from app.subscribers.models import (
    Cause,
    ConsentKind,
    Subscriber,
    SubscriberTag,
    Suppression,
    Tag,
)
from app.subscribers.suppressions.store import find_suppressed
from app.webhooks.outgoing.endpoints import create_endpoint
from app.webhooks.outgoing.http_client import WebhookHttpClient
from app.worker.jobs import run_maintenance
from tests.factories import many_numbers
from tests.people import suppress
from tests.reporting import inbound, read_all, report, store_events, sums, tell
from tests.rollups import daily_counts, daily_inbounds, miscounts, roll_up_now

ANN, BOB = "+46701234567", "+46707654321"
EVERY_KIND = ["messages.updated", "inbound.received", "broadcast.completed"]


def where_it_stands(ctx, number=ANN):
    """Every column of every table in which a number can be read."""
    digits, metadata, found = number[1:], MetaData(), set()
    with ctx.db.read() as tx:
        metadata.reflect(tx)
        for table in metadata.sorted_tables:
            for row in tx.execute(select(table)):
                found |= {
                    f"{table.name}.{column}"
                    for column, value in row._mapping.items()
                    if digits in _read(value)
                }
    return found


def _read(value):
    return value.decode("latin-1") if isinstance(value, (bytes, memoryview)) else str(value)


def accepted(machine, recipients=(ANN, BOB), *, size=None):
    """A broadcast that Sinch has taken."""
    made = machine.store(list(recipients), size=size)
    machine.submit_all()
    return made


def batch_of(machine, made):
    return machine.batches(made)[0].client_reference


def deliver(machine, made, *numbers):
    reference = batch_of(machine, made)
    tell(machine.ctx, *(report(each, "Delivered", reference=reference) for each in numbers))


def add_person(machine):
    """A subscriber of whom every table of people knows."""
    ctx, now = machine.ctx, machine.ctx.now()
    machine.add(Subscriber, public_id="ann", phone=ANN, subscribed_at=now, updated_at=now)
    machine.add(Tag, name="news", created_at=now)
    machine.add(SubscriberTag, tag_id=1, subscriber_id=1)
    done = {"client": "tests", "options": {}, "created_at": now, "completed_at": now}
    machine.add(Import, public_id="done", status=ImportStatus.COMPLETE, **done)
    machine.add(ImportChunk, import_id=1, first_line=1, text=f"phone\n{ANN}\n".encode())
    refusal = {"line": 2, "position": 0, "header": "phone", "cell": ANN, "reason": "x"}
    machine.add(ImportRefusal, import_id=1, **refusal)
    with ctx.db.write() as tx:
        kinds = (ConsentKind.OPT_IN, ConsentKind.OPT_OUT)
        append_consent_entries(
            tx, [ConsentEntry(kind, ANN, now, "api", "shop", "form", "yes") for kind in kinds]
        )
        said = {"cause": Cause.STOP, "actor": "phone", "at": now, "inbound": "01IN"}
        suppress(tx, ctx.subscriber_context, ANN, note=f"texted from {ANN}", **said)


def test_nothing_of_a_person_is_left_in_any_column_of_any_table(either_machine):
    machine = either_machine
    ctx = machine.ctx
    webhook_client = WebhookHttpClient(production=False)
    listening = {"url": "http://127.0.0.1:9999/", "event_types": EVERY_KIND, "sees_numbers": True}
    create_endpoint(ctx, webhook_client, client="tests", **listening)
    add_person(machine)
    machine.clock.advance(1)
    with ctx.db.write() as tx:
        tx.execute(update(Suppression).values(released_at=ctx.now()))
    made = accepted(machine)
    whole = Chunk.broadcast_id == made
    values = {"name": {ANN: f"Ann {ANN}", BOB: "Bob"}, "city": {ANN: "X"}}
    machine.corrupt(Chunk, whole, parameters=values)
    refusal = {"status": 400, "text": f"Invalid recipient {ANN}, not {BOB}"}
    machine.corrupt(Broadcast, Broadcast.id == made, refusal=refusal, resolved_to=ANN)
    machine.add(MarketingSend, phone=ANN, batch_id=1, at=ctx.now())
    for phone in (ANN, BOB):
        own = {"name_key": f"user of {phone[:3]}{phone[-2:]}", "role": Role.SENDER, "phone": phone}
        machine.add(User, name=own["name_key"], created_at=ctx.now(), **own)
    rows = [[2, ["Ann", ANN], ANN], [3, ["Bob", BOB], BOB]]
    pasted = {"numbers": f"{ANN}\n{BOB}", "file": {"rows": rows}}
    save_draft(ctx, make_id(ctx.now()), {"message": "Hi"}, user="anna", columns=pasted)
    deliver(machine, made, ANN, BOB)
    tell(ctx, inbound(ANN, f"Call me: {ANN}"))
    remaining = {"received_at": ctx.now(), "raw": report(ANN, "Delivered"), "tries": 9}
    machine.add(Event, dead_letter_reason=DeadLetterReason.FOREIGN, **remaining)
    roll_up_now(machine)
    stood = where_it_stands(ctx)
    assert {each.partition(".")[0] for each in stood} == {
        "subscribers", "suppressions", "consent_events", "chunks", "messages", "broadcasts",
        "inbounds", "events", "outbox", "marketing_sends", "import_chunks", "import_refusals",
        "users", "drafts",
    }  # fmt: skip
    assert {"broadcasts.refusal", "broadcasts.resolved_to"} <= stood
    before = sums(ctx, made), daily_counts(ctx), daily_inbounds(ctx), machine.counts(made)

    erased = erase_subscriber(ctx, "ann", actor="ops")

    assert erased.remaining == []
    assert where_it_stands(ctx) == set()
    assert read_all(ctx, Erasure) == []
    machine.corrupt(Batch, rollup_dirty=True)
    roll_up_now(machine)
    assert (sums(ctx, made), daily_counts(ctx), daily_inbounds(ctx), machine.counts(made)) == before
    assert machine.violations() == []
    assert miscounts(ctx) == []
    assert (
        verify_ledger(ctx.subscriber_context).links,
        verify_ledger(ctx.subscriber_context).broken,
    ) == (2, None)
    (chunk,) = read_all(ctx, Chunk)
    first, second = chunk.recipients.split("\n")
    assert find_pseudonyms([first])
    assert second == BOB
    assert chunk.parameters == {"name": {BOB: "Bob"}, "city": {}}
    assert set(machine.homes(made)) == {first, BOB}
    assert machine.broadcast(made).refusal["text"] == f"Invalid recipient {first}, not {BOB}"
    shown = list_messages(ctx, machine.broadcast(made).public_id).rows
    assert [view.recipient for view in shown] == [first, BOB]
    assert where_it_stands(ctx, BOB) >= {
        "chunks.recipients",
        "messages.recipient",
        "users.phone",
        "drafts.numbers",
        "drafts.file",
    }


def test_an_erased_person_stays_suppressed_whoever_imports_them_again(either_machine):
    ctx = either_machine.ctx

    erase_number(ctx, ANN, actor="ops")

    with ctx.db.read() as tx:
        for marketing in (False, True):
            assert find_suppressed(tx, ctx.subscriber_context, [ANN, BOB], marketing=marketing) == {
                ANN
            }
    made = accepted(either_machine)
    assert either_machine.counts(made) == {"submitted": 1, "suppressed": 1}


def test_the_number_stays_until_the_batch_and_the_message_have_ended(either_machine, sandbox):
    machine, ctx = either_machine, either_machine.ctx
    ended, awaited = accepted(machine), accepted(machine)
    deliver(machine, ended, ANN)
    sandbox.order_fault(on="POST /batches", when="after", do="cut", times=1)
    sandbox.order_fault(on="GET /batches", when="before", do="answer", status=500, times=None)
    unknown = accepted(machine)
    assert machine.states(unknown) == [BatchState.UNKNOWN]

    erased = erase_number(ctx, ANN, actor="ops")

    assert erased.remaining == ["messages"]
    assert [ANN in machine.homes(made) for made in (ended, awaited, unknown)] == [False, True, True]
    assert where_it_stands(ctx) == {"erasures.phone", "messages.recipient", "chunks.recipients"}
    sandbox.clear_faults()
    deliver(machine, awaited, ANN)
    assert continue_erasures(ctx) == 1
    assert [ANN in machine.homes(made) for made in (awaited, unknown)] == [False, True]
    deliver(machine, unknown, ANN)
    run_maintenance(ctx)
    assert where_it_stands(ctx) == set()
    assert read_all(ctx, Erasure) == []
    assert machine.violations() == []


def test_what_is_not_sent_yet_is_not_sent_and_erased_then(either_machine):
    machine, ctx = either_machine, either_machine.ctx
    planned, stored = machine.store([ANN, BOB]), machine.store([ANN, BOB], plan=False)

    assert erase_number(ctx, ANN, actor="ops").remaining == ["messages"]

    # Whoever cuts it into batches now may have read it already.
    assert ANN in read_all(ctx, Chunk)[stored - 1].recipients
    while plan_broadcast(ctx, stored):
        pass
    machine.submit_all()
    assert continue_erasures(ctx) == 0
    for made in (planned, stored):
        assert machine.counts(made) == {"submitted": 1, "suppressed": 1}
        assert ANN not in machine.homes(made)
    assert where_it_stands(ctx) == set()


def test_a_cancelled_broadcast_is_cleaned_of_whom_it_never_reached(either_machine):
    machine, ctx = either_machine, either_machine.ctx
    made = machine.store([ANN, BOB], plan=False)
    cancel_broadcast(ctx, machine.broadcast(made).public_id, actor="tests")

    assert erase_number(ctx, ANN, actor="ops").remaining == []

    assert where_it_stands(ctx) == set()
    assert machine.counts(made) == {"cancelled": 2}


def test_a_text_that_is_not_counted_yet_is_erased_behind_the_count(either_machine):
    machine, ctx = either_machine, either_machine.ctx
    tell(ctx, inbound(ANN, "stop"))
    store_events(ctx, inbound(ANN, "again", name="02IN"))

    assert erase_number(ctx, ANN, actor="ops").remaining == ["inbounds", "callbacks"]

    tell(ctx)
    roll_up_now(machine)
    assert continue_erasures(ctx) == 0
    assert where_it_stands(ctx) == set()
    assert [row.body for row in read_all(ctx, Inbound)] == ["", ""]


def test_a_large_audience_is_still_walked_through_as_a_whole(machine):
    ctx, everybody = machine.ctx, many_numbers(60)
    made = machine.store(everybody, size=2)
    machine.submit_all()
    machine.corrupt(Batch, next_report_at=None)
    for place in (0, 1, 30, 59):
        assert erase_number(ctx, everybody[place], actor="ops").remaining == []

    pages = read_messages(ctx, machine.broadcast(made).public_id)
    walked = [view.recipient for page in pages for view in page]

    assert len(walked) == 60
    assert [each for each in walked if not find_pseudonyms([each])] == [
        each for place, each in enumerate(everybody) if place not in (0, 1, 30, 59)
    ]
    assert machine.violations() == []


def test_erasing_twice_and_whom_nobody_knows_is_all_the_same(either_machine):
    ctx = either_machine.ctx

    first = erase_number(ctx, ANN, actor="ops")
    second = erase_number(ctx, ANN, actor="ops")

    assert first == second
    assert len(read_all(ctx, Suppression)) == 1
    with pytest.raises(NotFound):
        erase_subscriber(ctx, "nobody", actor="ops")


def test_files_go_once_their_imports_have_ended_and_later_ones_stay(either_machine):
    machine, ctx = either_machine, either_machine.ctx

    def add_import(number, **more):
        job = {"client": "tests", "options": {}, "created_at": ctx.now()} | more
        machine.add(Import, public_id=f"i{number}", status=ImportStatus.WRITING, **job)
        machine.add(ImportChunk, import_id=number, first_line=1, text=b"phone\n070-1234567\n")

    add_import(1)
    machine.clock.advance(1)
    assert erase_number(ctx, ANN, actor="ops").remaining == ["imports"]
    machine.clock.advance(1)
    add_import(2)
    assert continue_erasures(ctx) == 1

    machine.corrupt(Import, Import.id == 1, completed_at=ctx.now())
    machine.clock.advance(1)

    assert continue_erasures(ctx) == 0
    assert [row.import_id for row in read_all(ctx, ImportChunk)] == [2]
