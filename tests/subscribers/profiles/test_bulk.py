"""Many people in one request: all or nothing, or without those who are refused."""

import os
import threading

import pytest
from sqlalchemy import func, insert, select, update

from app.db.base import table_of
from app.subscribers.models import Cause, ConsentEvent, Subscriber, Suppression, Tag
from app.subscribers.profiles.bulk import upsert_subscribers
from app.subscribers.profiles.entry import OnConflict
from app.subscribers.profiles.upsert import EntryOutcome
from app.subscribers.suppressions.store import find_suppressed
from app.subscribers.tags.assignments import MAX_NEW_TAGS, MAX_TAGS_IN_ALL
from app.webhooks.incoming.store import CallbackStore
from tests.background import context_of
from tests.callers import Caller
from tests.factories import many_numbers
from tests.machine import Together
from tests.people import suppress
from tests.reporting import inbound

ANN, BO, CY = "+46701234567", "+46707654321", "+46701112233"
WRITTEN = (EntryOutcome.CREATED, EntryOutcome.UPDATED, EntryOutcome.UNCHANGED)
MANY = int(os.environ.get("BULK", "300"))


def _send(caller, *subscribers, **more):
    return caller.post("/api/subscribers/bulk", {"subscribers": list(subscribers), **more})


def _counts(answer):
    assert answer.status_code == 200, answer.get_json()
    told = answer.get_json()
    return tuple(told[name] for name in ("created", "updated", "unchanged", "refused"))


def _show(caller, phone):
    return caller.post("/api/subscribers/lookup", {"phone": phone}).get_json()


def _is_nobody(caller, phone):
    return caller.post("/api/subscribers/lookup", {"phone": phone}).status_code == 404


def test_who_is_new_is_made_and_who_is_not_is_changed(caller):
    ann = {"phone": ANN, "first_name": "Ann", "attributes": {"a": 1, "b": 2}, "tags": ["x"]}
    bo = {"phone": BO, "first_name": "Bo"}
    assert _counts(_send(caller, ann, bo)) == (2, 0, 0, 0)

    more = {"phone": ANN, "last_name": "Berg", "attributes": {"a": None, "c": 3}, "tags": ["y"]}
    answer = _send(caller, more, bo, {"phone": CY})

    assert _counts(answer) == (1, 1, 1, 0)
    shown = _show(caller, ANN)
    assert (shown["first_name"], shown["last_name"]) == ("Ann", "Berg")
    assert (shown["attributes"], shown["tags"]) == ({"b": 2, "c": 3}, ["x", "y"])


def test_the_same_again_changes_nothing(caller):
    ann = {"phone": ANN, "first_name": "Ann", "attributes": {"a": 1}, "tags": ["x"]}
    _send(caller, ann)
    before = _show(caller, ANN)

    for on_conflict in OnConflict:
        assert _counts(_send(caller, ann, on_conflict=on_conflict)) == (0, 0, 1, 0)
    assert _show(caller, ANN) == before
    # 1 and true are not the same, whatever Python says.
    assert _counts(_send(caller, {"phone": ANN, "attributes": {"a": True}})) == (0, 1, 0, 0)


def test_replaced_is_all_that_describes_and_nothing_else(service):
    caller = Caller(service)
    _send(
        caller,
        {
            "phone": ANN,
            "first_name": "Ann",
            "language": "sv",
            "attributes": {"a": 1},
            "tags": ["x"],
            "active": False,
            "subscribed_at": "2026-01-01T00:00:00+00:00",
            "consent": {"wording": "Yes", "source": "form"},
        },
    )
    before = _show(caller, ANN)

    replaced = _send(caller, {"phone": ANN, "last_name": "Berg"}, on_conflict="replace")

    assert _counts(replaced) == (0, 1, 0, 0)
    shown = _show(caller, ANN)
    assert shown == {
        **before,
        "first_name": None,
        "last_name": "Berg",
        "language": None,
        "attributes": {},
        "updated_at": shown["updated_at"],
    }
    _send(caller, {"phone": ANN, "tags": ["y"]}, on_conflict="replace")
    assert _show(caller, ANN)["tags"] == ["y"]


def test_who_is_skipped_stays_and_agrees_to_nothing(service):
    caller = Caller(service)
    _send(caller, {"phone": ANN, "first_name": "Ann"})
    before = _show(caller, ANN)

    changed = {
        "phone": ANN,
        "first_name": "Bo",
        "tags": ["x"],
        "consent": {"wording": "Yes", "source": "form"},
    }
    assert _counts(_send(caller, changed, on_conflict="skip")) == (0, 0, 1, 0)
    assert _show(caller, ANN) == before


