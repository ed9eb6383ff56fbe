"""Subscribers over HTTP: made, found, changed, deleted, exported."""

from datetime import UTC, datetime

import pytest
from sqlalchemy import select

from app.config.scopes import KeyScope
from app.db.audit import AuditEntry
from app.db.base import table_of
from app.ids import make_id
from app.subscribers.models import Cause, ConsentEvent, Subscriber
from tests.callers import Caller, limit_scopes
from tests.people import suppress

ANN, BO = "+46701234567", "+46707654321"
# Of the right form, and nobody's: the range is given to no network.
UNLISTED = "+46999"
WHOLE = {
    "phone": ANN,
    "first_name": " Ann ",
    "last_name": "Åberg",
    "language": "PT_br",
    "time_zone": "Europe/Stockholm",
    "attributes": {"city": "Göteborg", "visits": 7, "share": 0.5, "vip": True, "none": None},
    "tags": ["VIP", " news ", "vip"],
    "active": True,
    "subscribed_at": "2026-01-02T03:04:05+02:00",
}


def _make(caller, phone=ANN, **more):
    answer = caller.post("/api/subscribers", {"phone": phone, **more})
    assert answer.status_code == 201, answer.get_json()
    return answer.get_json()


def _people(caller_service):
    return caller_service.extensions["clarion"].subscriber_context


def test_a_subscriber_is_kept_as_given(caller):
    made = _make(caller, **WHOLE)

    shown = caller.get(f"/api/subscribers/{made['subscriber_id']}").get_json()
    assert shown == made
    assert {name: shown[name] for name in WHOLE} == {
        **WHOLE,
        "first_name": "Ann",
        "language": "pt-BR",
        "attributes": {"city": "Göteborg", "visits": 7, "share": 0.5, "vip": True},
        "tags": ["news", "vip"],
        "subscribed_at": "2026-01-02T01:04:05+00:00",
    }
    assert (shown["consented_at"], shown["suppressed"], shown["suppression"]) == (None, False, None)


def test_a_number_is_one_subscriber_s(caller):
    made = _make(caller)

    again = caller.post("/api/subscribers", {"phone": ANN, "first_name": "Bo"})

    assert again.status_code == 409
    assert again.get_json()["subscriber_id"] == made["subscriber_id"]
    assert caller.get(f"/api/subscribers/{made['subscriber_id']}").get_json() == made


def test_a_number_that_is_not_in_use_is_taken_on_request_only(service):
    caller = Caller(service)
    refused = caller.post("/api/subscribers", {"phone": UNLISTED})

    assert (refused.status_code, list(refused.get_json()["fields"])) == (400, ["phone"])
    assert _make(caller, UNLISTED, allow_unlisted=True)["phone"] == UNLISTED


_FAULTY = [
    ({"phone": "0701234567"}, "phone"),
    ({"first_name": "x" * 101}, "first_name"),
    ({"first_name": "a\0"}, "first_name"),
    ({"language": "german"}, "language"),
    ({"time_zone": "Mars/Base"}, "time_zone"),
    ({"time_zone": "right/Europe/Paris"}, "time_zone"),
    ({"attributes": {"a b": 1}}, "attributes"),
    ({"attributes": {"a": [1]}}, "attributes"),
    ({"attributes": {"a": "x" * 501}}, "attributes"),
    ({"attributes": {"a": 2**53 + 1}}, "attributes"),
    ({"attributes": {"a": "\0"}}, "attributes"),
    ({"attributes": {f"a{n}": n for n in range(51)}}, "attributes"),
    ({"attributes": None}, "attributes"),
    ({"tags": ["a/b"]}, "tags"),
    ({"tags": ["..."]}, "tags"),
    ({"tags": ["x" * 65]}, "tags"),
    ({"active": 1}, "active"),
    ({"subscribed_at": "2026-01-02"}, "subscribed_at"),
    ({"consent": {"source": "form"}}, "consent"),
    ({"consent": {"wording": "Yes", "source": "x" * 201}}, "consent"),
    ({"consent": {"wording": "Yes", "source": "form", "at": "2999-01-01T00:00Z"}}, "consent"),
    ({"email": "ann@example.com"}, "email"),
]


def test_what_cannot_be_kept_is_refused_by_name(service):
    caller = Caller(service)

    for given, field in _FAULTY:
        answer = caller.post("/api/subscribers", {"phone": ANN, **given})
        assert (answer.status_code, list(answer.get_json()["fields"])) == (400, [field]), given

    assert caller.get("/api/subscribers").get_json()["subscribers"] == []


