"""Tags: made, given, confirmed, renamed, taken from everybody."""

import time
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import select, update

from app.db.audit import AuditEntry
from app.db.base import table_of
from app.db.prepared import insert_rows
from app.errors import BadInput, NotFound
from app.failpoints import failpoints
from app.ids import make_id
from app.subscribers.audiences.audience import count_audience, plain_tag
from app.subscribers.models import Subscriber, SubscriberTag, Tag
from app.subscribers.profiles.bulk import upsert_subscribers
from app.subscribers.suppressions.manage import CLI, add_suppressions
from app.subscribers.tags import tags
from app.subscribers.tags.assignments import add_tags, confirm_tags, lock_tags
from tests.callers import Caller
from tests.factories import many_numbers
from tests.machine import Together
from tests.subscribers.imports.imports import Ended

ANN, BO = "+46701234567", "+46707654321"
_BORNE, _TAGS = table_of(SubscriberTag), table_of(Tag)


def _make(caller, phone, **more):
    return caller.post("/api/subscribers", {"phone": phone, **more}).get_json()["subscriber_id"]


def _count(caller, name):
    told = caller.get(f"/api/tags/{name}").get_json()["subscribers"]
    return told["all"], told["active"], told["unconfirmed"]


def test_a_tag_tells_how_many_bear_it(caller):
    assert caller.post("/api/tags", {"name": " VIP "}).status_code == 201
    caller.post("/api/tags", {"name": "asked", "double_opt_in": True})
    _make(caller, ANN, tags=["vip", "asked"])
    _make(caller, BO, tags=["vip", "new one"], active=False)

    listed = caller.get("/api/tags").get_json()

    assert [(each["name"], each["double_opt_in"]) for each in listed["tags"]] == [
        ("vip", False),
        ("asked", True),
        ("new one", False),
    ]
    assert listed["cursor"] is None
    assert [_count(caller, name) for name in ("vip", "Asked", "new%20one")] == [
        (2, 1, 0),
        (1, 0, 1),
        (1, 0, 0),
    ]
    first = caller.get("/api/tags", limit=2).get_json()
    rest = caller.get("/api/tags", limit=2, cursor=first["cursor"]).get_json()
    assert [each["name"] for each in rest["tags"]] == ["new one"]
    assert caller.get("/api/tags/nothing").status_code == 404


def test_a_name_is_one_tag_s(caller):
    caller.post("/api/tags", {"name": "vip"})
    caller.post("/api/tags", {"name": "news"})

    assert caller.post("/api/tags", {"name": "VIP"}).status_code == 409
    assert caller.patch("/api/tags/news", {"name": "Vip"}).status_code == 409
    assert caller.patch("/api/tags/nothing", {"name": "x"}).status_code == 404
    assert caller.patch("/api/tags/news", {"name": "News"}).status_code == 200


def test_a_renamed_tag_is_borne_by_the_same(service):
    caller = Caller(service)
    ann = _make(caller, ANN, tags=["vip"])

    renamed = caller.patch("/api/tags/vip", {"name": "Gold", "double_opt_in": True}).get_json()

    assert (renamed["name"], renamed["double_opt_in"]) == ("gold", True)
    shown = caller.get(f"/api/subscribers/{ann}").get_json()
    assert (shown["tags"], shown["unconfirmed_tags"]) == (["gold"], [])


def test_a_tag_is_given_to_some_and_taken_from_others(caller):
    ann, bo = _make(caller, ANN, tags=["vip"]), _make(caller, BO)
    give = "/api/tags/vip/subscribers"

    assert caller.post(give, {"add": [ann, bo, bo]}).get_json() == {"added": 1, "removed": 0}
    assert caller.post(give, {"remove": [ann]}).get_json() == {"added": 0, "removed": 1}
    assert caller.post(give, {"remove": [ann]}).get_json() == {"added": 0, "removed": 0}

    assert caller.get(f"/api/subscribers/{ann}").get_json()["tags"] == []
    assert caller.get(f"/api/subscribers/{bo}").get_json()["tags"] == ["vip"]
    refused = caller.post(give, {"add": [ann], "remove": ["nobody"]})
    assert (refused.status_code, list(refused.get_json()["fields"])) == (400, ["remove"])
    assert _count(caller, "vip")[0] == 1
    assert caller.post("/api/tags/nothing/subscribers", {"add": [ann]}).status_code == 404