FAULTY = [
    ({"phone": "0701234567"}, ["phone"]),
    ({"phone": BO, "language": "german", "tags": ["a/b"]}, ["language", "tags"]),
    ("x", ["object"]),
    ({"phone": ANN, "first_name": "twice"}, ["phone"]),
    ({"phone": "+46999"}, ["phone"]),
    (
        {"phone": BO, "consent": {"wording": "x", "source": "x", "at": "2999-01-01T00:00:00Z"}},
        ["consent"],
    ),
]


def test_one_that_is_refused_lets_nothing_happen(service):
    caller = Caller(service)
    answer = _send(caller, {"phone": ANN}, *(entry for entry, _ in FAULTY), {"phone": CY})

    assert answer.status_code == 400
    told = answer.get_json()
    assert told["refused"] == len(FAULTY)
    assert [(each["index"], sorted(each["fields"])) for each in told["refusals"]] == [
        (index, fields) for index, (_, fields) in enumerate(FAULTY, 1)
    ]
    assert _is_nobody(caller, ANN)
    assert _is_nobody(caller, CY)


def test_what_is_refused_may_be_left_out(service):
    caller = Caller(service)
    entries = [{"phone": ANN}, *(entry for entry, _ in FAULTY), {"phone": CY}]
    answer = _send(caller, *entries, skip_invalid=True)

    assert _counts(answer) == (2, 0, 0, len(FAULTY))
    assert answer.get_json()["refusals"][0]["index"] == 1
    assert _show(caller, ANN)["first_name"] is None


def test_too_many_attributes_with_those_there_already_are_refused(caller):
    full = {f"a{n}": n for n in range(50)}
    _send(caller, {"phone": ANN, "attributes": full})
    more = {"phone": ANN, "attributes": {"b": 1}, "tags": ["x"]}

    answer = _send(caller, {"phone": BO}, more)

    assert answer.status_code == 400
    assert [each["index"] for each in answer.get_json()["refusals"]] == [1]
    assert _is_nobody(caller, BO)
    assert _counts(_send(caller, {"phone": BO}, more, skip_invalid=True)) == (1, 0, 0, 1)
    assert (_show(caller, ANN)["attributes"], _show(caller, ANN)["tags"]) == (full, [])
    assert _counts(_send(caller, more, on_conflict="replace")) == (0, 1, 0, 0)


def test_only_the_first_hundred_refusals_are_shown(service):
    answer = _send(Caller(service), *({"phone": "x"} for _ in range(101)))

    assert (answer.get_json()["refused"], len(answer.get_json()["refusals"])) == (101, 100)


@pytest.mark.parametrize("subscribers", [[], [{"phone": ANN}] * 10_001, "x", {}, None])
def test_a_list_of_none_or_too_many_is_refused(service, subscribers):
    answer = Caller(service).post("/api/subscribers/bulk", {"subscribers": subscribers})

    assert (answer.status_code, list(answer.get_json()["fields"])) == (400, ["subscribers"])


def test_many_are_kept_in_one_go(people):
    numbers = many_numbers(MANY)
    entries = [
        {
            "phone": number,
            "first_name": f"Name {number}",
            "attributes": {"city": "Berlin", "n": n},
            "tags": ["all", f"part {n % 7}"],
            "consent": {"wording": "Yes", "source": "form"},
        }
        for n, number in enumerate(numbers)
    ]

    for count in ((MANY, 0, 0), (0, 0, MANY), (0, MANY, 0)):
        upserted = upsert_subscribers(people, entries, actor="tests", allow_unlisted=MANY < 1000)
        assert tuple(upserted[outcome.value] for outcome in WRITTEN) == count
        if count[2]:
            for entry in entries:
                entry["language"] = "sv"

    with people.db.read() as tx:
        assert tx.execute(select(func.count()).select_from(table_of(Subscriber))).scalar() == MANY
        events = select(func.count()).select_from(table_of(ConsentEvent))
        assert tx.execute(events).scalar() == 3 * MANY


def test_several_at_once_make_each_number_once(people):
    numbers = many_numbers(40)

    def upsert(turn):
        part = numbers[turn * 5 :] + numbers[: turn * 5]
        entries = [{"phone": number, "tags": [f"t{turn}", "all"]} for number in part]
        return upsert_subscribers(people, entries, actor="tests", allow_unlisted=True)

    results = Together(*(lambda turn=turn: upsert(turn) for turn in range(4))).join()

    assert sum(result["created"] for result in results) == len(numbers)
    assert sum(result["updated"] for result in results) == 3 * len(numbers)


