"""GET /api/analytics: what became of all messages, from the sums by day."""

from datetime import UTC, date, datetime, timedelta

import pytest
from flask import g

from app.auth import Client
from app.config.scopes import KeyScope
from app.sms.lifecycle.latency import latency_bucket, pack
from app.sms.models.daily import DailyCount, DailyDelay, DailyInbound
from app.sms.models.statuses import REPORTED
from tests.background import context_of
from tests.callers import OTHER_KEY, PATIENT, Caller
from tests.factories import KEY
from tests.machine import Machine
from tests.people import add_people
from tests.reporting import inbound, report, tell
from tests.rollups import roll_up_now

ANN, CLO = "+46701234567", "+12025550123"
MONDAY, TUESDAY = date(2026, 3, 2), date(2026, 3, 3)
WEEK = {"from": "2026-03-01", "to": "2026-03-07"}


@pytest.fixture
def service(make_service, either_database):
    """On either database; the key sees all clients."""
    keys = f"tests[* clients:all]:{KEY},other:{OTHER_KEY}"
    return make_service(DATABASE_URL=either_database, API_KEYS=keys, **PATIENT)


@pytest.fixture
def add(service):
    """A function that adds to the sums by day; what it is not told is nothing special."""
    machine = Machine.over(context_of(service))

    def add(status, messages, *, code=0, took_s=None, **place):
        usual = {"day": MONDAY, "client": "tests", "tag": "", "sender": "Clarion", "country": "SE"}
        where = usual | place
        counted = {"status": status, "code": code, "messages": messages, "parts": 2 * messages}
        machine.add(DailyCount, **where, **counted)
        if took_s is not None:
            machine.add(DailyDelay, **where, delays=pack({latency_bucket(took_s): messages}))

    return add


@pytest.fixture
def add_inbounds(service):
    machine = Machine.over(context_of(service))

    def add(inbounds, opt_outs, *, day=MONDAY, client="tests"):
        machine.add(DailyInbound, day=day, client=client, inbounds=inbounds, opt_outs=opt_outs)

    return add


def _ask(service, **query):
    answer = Caller(service).get("/api/analytics", **WEEK | query)
    assert answer.status_code == 200, answer.get_json()
    return answer.get_json()


def _rows(service, *shown, **query):
    """Of each row, these figures."""
    return [tuple(row[name] for name in shown) for row in _ask(service, **query)["rows"]]


def test_the_figures_of_a_day_are_those_of_its_messages(service, add, add_inbounds):
    add("delivered", 90, took_s=4)
    add("failed", 3, code=153)
    add("failed", 2, code=257)
    add("rejected", 1, code=408)
    add("unknown", 4)
    add("submitted", 20, code=-1)
    add_inbounds(7, 2)

    figures = _ask(service)["totals"]

    latency = figures.pop("latency_s")
    assert figures == {
        "sent": 120,
        "delivered": 90,
        "failed": 6,
        "unknown": 4,
        "submitted": 20,
        "delivery_rate": 0.9,
        "parts": 240,
        "inbounds": 7,
        "opt_outs": {"carrier": 2, "texted": 2},
    }
    assert set(latency) == {"p50", "p90", "p99"}
    assert latency["p50"] == pytest.approx(4, rel=0.06)


def test_what_is_sent_and_reported_shows_once_it_is_summed_up(service, sandbox):
    machine = Machine.over(context_of(service))
    caller = Caller(service)
    sent = caller.send(ANN, CLO).get_json()
    batch = machine.batch()
    at = (batch.accepted_at + timedelta(seconds=30)).isoformat()
    tell(machine.ctx, report(ANN, "Delivered", batch=batch.sinch_id, at=at), inbound(ANN, "stop"))

    roll_up_now(machine)

    today = datetime.now(UTC).date()
    days = {"from": (today - timedelta(days=2)).isoformat(), "to": today.isoformat()}
    answer = _ask(service, **days, group_by="country,status")
    assert [
        (row["country"], row["status"], row["sent"], row["parts"]) for row in answer["rows"]
    ] == [("SE", "delivered", 1, 1), ("US", "submitted", 1, 1)]
    assert answer["rows"][0]["latency_s"]["p99"] == pytest.approx(30, rel=0.06)
    assert answer["totals"]["sent"] == sent["recipients"]
    assert _ask(service, **days)["totals"]["opt_outs"] == {"carrier": 0, "texted": 1}


