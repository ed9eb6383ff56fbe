"""Which numbers are not written to, on either database."""

import random
import threading
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import func, select, update

from app.config import SubscriberRules
from app.db.engine import Database
from app.subscribers.context import SubscriberContext
from app.subscribers.models import Cause, Scope, Suppression
from app.subscribers.suppressions.store import (
    SuppressionRequest,
    WrongKey,
    find_suppressed,
    lock_suppressions_exclusive,
    lock_suppressions_shared,
    read_suppressions,
    release,
    restore_phone,
    suppress_many,
)
from tests.clocks import ManualClock
from tests.conftest import examples
from tests.factories import many_numbers
from tests.people import suppress

ANN, BO = "+46701234567", "+46707654321"


def stop(people, phone=ANN, *, after_s=0.0, **more):
    at = people.now() + timedelta(seconds=after_s)
    wish = {"cause": Cause.STOP, "actor": "phone", "at": at} | more
    with people.db.write() as tx:
        return suppress(tx, people, phone, **wish)


def lift(people, phone=ANN, *, after_s=0.0, by_phone=True):
    at = people.now() + timedelta(seconds=after_s)
    with people.db.write() as tx:
        return release(tx, people, phone, at=at, actor="phone", by_phone=by_phone)


def erase_number(people, phone=ANN):
    """Leave the hash alone, as erasure does."""
    with people.db.write() as tx:
        named = update(Suppression).where(Suppression.phone == phone)
        tx.execute(named.values(phone=None, cause=Cause.ERASED))


def stopped(people, *phones, marketing=False):
    with people.db.read() as tx:
        return find_suppressed(tx, people, phones or [ANN, BO], marketing=marketing)


def look_at(people, phone=ANN):
    with people.db.read() as tx:
        return read_suppressions(tx, people, [phone])[phone]


def test_a_suppressed_number_is_found_until_it_is_released(people):
    assert stop(people)
    assert stopped(people) == {ANN}

    assert lift(people, after_s=1)

    assert stopped(people) == set()
    assert stop(people, after_s=2)
    assert stopped(people) == {ANN}
    assert not stop(people, after_s=3)


def test_a_stop_that_comes_late_does_not_undo_the_start_after_it(people):
    stop(people)
    lift(people, after_s=10)

    assert not stop(people, after_s=5)

    assert stopped(people) == set()


def test_a_start_that_comes_late_does_not_undo_the_stop_after_it(people):
    stop(people)
    stop(people, after_s=10)

    assert not lift(people, after_s=5)

    assert stopped(people) == {ANN}


def test_a_phone_does_not_lift_what_somebody_here_entered(people):
    stop(people)
    stop(people, cause=Cause.MANUAL, actor="ops")

    assert not lift(people, after_s=10)
    assert stopped(people) == {ANN}

    assert lift(people, by_phone=False)
    assert stopped(people) == set()


def test_a_suppression_for_marketing_lets_the_rest_through_until_it_is_widened(people):
    stop(people, scope=Scope.MARKETING)

    assert stopped(people) == set()
    assert stopped(people, marketing=True) == {ANN}
    assert not stop(people)
    assert stopped(people) == {ANN}
    assert not stop(people, scope=Scope.MARKETING)
    assert stopped(people) == {ANN}


def test_a_certain_stop_ends_the_review_of_an_unsure_one(people):
    stop(people, needs_review=True, inbound="unsure")
    stop(people, after_s=1, inbound="certain")
    stop(people, after_s=2, needs_review=True, inbound="unsure again")

    found = look_at(people)

    assert (found.needs_review, found.inbound) == (False, "certain")
    assert found.active


def test_an_erased_number_stays_suppressed_and_has_its_name_back_when_it_comes_again(people):
    stop(people)
    erase_number(people)
    assert stopped(people) == {ANN}
    assert stopped(people, marketing=True) == {ANN}

    with people.db.write() as tx:
        restore_phone(tx, people, [BO, ANN])

    assert look_at(people).phone == ANN
    assert stopped(people) == {ANN}
    assert not stop(people)
    with people.db.read() as tx:
        assert tx.execute(select(func.count()).select_from(Suppression)).scalar() == 1


def test_nothing_is_looked_up_under_another_key_once_somebody_was_erased(people):
    stop(people)
    erase_number(people)
    other = replace(people, phone_hash_key=b"another key")

    with pytest.raises(WrongKey):
        stopped(other)
    with pytest.raises(WrongKey):
        stop(other, BO)
    with pytest.raises(WrongKey):
        lift(other, BO)
    with pytest.raises(WrongKey), people.db.write() as tx:
        restore_phone(tx, other, [ANN])


def test_while_all_have_their_numbers_another_key_only_makes_the_hashes_anew(people):
    many = many_numbers(1_500)
    wish = SuppressionRequest(cause=Cause.IMPORT, actor="cli", at=people.now())
    with people.db.write() as tx:
        assert len(suppress_many(tx, people, many, wish)) == 1_500
    other = replace(people, phone_hash_key=b"another key")

    assert stop(other)

    assert stopped(other, *many, ANN, BO) == {*many, ANN}
    assert not stop(other, many[0])
    erase_number(other, many[0])
    assert stopped(other, many[0]) == {many[0]}


def test_many_are_suppressed_at_once_each_once(people):
    many = many_numbers(2_500)
    wish = SuppressionRequest(cause=Cause.IMPORT, actor="cli", at=people.now(), note="old list")
    stop(people, many[7], scope=Scope.MARKETING)
    with people.db.write() as tx:
        newly_suppressed = suppress_many(tx, people, [*many, many[0]], wish)
        assert suppress_many(tx, people, many, wish) == []

    assert sorted(newly_suppressed) == sorted(set(many) - {many[7]})
    assert stopped(people, *many, ANN) == set(many)
    assert look_at(people, many[7]).cause is Cause.STOP


def test_a_change_waits_for_whoever_holds_suppressions_still(postgres, people):
    if people.db.is_sqlite:
        return  # has one writer
    seen = []
    changed = threading.Event()

    def change():
        with people.db.write() as tx:
            lock_suppressions_exclusive(tx)
            lock_suppressions_exclusive(tx)
            suppress(tx, people, ANN, cause=Cause.STOP, actor="phone", at=people.now())
        changed.set()

    with people.db.write() as one, people.db.write() as another:
        lock_suppressions_shared(one)
        lock_suppressions_shared(another)
        thread = threading.Thread(target=change)
        thread.start()
        seen.append(changed.wait(0.3))
        seen.append(find_suppressed(one, people, [ANN], marketing=False))
    thread.join(10)

    assert seen == [False, set()]
    assert changed.is_set()
    assert stopped(people) == {ANN}


@pytest.mark.parametrize("seed", range(examples(6)))
def test_in_whatever_order_texts_come_the_last_stop_counts(database_url, seed):
    lots = random.Random(seed)
    people = SubscriberContext(
        db=Database(database_url), rules=SubscriberRules(), phone_hash_key=b"k", clock=ManualClock()
    )
    texts = [(place, lots.choice(["stop", "start"])) for place in range(1, lots.randint(3, 7))]
    told = lots.sample(texts, len(texts)) + lots.sample(texts, len(texts))

    for after_s, word in told:
        if word == "stop":
            stop(people, after_s=after_s)
        else:
            lift(people, after_s=after_s)

    last_stop = max((place for place, word in texts if word == "stop"), default=0)
    last_start = max((place for place, word in texts if word == "start"), default=0)
    assert (stopped(people) == {ANN}) is (last_stop > last_start), told
    people.db.close()