def test_whoever_is_entered_anew_is_known_by_number_again_and_stays_suppressed(people):
    with people.db.write() as tx:
        suppress(tx, people, ANN, cause=Cause.ERASED, actor="tests", at=people.now())
        tx.execute(update(table_of(Suppression)).values(phone=None))

    upsert_subscribers(people, [{"phone": ANN}], actor="tests")

    with people.db.read() as tx:
        assert tx.execute(select(table_of(Suppression).c.phone)).scalars().all() == [ANN]
        assert find_suppressed(tx, people, [ANN], marketing=False) == {ANN}


def test_a_needless_zero_makes_no_second_subscriber(caller):
    written = "+460701234567"

    answer = _send(caller, {"phone": ANN}, {"phone": written}, skip_invalid=True)

    assert _counts(answer) == (1, 0, 0, 1)
    assert _counts(_send(caller, {"phone": written, "first_name": "Ann"})) == (0, 1, 0, 0)
    assert caller.post("/api/subscribers", {"phone": written}).status_code == 409


def test_a_request_brings_at_most_a_hundred_new_tags(caller):
    numbers = many_numbers(MAX_NEW_TAGS + 1)
    entries = [{"phone": number, "tags": [f"t{n}", "all"]} for n, number in enumerate(numbers)]

    refused = _send(caller, *entries, skip_invalid=True, allow_unlisted=True)

    assert refused.status_code == 400
    assert f"a request may bring {MAX_NEW_TAGS}: create them first" in refused.get_json()["error"]
    assert caller.get("/api/tags").get_json()["tags"] == []
    assert _is_nobody(caller, numbers[0])
    assert _counts(_send(caller, *entries[:99], allow_unlisted=True)) == (99, 0, 0, 0)
    assert _counts(_send(caller, *entries, allow_unlisted=True)) == (2, 0, 99, 0)


def test_there_are_only_so_many_tags_in_all(people_here, make_service):
    caller = Caller(make_service())
    now = people_here.now()
    rows = [
        {"name": f"tag {n}", "double_opt_in": False, "created_at": now}
        for n in range(MAX_TAGS_IN_ALL)
    ]
    with people_here.db.write() as tx:
        tx.execute(insert(table_of(Tag)), rows)

    answers = [
        caller.post("/api/tags", {"name": "one more"}),
        caller.post("/api/subscribers", {"phone": ANN, "tags": ["one more"]}),
        _send(caller, {"phone": ANN, "tags": ["one more"]}),
    ]

    assert [answer.status_code for answer in answers] == [400] * 3
    assert all("delete some" in answer.get_json()["error"] for answer in answers)
    assert _counts(_send(caller, {"phone": ANN, "tags": ["tag 7"]})) == (1, 0, 0, 0)


def test_too_many_attributes_are_found_before_the_first_entry_is_written(caller):
    """The entry that fails is the last of several slices."""
    full = {"phone": ANN, "attributes": {f"a{n}": n for n in range(50)}}
    _send(caller, full)
    others = [
        {"phone": number, "tags": [f"t{n}" for n in range(40)]} for number in many_numbers(150)
    ]
    one_more = {"phone": ANN, "attributes": {"b": 1}}

    refused = _send(caller, *others, one_more, allow_unlisted=True)

    assert refused.status_code == 400
    assert refused.get_json()["refusals"][0]["index"] == 150
    assert _is_nobody(caller, others[0]["phone"])
    counts = _counts(_send(caller, *others, one_more, allow_unlisted=True, skip_invalid=True))
    assert counts == (150, 0, 0, 1)


@pytest.mark.slow
def test_a_stop_is_stored_between_the_slices_of_a_large_request(make_service):
    service = make_service()
    people = context_of(service).subscriber_context
    tags = [f"t{n}" for n in range(60)]
    entries = [{"phone": number, "tags": tags} for number in many_numbers(1_200)]
    intake = CallbackStore(context_of(service), on_stored=lambda: None)
    bulk = threading.Thread(
        target=upsert_subscribers,
        args=(people, entries),
        kwargs={"actor": "shop", "allow_unlisted": True},
    )

    def count():
        with people.db.read() as tx:
            return tx.execute(select(func.count()).select_from(table_of(Subscriber))).scalar()

    bulk.start()
    while not count():
        assert bulk.is_alive()
    intake.store(inbound(ANN, "STOP", received_at=people.now().isoformat()))
    written = count()
    bulk.join(60)

    assert written < len(entries) == count()
    with people.db.read() as tx:
        assert find_suppressed(tx, people, [ANN], marketing=False) == {ANN}