def test_a_double_opt_in_waits_for_a_yes_to_what_was_asked(people):
    tags.create_tag(people, "asked", double_opt_in=True, actor="tests")
    tags.create_tag(people, "unasked", double_opt_in=True, actor="tests")
    upsert_subscribers(
        people, [{"phone": ANN, "tags": ["asked", "unasked", "plain"]}, {"phone": BO}], actor="t"
    )
    with people.db.write() as tx:
        asked = select(_TAGS.c.id).where(_TAGS.c.name == "asked").scalar_subquery()
        tx.execute(
            update(_BORNE).where(_BORNE.c.tag_id == asked).values(opt_in_requested_at=people.now())
        )

    people.clock.advance(60)
    with people.db.write() as tx:
        assert count_audience(tx, plain_tag("asked")) == 0
        assert confirm_tags(tx, people, BO, people.now()) == []
        assert confirm_tags(tx, people, ANN, people.now()) == ["asked"]
        assert confirm_tags(tx, people, ANN, people.now()) == []
        assert count_audience(tx, plain_tag("asked")) == 1
        assert count_audience(tx, plain_tag("unasked")) == 0
    # Given again, it stays confirmed.
    upsert_subscribers(people, [{"phone": ANN, "tags": ["asked"]}], actor="t")
    assert tags.view_tag(people, "asked")["subscribers"]["unconfirmed"] == 0


def test_a_deleted_tag_is_taken_from_everybody(people):
    numbers = many_numbers(12)
    entries = [{"phone": number, "tags": ["vip", "news"]} for number in numbers]
    upsert_subscribers(people, entries, actor="t", allow_unlisted=True)

    assert tags.delete_tag(people, "vip", actor="tests") == 12

    with pytest.raises(NotFound):
        tags.delete_tag(people, "vip", actor="tests")
    with people.db.read() as tx:
        assert [row.name for row in tx.execute(select(_TAGS))] == ["news"]
        assert len(tx.execute(select(_BORNE)).all()) == 12
        noted = tx.execute(select(table_of(AuditEntry).c["action", "subject", "facts"])).all()
    assert noted == [("delete tag", "vip", {"subscribers": 12})]


@pytest.fixture
def at_each_page() -> Iterator[Callable[[Callable[[], None]], None]]:
    """A function that sets what is done behind the first page of a deletion."""
    yield lambda act: failpoints.arm("T1", 1, act)
    failpoints.arm(None)


def _tag_many(people, count):
    """Make subscribers with a tag, directly in the database."""
    now = people.now()
    with people.db.write() as tx:
        insert_rows(tx, _TAGS, [{"name": "many", "double_opt_in": False, "created_at": now}])
        tag_id = tx.execute(select(_TAGS.c.id)).scalar_one()
        common = {"active": True, "subscribed_at": now, "updated_at": now, "attributes": None}
        rows = [
            {"public_id": make_id(now), "phone": phone, **common} for phone in many_numbers(count)
        ]
        insert_rows(tx, table_of(Subscriber), rows)
        ids = tx.execute(select(table_of(Subscriber).c.id)).scalars()
        had = {"tag_id": tag_id, "confirmed": True}
        insert_rows(tx, _BORNE, [had | {"subscriber_id": id_} for id_ in ids])


def test_a_large_tag_is_deleted_beside_a_stop(people, at_each_page):
    _tag_many(people, 12_000)
    seen = []

    def stop():
        add_suppressions(people, [ANN], actor="t", channel=CLI)
        with people.db.read() as tx:
            seen.append(len(tx.execute(select(_BORNE)).all()))

    at_each_page(stop)

    assert tags.delete_tag(people, "many", actor="t") == 12_000
    assert seen == [7_000]
    with people.db.read() as tx:
        assert tx.execute(select(_TAGS)).all() == []


def test_a_deletion_that_broke_off_is_finished_by_the_next(people, at_each_page):
    _tag_many(people, 6_000)

    def end():
        raise Ended

    at_each_page(end)
    with pytest.raises(Ended):
        tags.delete_tag(people, "many", actor="t")

    assert tags.delete_tag(people, "many", actor="t") == 1_000
    with people.db.read() as tx:
        assert tx.execute(select(_BORNE)).all() == []


def test_an_audience_that_names_a_deleted_tag_is_an_error(people):
    upsert_subscribers(people, [{"phone": ANN, "tags": ["vip"]}], actor="t")

    tags.delete_tag(people, "vip", actor="tests")

    with people.db.read() as tx, pytest.raises(BadInput, match="There is no tag vip"):
        count_audience(tx, plain_tag("vip"))


def test_a_tag_is_not_deleted_while_it_is_given(people):
    upsert_subscribers(people, [{"phone": ANN, "tags": ["vip"]}, {"phone": BO}], actor="t")
    bo = select(table_of(Subscriber).c.id).where(table_of(Subscriber).c.phone == BO)

    with people.db.write() as tx:
        held = lock_tags(tx, people, ["vip"])
        deleting = Together(lambda: tags.delete_tag(people, "vip", actor="t"))
        time.sleep(0.2)
        add_tags(tx, held, {tx.execute(bo).scalar_one(): ["vip"]})

    assert deleting.join() == [2]
    with people.db.read() as tx:
        assert tx.execute(select(_BORNE)).all() == []
        assert tx.execute(select(_TAGS)).all() == []


def test_what_is_no_name_is_refused(service):
    caller = Caller(service)

    for name in ("a/b", "", "...", "x" * 65, "\0", 7):
        answer = caller.post("/api/tags", {"name": name})
        assert (answer.status_code, list(answer.get_json()["fields"])) == (400, ["name"]), name
