"""The ledger of consent, on either database."""

import hashlib
import json
import random
import time
from datetime import datetime, timedelta

import pytest
from sqlalchemy import delete, insert, select, text, update
from sqlalchemy.exc import DBAPIError

from app.db.base import Metadata, table_of
from app.subscribers.consent.ledger import (
    HEAD_FACT,
    ConsentEntry,
    append_consent_entries,
    forget_person,
    read_events,
)
from app.subscribers.consent.verify import make_evidence, verify_ledger
from app.subscribers.models import ConsentEvent, ConsentKind, Subscriber
from app.subscribers.profiles.queries import find_subscriber
from tests.conftest import examples
from tests.factories import many_numbers
from tests.machine import Together

ANN, BO = "+46701234567", "+46707654321"
WORDING = 'Yes, "offers" by SMS: åäö \0 \ud83d 😀'
EVENTS = table_of(ConsentEvent)


def entry(kind, phone, at, *, source="list.csv", wording="yes", tag=None):
    return ConsentEntry(kind, phone, at, "api", "shop", source, wording, tag)


def add(people, kind, phone=ANN, *, after_s=0.0, wording=WORDING, tag=None):
    at = people.now() + timedelta(seconds=after_s)
    join = "https://shop.example/join"
    with people.db.write() as tx:
        append_consent_entries(tx, [entry(kind, phone, at, source=join, wording=wording, tag=tag)])


def add_subscriber(people, phone=ANN):
    now = people.now()
    row = {"public_id": phone, "phone": phone, "subscribed_at": now, "updated_at": now}
    with people.db.write() as tx:
        tx.execute(insert(Subscriber).values(**row))


def consented_at(people, phone=ANN):
    with people.db.read() as tx:
        query = select(Subscriber.consented_at).where(Subscriber.phone == phone)
        return tx.execute(query).scalar_one()


def tamper(people, *statements):
    """Do what the database itself refuses, and what is lost when somebody owns it."""
    with people.db.write() as tx:
        if people.db.is_sqlite:
            tx.execute(text("DROP TRIGGER IF EXISTS consent_events_stay"))
            tx.execute(text("DROP TRIGGER IF EXISTS consent_events_kept"))
        else:
            tx.execute(text("ALTER TABLE consent_events DISABLE TRIGGER ALL"))
        for statement in statements:
            tx.execute(statement)


def test_consent_is_given_taken_back_and_given_again(people):
    add_subscriber(people)

    add(people, ConsentKind.OPT_IN)
    assert consented_at(people) == people.now()
    add(people, ConsentKind.ASKED, after_s=1, tag="news")
    assert consented_at(people) == people.now()
    add(people, ConsentKind.OPT_OUT, after_s=2)
    assert consented_at(people) is None
    add(people, ConsentKind.CONFIRMED, after_s=3, tag="news")
    assert consented_at(people) == people.now() + timedelta(seconds=3)

    assert verify_ledger(people).broken is None


def test_a_consent_from_before_an_objection_does_not_count(people):
    add_subscriber(people)
    add_subscriber(people, BO)
    add(people, ConsentKind.OPT_OUT)
    add(people, ConsentKind.OPT_IN, after_s=-1)
    assert consented_at(people) is None

    then = people.now() - timedelta(days=1)
    with people.db.write() as tx:
        entries = [entry(ConsentKind.OPT_IN, phone, then) for phone in (ANN, BO)]
        append_consent_entries(tx, entries)

    assert consented_at(people) is None
    assert consented_at(people, BO) == then


def test_many_are_recorded_at_once_and_objected_at_once(people):
    many = many_numbers(20)
    for phone in many:
        add_subscriber(people, phone)
    now = people.now()
    early, late = (now - timedelta(hours=2), now - timedelta(hours=1))
    entries = [entry(ConsentKind.OPT_IN, phone, early) for phone in many]
    more = entry(ConsentKind.OPT_IN, many[0], late, wording="again", tag="news")
    with people.db.write() as tx:
        append_consent_entries(tx, [*entries, more])
        append_consent_entries(tx, [])

    assert consented_at(people, many[0]) == late
    assert {consented_at(people, phone) for phone in many[1:]} == {early}
    with people.db.write() as tx:
        append_consent_entries(tx, [entry(ConsentKind.OPT_OUT, each, early) for each in many[:2]])
    assert [consented_at(people, phone) for phone in many[:3]] == [None, None, early]
    assert verify_ledger(people).links == 23