def test_a_change_leaves_the_rest_as_it_is(caller):
    made = _make(caller, **WHOLE)
    address = f"/api/subscribers/{made['subscriber_id']}"

    changed = caller.patch(
        address,
        {
            "last_name": None,
            "language": "sv",
            "attributes": {"city": None, "visits": 8, "new": "x"},
            "tags": ["news", "fresh"],
            "active": False,
        },
    ).get_json()

    assert changed == {
        **made,
        "last_name": None,
        "language": "sv",
        "attributes": {"visits": 8, "share": 0.5, "vip": True, "new": "x"},
        "tags": ["fresh", "news"],
        "active": False,
        "updated_at": changed["updated_at"],
    }
    assert changed["updated_at"] > made["updated_at"]
    assert caller.patch(address, {"active": False}).get_json() == changed
    assert caller.patch(address, {"phone": BO}).status_code == 400


def test_nobody_gets_more_attributes_bit_by_bit_than_at_once(service):
    caller = Caller(service)
    made = _make(caller, attributes={f"a{n}": n for n in range(50)})
    address = f"/api/subscribers/{made['subscriber_id']}"

    refused = caller.patch(address, {"attributes": {"b": 1}})

    assert (refused.status_code, list(refused.get_json()["fields"])) == (400, ["attributes"])
    assert caller.patch(address, {"attributes": {"b": 1, "a0": None}}).status_code == 200


def test_consent_goes_into_the_ledger_in_its_own_words(caller):
    given = {"wording": "Yes, text me", "source": "form", "at": "2026-01-02T03:04:05+00:00"}
    made = _make(caller, consent=given)

    changed = caller.patch(
        f"/api/subscribers/{made['subscriber_id']}",
        {"consent": {"wording": "Still yes", "source": "shop"}},
    ).get_json()

    assert made["consented_at"] == "2026-01-02T03:04:05+00:00"
    assert changed["consented_at"] > made["consented_at"]
    events = caller.get(f"/api/subscribers/{made['subscriber_id']}/export").get_json()[
        "consent_events"
    ]
    told = [
        (each["kind"], each["wording"], each["source"], each["channel"], each["actor"])
        for each in events
    ]
    assert told == [
        ("opt_in", "Yes, text me", "form", "api", "tests"),
        ("opt_in", "Still yes", "shop", "api", "tests"),
    ]


def test_who_is_suppressed_is_shown_so_and_stays_so(make_service, either_database):
    service = make_service(DATABASE_URL=either_database)
    caller, people = Caller(service), _people(service)
    with people.db.write() as tx:
        suppress(tx, people, ANN, cause=Cause.STOP, actor="phone", at=people.now())

    made = _make(caller, consent={"wording": "Yes", "source": "form"})

    assert made["suppressed"] is True
    assert (made["suppression"]["cause"], made["suppression"]["scope"]) == ("stop", "all")
    export = caller.get(f"/api/subscribers/{made['subscriber_id']}/export").get_json()
    assert export["subscriber"] == made
    assert export["suppression"]["released_at"] is None


def test_the_subscriber_of_a_number_is_found(service):
    caller = Caller(service)
    made = _make(caller)

    assert caller.post("/api/subscribers/lookup", {"phone": f" {ANN} "}).get_json() == made
    assert caller.post("/api/subscribers/lookup", {"phone": BO}).status_code == 404


def test_a_deleted_subscriber_is_gone_and_the_ledger_stays(make_service, either_database):
    service = make_service(DATABASE_URL=either_database)
    caller, people = Caller(service), _people(service)
    made = _make(caller, tags=["vip"], consent={"wording": "Yes", "source": "form"})
    address = f"/api/subscribers/{made['subscriber_id']}"

    assert caller.delete(address).status_code == 204

    for answer in (caller.get(address), caller.delete(address), caller.patch(address, {})):
        assert answer.status_code == 404
    assert caller.get(f"{address}/export").status_code == 404
    with people.db.read() as tx:
        assert tx.execute(select(table_of(Subscriber))).all() == []
        assert len(tx.execute(select(table_of(ConsentEvent))).all()) == 1
        noted = tx.execute(select(table_of(AuditEntry).c["action", "subject", "actor"])).all()
    assert noted == [("delete subscriber", made["subscriber_id"], "tests")]
    assert caller.get("/api/tags/vip").get_json()["subscribers"]["all"] == 0
    # Whoever comes back has agreed to nothing.
    assert _make(caller)["consented_at"] is None