def test_rows_are_grouped_by_one_or_two_and_add_up_to_the_totals(service, add):
    add("delivered", 5, took_s=1)
    add("delivered", 7, took_s=1, country="US", day=TUESDAY)
    add("failed", 2, code=150, country="US", sender="Other", tag="vip")

    assert _rows(service, "day", "sent") == [("2026-03-02", 7), ("2026-03-03", 7)]
    assert _rows(service, "country", "sent", "failed", group_by="country") == [
        ("SE", 5, 0),
        ("US", 9, 2),
    ]
    assert _rows(service, "sender", "day", "sent", group_by="sender,day") == [
        ("Clarion", "2026-03-02", 5),
        ("Clarion", "2026-03-03", 7),
        ("Other", "2026-03-02", 2),
    ]
    assert _rows(service, "tag", "sent", group_by="tag") == [("", 12), ("vip", 2)]
    assert _rows(service, "client", "sent", group_by="client") == [("tests", 14)]
    assert _ask(service, group_by="sender,day")["totals"]["sent"] == 14


def test_what_has_no_code_has_none(service, add):
    add("delivered", 5, took_s=1)
    add("submitted", 3, code=-1)
    add("failed", 2, code=150)

    shown = _rows(service, "code", "sent", "latency_s", group_by="code")

    assert shown == [(None, 3, None), (0, 5, None), (150, 2, None)]
    assert _ask(service, group_by="code")["totals"]["latency_s"]["p50"] is not None


def test_waiting_times_belong_to_what_was_delivered(service, add):
    add("delivered", 5, took_s=10)
    add("delivered", 5, took_s=100, country="US")
    add("failed", 2, code=150)

    by_status = _ask(service, group_by="status")["rows"]
    assert [(row["status"], row["latency_s"] is None) for row in by_status] == [
        ("delivered", False),
        ("failed", True),
    ]
    by_country = _ask(service, group_by="country")["rows"]
    assert [row["latency_s"]["p50"] for row in by_country] == [
        pytest.approx(10, rel=0.06),
        pytest.approx(100, rel=0.06),
    ]
    assert _ask(service)["totals"]["latency_s"]["p99"] == pytest.approx(100, rel=0.06)
    assert _ask(service, status="failed")["totals"]["latency_s"] is None
    assert _ask(service, status="delivered")["totals"]["latency_s"]["p50"] is not None
    assert _ask(service, code=150)["totals"]["latency_s"] is None
    assert _ask(service, country="DE")["totals"]["latency_s"] == {
        "p50": None,
        "p90": None,
        "p99": None,
    }


@pytest.mark.parametrize(
    ("only", "sent"),
    [
        ({}, 15),
        ({"country": "US"}, 4),
        ({"sender": "Other"}, 8),
        ({"tag": "vip"}, 8),
        ({"status": "failed"}, 8),
        ({"code": 150}, 8),
        ({"code": 257}, 0),
        ({"client": "tests"}, 14),
        ({"client": "other"}, 1),
        ({"from": "2026-03-03"}, 4),
        ({"to": "2026-03-02"}, 11),
        ({"from": "2026-03-04"}, 0),
        ({"country": "US", "status": "failed"}, 0),
    ],
)
def test_only_what_is_asked_for_counts(service, add, only, sent):
    add("delivered", 1, client="other")
    add("delivered", 2)
    add("delivered", 4, country="US", day=TUESDAY)
    add("failed", 8, code=150, sender="Other", tag="vip")

    answer = _ask(service, **only)

    assert answer["totals"]["sent"] == sent
    assert sum(row["sent"] for row in answer["rows"]) == sent


def test_texts_from_phones_show_where_they_can_be_told_apart(service, add, add_inbounds):
    add("delivered", 1, took_s=1)
    add_inbounds(5, 1)
    add_inbounds(3, 3, day=TUESDAY, client="")

    shown = [
        (row["day"], row["sent"], row["inbounds"], row["opt_outs"]["texted"])
        for row in _ask(service)["rows"]
    ]
    assert shown == [("2026-03-02", 1, 5, 1), ("2026-03-03", 0, 3, 3)]
    assert _rows(service, "client", "inbounds", group_by="client") == [("", 3), ("tests", 5)]
    assert _ask(service, client="tests")["totals"]["inbounds"] == 5
    for query in ({"group_by": "country"}, {"sender": "Clarion"}, {"group_by": "day,status"}):
        totals = _ask(service, **query)["totals"]
        assert (totals["inbounds"], totals["opt_outs"]["texted"]) == (None, None)


def test_a_client_sees_its_own_alone(service, add, add_inbounds):
    add("delivered", 5, took_s=1)
    add("delivered", 50, took_s=1, client="shop")
    add_inbounds(1, 0, client="shop")
    add_inbounds(3, 0, client="")

    def shrink():
        if g.client:
            g.client = Client("shop", frozenset((KeyScope.READ,)))

    service.before_request(shrink)

    assert _ask(service)["totals"]["sent"] == 50
    assert _ask(service)["totals"]["inbounds"] == 1
    assert _rows(service, "client", "sent", group_by="client") == [("shop", 50)]
    assert _ask(service, client="shop")["totals"]["sent"] == 50
    refused = Caller(service).get("/api/analytics", client="tests")
    assert refused.status_code == 403
    assert refused.get_json()["error"] == "This API key lacks the scope clients:all"