@pytest.mark.parametrize(
    ("kinds", "counts"),
    [
        ([ConsentKind.OPT_OUT, ConsentKind.OPT_IN], True),
        ([ConsentKind.OPT_IN, ConsentKind.OPT_OUT], False),
        ([ConsentKind.OPT_IN, ConsentKind.ASKED, ConsentKind.OPT_OUT, ConsentKind.CONFIRMED], True),
    ],
)
def test_the_last_word_of_several_in_one_transaction_counts(people, kinds, counts):
    add_subscriber(people)
    now = people.now()
    with people.db.write() as tx:
        append_consent_entries(
            tx,
            [entry(kind, ANN, now + timedelta(seconds=i)) for i, kind in enumerate(kinds)],
        )

    assert (consented_at(people) is not None) == counts


def test_an_objection_counts_before_an_older_consent_that_comes_with_it(people):
    add_subscriber(people)
    early, late = people.now() - timedelta(hours=1), people.now()
    with people.db.write() as tx:
        objection = entry(ConsentKind.OPT_OUT, ANN, late)
        append_consent_entries(tx, [objection, entry(ConsentKind.OPT_IN, ANN, early)])

    assert consented_at(people) is None


def test_those_who_write_at_once_write_one_chain(people):
    def write():
        for _ in range(5):
            add(people, ConsentKind.OPT_IN)

    Together(write, write, write).join()

    verdict = verify_ledger(people)
    assert (verdict.links, verdict.broken) == (15, None)


def test_a_subscriber_is_locked_before_the_head_of_the_ledger(people):
    add_subscriber(people)
    add(people, ConsentKind.OPT_IN)
    objection = entry(ConsentKind.OPT_OUT, ANN, people.now())

    def object_():
        with people.db.write() as tx:
            append_consent_entries(tx, [objection])

    with people.db.write() as tx:
        find_subscriber(tx, ANN, lock=True)
        objecting = Together(object_)
        time.sleep(0.2)
        append_consent_entries(tx, [entry(ConsentKind.OPT_IN, BO, people.now())])

    objecting.join()
    assert verify_ledger(people).links == 3


def test_the_database_itself_keeps_links_from_being_changed_or_deleted(people):
    add(people, ConsentKind.OPT_IN)

    with pytest.raises(DBAPIError), people.db.write() as tx:
        tx.execute(delete(EVENTS))
    with pytest.raises(DBAPIError), people.db.write() as tx:
        tx.execute(update(EVENTS).values(content="{}"))


def test_an_evidence_document_proves_itself_to_anybody(people):
    add(people, ConsentKind.OPT_IN, BO)
    add(people, ConsentKind.OPT_IN)
    add(people, ConsentKind.OPT_OUT, wording="STOP")

    evidence = make_evidence(people, ANN)

    first, second = evidence["events"]
    assert (first["wording"], second["wording"]) == (WORDING, "STOP")
    assert [first["kind"], first["actor"], first["channel"]] == ["opt_in", "shop", "api"]
    for event in evidence["events"]:
        assert recompute(event) == (event["commitment"], event["hash"])
    assert second["previous_hash"] == first["hash"]
    assert evidence["head"] == {"id": 3, "hash": second["hash"]}
    said = json.loads(second["content"])
    assert said == {name: second.get(name, ANN) for name in said}
    assert recompute({**second, "content": first["content"]}) != (
        second["commitment"],
        second["hash"],
    )


def recompute(event):
    """Both hashes of an event, by what the document says of them alone."""
    commitment = hashlib.sha256(f"{event['salt']} {event['content']}".encode()).hexdigest()
    link = " ".join(
        str(each)
        for each in (event["previous_hash"], event["id"], event["kind"], event["at"], commitment)
    )
    return commitment, hashlib.sha256(link.encode()).hexdigest()


def test_a_person_taken_out_leaves_a_chain_that_holds(people):
    add(people, ConsentKind.OPT_IN, BO)
    add(people, ConsentKind.OPT_IN)

    with people.db.write() as tx:
        assert forget_person(tx, BO) == 1

    verdict = verify_ledger(people)
    assert (verdict.links, verdict.erased, verdict.broken) == (2, 1, None)
    with people.db.read() as tx:
        assert read_events(tx, BO) == []
        assert [link["wording"] for link in read_events(tx, ANN)] == [WORDING]


def write_ledger(people, lots, *, links):
    for number in range(links):
        add(
            people,
            lots.choice(list(ConsentKind)),
            lots.choice([ANN, BO]),
            after_s=lots.uniform(-1000, 1000),
            wording=f"{number} {lots.random()}",
            tag=lots.choice([None, "news"]),
        )