def test_a_list_goes_on_where_it_ended(service):
    caller = Caller(service)
    numbers = [f"+4670123450{n}" for n in range(7)]
    for number in numbers:
        _make(caller, number)

    seen, cursor = [], None
    while True:
        page = caller.get(
            "/api/subscribers", limit=3, **({"cursor": cursor} if cursor else {})
        ).get_json()
        seen += [each["phone"] for each in page["subscribers"]]
        cursor = page["cursor"]
        if cursor is None:
            break

    assert seen == numbers


CROWD = [
    {
        "phone": ANN,
        "first_name": "Åsa",
        "last_name": "Nyström",
        "tags": ["vip"],
        "attributes": {"key": "a", "city": "Berlin", "visits": 7},
    },
    {
        "phone": BO,
        "first_name": "Bo",
        "last_name": "STRÖM",
        "tags": ["vip", "news"],
        "attributes": {"key": "b", "city": "Bonn", "visits": 8, "vip": True, "note": "a:b"},
    },
    {
        "phone": "+46701111111",
        "first_name": "100 %",
        "active": False,
        "attributes": {"key": "c", "city": "Berlin", "visits": 7, "vip": "no"},
    },
]


_FILTERS = [
    ({}, "abc"),
    ({"tag": "VIP"}, "ab"),
    ({"tag": "nothing"}, ""),
    ({"text": "ÅSA"}, "a"),
    ({"text": "åsa"}, "a"),
    ({"text": "ström"}, "ab"),
    ({"text": "STRÖM"}, "ab"),
    ({"text": "%"}, "c"),
    ({"active": "true"}, "ab"),
    ({"active": "false"}, "c"),
    ({"attribute": "city:Berlin"}, "ac"),
    ({"attribute": ["city:Berlin", "visits:7"]}, "ac"),
    ({"attribute": "visits:7.0"}, "ac"),
    ({"attribute": "vip:true"}, "b"),
    ({"attribute": "note:a:b"}, "b"),
    ({"attribute": "city:berlin"}, ""),
    ({"attribute": "visits:inf"}, ""),
    ({"tag": "vip", "text": "bo", "active": "true"}, "b"),
]
_SLIPS = [
    {"limit": 501},
    {"limit": 0},
    {"cursor": "x"},
    {"cursor": "9" * 19},
    {"tag": "a/b"},
    {"text": " "},
    {"active": "1"},
    {"attribute": "city"},
    {"attribute": "a b:c"},
    {"attribute": ["a:b"] * 11},
    {"text": ["a", "b"]},
    {"phone": ANN},
]


def test_a_list_holds_who_fits_all_that_is_asked(caller):
    caller.post("/api/subscribers/bulk", {"subscribers": CROWD})

    for query, found in _FILTERS:
        page = caller.get("/api/subscribers", **query).get_json()
        keys = sorted(each["attributes"]["key"] for each in page["subscribers"])
        assert "".join(keys) == found, query


def test_a_question_with_a_slip_in_it_is_refused(service):
    caller = Caller(service)

    for query in _SLIPS:
        answer = caller.get("/api/subscribers", **query)
        assert (answer.status_code, list(answer.get_json()["fields"])) == (400, [*query]), query


def test_who_there_is_not_is_not_found(caller):
    for name in (make_id(datetime(2026, 3, 1, tzinfo=UTC)), "x" * 26, "%00" + "x" * 25, "x"):
        assert caller.get(f"/api/subscribers/{name}").status_code == 404


def test_each_needs_its_scope(service):
    limit_scopes(service, KeyScope.READ, KeyScope.READ_SUBSCRIBERS)
    caller = Caller(service)

    assert caller.get("/api/subscribers").status_code == 200
    assert caller.post("/api/subscribers", {"phone": ANN}).status_code == 403
    assert (
        caller.post("/api/subscribers/bulk", {"subscribers": [{"phone": ANN}]}).status_code == 403
    )
    assert caller.post("/api/tags", {"name": "vip"}).status_code == 403


@pytest.mark.parametrize(
    "at", ["1712-05-12T23:45:00Z", "0001-01-01T00:00:00Z", "1970-01-01T00:00:00Z"]
)
def test_a_time_before_texts_existed_is_no_time_of_a_consent(make_service, at):
    caller = Caller(make_service())
    consent = {"wording": "Yes", "source": "shop", "at": at}
    options = {"purpose": "marketing", "consent": consent}
    answers = [
        caller.post("/api/subscribers", {"phone": "+46701234567", "consent": consent}),
        caller.post("/api/subscribers", {"phone": "+46701234567", "subscribed_at": at}),
        caller.post("/api/subscribers/imports", options),
    ]

    assert [answer.status_code for answer in answers] == [400] * 3
    assert all("Before 1990" in answer.get_json()["error"] for answer in answers)