def test_of_nothing_there_is_nothing(service):
    answer = _ask(service)

    assert answer["rows"] == []
    assert answer["totals"]["sent"] == 0
    assert answer["totals"]["delivery_rate"] is None


def test_where_nothing_is_left_there_is_no_row(service, add):
    add("submitted", 0, code=401)
    add("delivered", 3)

    assert _rows(service, "status", "code", group_by="status,code") == [("delivered", 0)]


def test_without_days_it_is_the_last_thirty(service):
    today = datetime.now(UTC).date()

    answer = Caller(service).get("/api/analytics").get_json()

    assert answer["to"] in (today.isoformat(), (today + timedelta(days=1)).isoformat())
    assert date.fromisoformat(answer["to"]) - date.fromisoformat(answer["from"]) == timedelta(29)
    assert answer["group_by"] == ["day"]


def test_the_edges_of_the_calendar_are_days_too(service):
    assert _ask(service, **{"from": "0001-01-01", "to": "0001-01-05"})["rows"] == []
    assert Caller(service).get("/api/analytics", to="0001-01-05").status_code == 200
    assert Caller(service).get("/api/analytics", to="9999-12-31").status_code == 200
    assert _ask(service, **{"from": "2024-01-01", "to": "2024-12-31"})["rows"] == []


def test_the_end_of_every_message_has_its_place(service, add):
    for status in REPORTED:
        add(status.value, 1)

    totals = _ask(service)["totals"]

    parts = sum(totals[name] for name in ("delivered", "failed", "unknown", "submitted"))
    assert parts == totals["sent"] == len(REPORTED)


_REFUSED = [
    ({"from": "yesterday"}, "from"),
    ({"from": "2026-02-30"}, "from"),
    ({"to": "2026-13-01"}, "to"),
    ({"from": "2026-03-08", "to": "2026-03-07"}, "from"),
    ({"from": "2025-03-01", "to": "2026-03-02"}, "from"),
    ({"group_by": "hour"}, "group_by"),
    ({"group_by": ""}, "group_by"),
    ({"group_by": "day,country,sender"}, "group_by"),
    ({"group_by": "day,day"}, "group_by"),
    ({"country": "se"}, "country"),
    ({"country": "SWE"}, "country"),
    ({"status": "pending"}, "status"),
    ({"status": "lost"}, "status"),
    ({"code": "-1"}, "code"),
    ({"code": "x"}, "code"),
    ({"code": str(2**31)}, "code"),
    ({"sender": ""}, "sender"),
    ({"sender": "x" * 17}, "sender"),
    ({"tag": "x" * 65}, "tag"),
    ({"tag": "a\0b"}, "tag"),
    ({"client": ""}, "client"),
    ({"sendr": "Clarion"}, "sendr"),
]


def test_what_cannot_be_asked_is_refused_by_name(service):
    for query, field in _REFUSED:
        answer = Caller(service).get("/api/analytics", **query)

        assert answer.status_code == 400, query
        assert list(answer.get_json()["fields"]) == [field], query


def test_without_a_key_nothing_is_told(service):
    assert service.test_client().get("/api/analytics").status_code == 401


_NO_LANGUAGE = {"field": "language", "op": "exists", "value": False}


@pytest.mark.parametrize(
    ("audience", "tag"),
    [
        ({"any": ["customers"]}, "customers"),
        ({"all": ["customers"]}, "customers"),
        ({"any": ["customers"], "all": ["customers"]}, "customers"),
        ({"any": ["customers"], "none": ["vip"]}, "customers"),
        (
            {
                "any": ["customers"],
                "where": [{"field": "language", "op": "exists", "value": False}],
            },
            "customers",
        ),
        ({"any": ["customers", "vip"]}, ""),
        ({"any": ["customers"], "all": ["press"]}, ""),
        ({"where": [_NO_LANGUAGE]}, ""),
    ],
)
def test_an_audience_of_one_tag_counts_as_that_tag(service, sandbox, audience, tag):
    machine, caller = Machine.over(context_of(service)), Caller(service)
    add_people(machine.ctx, [ANN], tags=["customers", "press"])
    add_people(machine.ctx, [CLO], tags=["vip"])

    answer = caller.post("/api/broadcast", {"audience": audience, "message": "Hi"})

    assert answer.status_code == 202, answer.get_json()
    roll_up_now(machine)
    today = datetime.now(UTC).date()
    days = {"from": (today - timedelta(days=2)).isoformat(), "to": today.isoformat()}
    assert {row["tag"] for row in _ask(service, **days, group_by="tag")["rows"]} == {tag}
    assert caller.show(answer)["tag"] == (tag or None)