def spoil(value, lots):
    """Any other value of the same kind."""
    if isinstance(value, bytes):
        place = lots.randrange(len(value))
        return value[:place] + bytes([value[place] ^ 1 << lots.randrange(8)]) + value[place + 1 :]
    if isinstance(value, ConsentKind):
        return lots.choice([kind for kind in ConsentKind if kind is not value])
    if isinstance(value, datetime):
        return value + timedelta(microseconds=lots.choice([-1, 1, 86_400_000_000]))
    if isinstance(value, int):
        return value + 1_000
    place = lots.randrange(len(value))
    return value[:place] + chr(ord(value[place]) ^ 1) + value[place + 1 :]


def changes_of(rows, head, lots):
    """Every single change to what is stored: statements that make it, and those that undo it."""
    for row in rows:
        this = EVENTS.c.id == row["id"]
        back = [delete(EVENTS).where(EVENTS.c.id.in_([row["id"], row["id"] + 1_000]))]
        back.append(insert(EVENTS).values(**row))
        for column, value in row.items():
            if value is not None:
                yield [update(EVENTS).where(this).values({column: spoil(value, lots)})], back
            if value is not None and column in ("phone", "salt", "content"):
                yield [update(EVENTS).where(this).values({column: None})], back
        yield [delete(EVENTS).where(this)], back
        yield (
            [delete(EVENTS).where(EVENTS.c.id >= row["id"])],
            [
                delete(EVENTS),
                *(insert(EVENTS).values(**each) for each in rows),
            ],
        )
        for place in (0, -3, len(rows) + 1):
            extra = {**row, "id": place}
            undo = [delete(EVENTS).where(EVENTS.c.id == place)]
            yield [insert(EVENTS).values(**extra)], undo
    everything = [delete(EVENTS), *(insert(EVENTS).values(**each) for each in rows)]
    one, other = lots.sample(rows, 2)
    swapped = [{**one, "id": other["id"]}, {**other, "id": one["id"]}]
    both = delete(EVENTS).where(EVENTS.c.id.in_([one["id"], other["id"]]))
    yield [both, *(insert(EVENTS).values(**each) for each in swapped)], everything
    fact = table_of(Metadata)
    kept = fact.c.name == HEAD_FACT
    number, digest = head.split(" ")
    again = [delete(fact).where(kept), insert(fact).values(name=HEAD_FACT, value=head)]
    for wrong in (f"{int(number) - 1} {digest}", f"{number} {'0' * 64}"):
        yield [update(fact).where(kept).values(value=wrong)], again
    yield [delete(fact).where(kept)], again


@pytest.mark.parametrize("seed", range(examples(1)))
def test_any_single_change_is_found(people, seed):
    lots = random.Random(seed)
    write_ledger(people, lots, links=3)
    with people.db.write() as tx:
        forget_person(tx, lots.choice([ANN, BO]))
    write_ledger(people, lots, links=1)
    with people.db.read() as tx:
        rows = [dict(row._mapping) for row in tx.execute(select(EVENTS).order_by(EVENTS.c.id))]
        head = tx.execute(select(Metadata.value).where(Metadata.name == HEAD_FACT)).scalar_one()
    missed, tried = [], 0

    for change, undo in changes_of(rows, head, lots):
        tamper(people, *change)
        tried += 1
        if verify_ledger(people).broken is None:
            missed.append(change)
        tamper(people, *undo)

    assert missed == []
    assert tried > 40
    assert verify_ledger(people).broken is None


def test_a_ledger_written_anew_is_found_by_a_head_that_was_written_down(people):
    add(people, ConsentKind.OPT_OUT)
    written_down = verify_ledger(people).head.hash.hex()
    add(people, ConsentKind.OPT_IN)
    assert verify_ledger(people, anchor=written_down).broken is None

    tamper(people, delete(EVENTS), delete(Metadata).where(Metadata.name == HEAD_FACT))
    add(people, ConsentKind.OPT_IN)
    add(people, ConsentKind.OPT_IN)

    assert verify_ledger(people).broken is None
    broken = verify_ledger(people, anchor=written_down).broken
    assert broken is not None
    assert written_down in broken


def test_a_link_that_cannot_be_read_is_named(people):
    add(people, ConsentKind.OPT_IN)
    add(people, ConsentKind.OPT_IN)
    tamper(people, text("UPDATE consent_events SET kind = 'nonsense' WHERE id = 2"))

    assert verify_ledger(people).broken == "a link after link 0 holds what we never write"
