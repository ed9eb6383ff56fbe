"""Webhooks over HTTP: each client sees and manages its own, and no others."""

import dataclasses

import pytest
from flask import g
from sqlalchemy import select, update
from standardwebhooks import Webhook

from app.auth import SCOPE_MARK
from app.config.scopes import KeyScope
from app.db.audit import AuditEntry
from app.operate.audit import list_entries
from app.sms.lifecycle.outbox import EventType, enqueue_event
from app.sms.models.reports import OutboxEvent
from app.webhooks.outgoing.deliver import deliver_next
from app.webhooks.outgoing.endpoints import MAX_ENDPOINTS
from app.webhooks.outgoing.fan_out import fan_out_events
from app.webhooks.outgoing.http_client import WebhookHttpClient
from app.webhooks.outgoing.lease import Pool
from app.webhooks.outgoing.models import Delivery, DeliveryStatus, Endpoint, EndpointStatus
from tests.callers import OTHER_KEY, TWO_CLIENTS, Caller
from tests.factories import in_hours
from tests.webhooks.outgoing.receivers import NOWHERE, refuse

ALL_KINDS = [
    "broadcast.completed",
    "broadcast.all_reported",
    "messages.updated",
    "inbound.received",
    "cap.neared",
    "cap.reached",
]
UNKNOWN = "06eadcew01ykq3f2yhftk7dbp0"


class Manager(Caller):
    """A client that manages its webhooks."""

    def open(self, method, path, body=None):
        return self._http.open(path, method=method, json=body, headers=self._headers)


@pytest.fixture
def service(make_service, database_url):
    return make_service(API_KEYS=TWO_CLIENTS)


@pytest.fixture
def caller(service):
    return Manager(service)


@pytest.fixture
def other(service):
    return Manager(service, OTHER_KEY)


@pytest.fixture
def tell(service):
    """A function that notes events and posts all that is due."""
    ctx, webhook_client = service.extensions["clarion"], service.extensions["webhook_client"]

    def work(count=0, *, event_type=EventType.BROADCAST_COMPLETED):
        with ctx.db.write() as tx:
            for _ in range(count):
                enqueue_event(tx, ctx, client="tests", event_type=event_type, facts={})
        fan_out_events(ctx)
        while any(deliver_next(ctx, webhook_client, lane) for lane in Pool):
            pass

    return work


def _create(caller, url=NOWHERE, **more):
    answer = caller.post("/api/webhooks", {"url": url, **more})
    assert answer.status_code == 201, answer.text
    return answer.get_json()


def _deliveries(caller, made, **query):
    answer = caller.get(f"/api/webhooks/{made['webhook_id']}/deliveries", **query)
    assert answer.status_code == 200, answer.text
    return answer.get_json()["deliveries"]


def _patch(caller, made, body):
    return caller.open("PATCH", f"/api/webhooks/{made['webhook_id']}", body)


def _delete(caller, made):
    return caller.open("DELETE", f"/api/webhooks/{made['webhook_id']}")


def test_a_webhook_is_made_and_its_secret_shown_this_once(caller):
    made = _create(
        caller, event_types=["inbound.received", "broadcast.completed", "inbound.received"]
    )

    secret, created_at = made.pop("secret"), made.pop("created_at")
    shown = caller.get(f"/api/webhooks/{made['webhook_id']}").get_json()
    listed = caller.get("/api/webhooks").get_json()
    assert secret.startswith("whsec_")
    assert len(Webhook(secret)._whsecret) == 32
    assert shown == {**made, "created_at": created_at}
    assert listed == {"webhooks": [shown]}
    assert "secret" not in shown
    assert made == {
        "webhook_id": made["webhook_id"],
        "url": NOWHERE,
        "event_types": ["broadcast.completed", "inbound.received"],
        "status": "active",
        "delivered_at": None,
        "failing_since": None,
        "failures": 0,
        "problem": None,
        "old_secret_until": None,
    }


def test_without_a_choice_it_listens_to_everything(caller):
    assert _create(caller)["event_types"] == ALL_KINDS


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "url"),
        ({"url": None}, "url"),
        ({"url": 7}, "url"),
        ({"url": ""}, "url"),
        ({"url": "x" * 2_001}, "url"),
        ({"url": "   "}, "url"),
        ({"url": "https://example.com./hook"}, "url"),
        ({"url": "https://münchen.example/hook"}, "url"),
        ({"url": "https://user:password@example.com/"}, "url"),
        ({"url": "http://example.com/"}, "url"),
        ({"url": "https://10.0.0.1/"}, "url"),
        ({"url": "https://169.254.169.254/latest"}, "url"),
        ({"url": "https://[::ffff:127.0.0.1]/"}, "url"),
        ({"url": "http://127.0.0.1:22/"}, "url"),
        ({"url": "http://127.0.0.1:8000/\0"}, "url"),
        ({"url": NOWHERE, "event_types": []}, "event_types"),
        ({"url": NOWHERE, "event_types": ["webhook.test"]}, "event_types"),
        ({"url": NOWHERE, "event_types": ["*"]}, "event_types"),
        ({"url": NOWHERE, "event_types": "broadcast.completed"}, "event_types"),
        ({"url": NOWHERE, "event_types": [None]}, "event_types"),
        ({"url": NOWHERE, "event_types": ["broadcast.completed"] * 7}, "event_types"),
        ({"url": NOWHERE, "secret": "whsec_mine"}, "secret"),
    ],
)
def test_what_is_wrong_is_told_by_field_and_makes_nothing(caller, body, field):
    answer = caller.post("/api/webhooks", body)

    assert answer.status_code == 400
    assert [*answer.get_json()["fields"]] == [field]
    assert caller.get("/api/webhooks").get_json() == {"webhooks": []}


def test_a_url_is_taken_as_people_paste_it(caller):
    made = _create(caller, f" {NOWHERE.replace('http', 'HTTP', 1)}Hook\n")
    kept = _patch(caller, made, {"url": f"{NOWHERE}Hook"}).get_json()

    assert made["url"] == kept["url"] == f"{NOWHERE}Hook"


def test_a_name_that_does_not_resolve_is_told(caller, service):
    service.extensions["webhook_client"] = WebhookHttpClient(
        production=True, resolve=_resolve_nothing
    )

    answer = caller.post("/api/webhooks", {"url": "https://no-such-name.invalid/"})

    assert answer.status_code == 400
    assert answer.get_json()["fields"] == {"url": ["Its name does not resolve."]}


def _resolve_nothing(host, port, within_s):
    raise OSError


def test_a_client_has_so_many_and_no_more(caller, other):
    made = [_create(caller) for _ in range(MAX_ENDPOINTS)]

    refused = caller.post("/api/webhooks", {"url": NOWHERE})

    assert refused.status_code == 409
    assert str(MAX_ENDPOINTS) in refused.get_json()["error"]
    _create(other)
    _delete(caller, made[0])
    _create(caller)


def test_a_change_changes_what_is_given_alone(caller):
    made = _create(caller)
    del made["secret"]

    moved = _patch(caller, made, {"url": "http://127.0.0.1:1026/"}).get_json()
    fewer = _patch(caller, made, {"event_types": ["broadcast.all_reported"]}).get_json()
    nothing = _patch(caller, made, {})

    assert moved == {**made, "url": "http://127.0.0.1:1026/"}
    assert fewer == {**moved, "event_types": ["broadcast.all_reported"]}
    assert (nothing.status_code, nothing.get_json()) == (200, fewer)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"url": None}, "url"),
        ({"url": "https://127.0.0.2:1/"}, "url"),
        ({"event_types": []}, "event_types"),
        ({"enabled": "yes"}, "enabled"),
        ({"enabled": None}, "enabled"),
        ({"status": "active"}, "status"),
    ],
)
def test_a_wrong_change_changes_nothing(caller, body, field):
    made = _create(caller)
    del made["secret"]

    answer = _patch(caller, made, {"event_types": ["broadcast.all_reported"], **body})

    assert answer.status_code == 400
    assert [*answer.get_json()["fields"]] == [field]
    assert caller.get("/api/webhooks").get_json()["webhooks"] == [made]


def test_switched_off_and_on_again_it_gets_what_came_meanwhile(caller, receive, tell):
    receiver = receive()
    made = _create(caller, receiver.url)

    off = _patch(caller, made, {"enabled": False}).get_json()
    tell(2)
    told_while_off = len(receiver.told)
    on = _patch(caller, made, {"enabled": True}).get_json()
    tell()

    assert (off["status"], on["status"]) == ("off", "active")
    assert (told_while_off, len(receiver.told)) == (0, 2)


@pytest.mark.parametrize("status", [EndpointStatus.FAILED, EndpointStatus.GONE])
def test_one_that_was_switched_off_is_given_every_chance_again(caller, service, status):
    made = _create(caller)
    _alter(service, status=status, failures=30, problem="HTTP 500.", quick=0)

    still = _patch(caller, made, {"enabled": False}).get_json()
    on = _patch(caller, made, {"enabled": True}).get_json()

    assert (still["status"], still["failures"]) == (status.value, 30)
    assert (on["status"], on["failures"], on["problem"]) == ("active", 0, None)


def test_a_new_secret_signs_at_once_and_the_old_one_for_a_day(caller, receive, tell):
    receiver = receive()
    made = _create(caller, receiver.url)

    rotated = caller.post(f"/api/webhooks/{made['webhook_id']}/rotate-secret")
    tell(1)

    assert rotated.status_code == 200
    assert rotated.get_json()["old_secret_until"] is not None
    assert rotated.get_json()["secret"] != made["secret"]
    (told,) = receiver.told
    for secret in (made["secret"], rotated.get_json()["secret"]):
        Webhook(secret).verify(told.body, told.headers)


def test_a_test_is_posted_whatever_it_listens_to(caller, receive, tell):
    receiver = receive()
    made = _create(caller, receiver.url, event_types=["broadcast.all_reported"])

    answer = caller.post(f"/api/webhooks/{made['webhook_id']}/test")
    waiting = answer.get_json()
    tell()

    assert answer.status_code == 202
    assert (waiting["type"], waiting["status"], waiting["tries"]) == (
        "webhook.test",
        "waiting",
        0,
    )
    (event,) = receiver.events()
    assert event["type"] == "webhook.test"
    assert event["id"] == waiting["delivery_id"]
    assert event["data"] == {"webhook_id": made["webhook_id"]}
    Webhook(made["secret"]).verify(receiver.told[0].body, receiver.told[0].headers)
    (delivery,) = _deliveries(caller, made)
    assert (delivery["status"], delivery["http_status"]) == ("delivered", 200)


def test_deliveries_are_listed_the_newest_first_page_by_page(caller, receive, tell):
    receiver = receive(first=[refuse("500 No")])
    made = _create(caller, receiver.url)
    tell(5)

    whole = _deliveries(caller, made)
    pages, query = [], {"limit": 2}
    while True:
        page = caller.get(f"/api/webhooks/{made['webhook_id']}/deliveries", **query).get_json()
        pages.append(page["deliveries"])
        if page["cursor"] is None:
            break
        query["cursor"] = page["cursor"]

    assert [len(page) for page in pages] == [2, 2, 1]
    assert [each for page in pages for each in page] == whole
    assert sorted(receiver.ids()) == sorted(each["delivery_id"] for each in whole)
    waiting = _deliveries(caller, made, status="waiting")
    assert len(waiting) == 1
    assert len(_deliveries(caller, made, status="delivered")) == 4
    assert waiting == whole[-1:]
    del waiting[0]["created_at"]
    assert {**waiting[0], "duration_ms": 0} == {
        "delivery_id": receiver.ids()[0],
        "type": "broadcast.completed",
        "status": "waiting",
        "tries": 1,
        "next_try_at": waiting[0]["next_try_at"],
        "tried_at": waiting[0]["tried_at"],
        "duration_ms": 0,
        "http_status": 500,
        "problem": "HTTP 500.",
    }


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"cursor": "x"}, "cursor"),
        ({"cursor": "-1"}, "cursor"),
        ({"cursor": "9" * 30}, "cursor"),
        ({"cursor": "١"}, "cursor"),
        ({"limit": 0}, "limit"),
        ({"limit": 201}, "limit"),
        ({"status": "lost"}, "status"),
        ({"since": "2026-01-01"}, "since"),
    ],
)
def test_a_wrong_question_is_told_by_field(caller, query, field):
    made = _create(caller)

    answer = caller.get(f"/api/webhooks/{made['webhook_id']}/deliveries", **query)

    assert answer.status_code == 400
    assert [*answer.get_json()["fields"]] == [field]


def test_one_delivery_is_posted_again_under_the_same_id(caller, service, receive, tell):
    receiver = receive()
    made = _create(caller, receiver.url)
    tell(2)
    first = receiver.ids()[0]

    answer = caller.post(f"/api/webhooks/{made['webhook_id']}/deliveries/{first}/replay")
    tell()

    assert answer.status_code == 202
    assert (answer.get_json()["status"], answer.get_json()["tries"]) == ("waiting", 0)
    assert receiver.ids().count(first) == 2
    assert len(receiver.told) == 3
    assert {each["status"] for each in _deliveries(caller, made)} == {"delivered"}
    assert _read_replays(service) == [{"event": first}]


def test_those_given_up_since_a_time_are_posted_again(caller, service, receive, tell):
    receiver = receive()
    made = _create(caller, receiver.url)
    tell(3)
    for event_id in receiver.ids()[1:]:
        _give_up(service, event_id)
    path = f"/api/webhooks/{made['webhook_id']}/replay"

    none = caller.post(path, {"since": in_hours(1)})
    some = caller.post(path, {"since": in_hours(-1)})
    tell()
    everything = caller.post(path, {"since": in_hours(-1), "delivered": True})
    tell()

    assert [each.status_code for each in (none, some, everything)] == [202] * 3
    assert [each.get_json()["replayed"] for each in (none, some, everything)] == [0, 2, 3]
    assert len(receiver.told) == 3 + 2 + 3
    assert [facts["events"] for facts in _read_replays(service)] == [0, 2, 3]


def _read_replays(service):
    """Return the facts of the audit log's entries about replays of this client."""
    only = {"actor": "tests", "action": "replay webhook"}
    page = list_entries(service.extensions["clarion"].db, only=only)
    return [entry.facts for entry in reversed(page.rows)]


def _alter(service, **values):
    with service.extensions["clarion"].db.write() as tx:
        tx.execute(update(Endpoint).values(**values))


def _give_up(service, event_public_id):
    event = select(OutboxEvent.id).where(OutboxEvent.public_id == event_public_id)
    abandoned = update(Delivery).where(Delivery.event_id == event.scalar_subquery())
    with service.extensions["clarion"].db.write() as tx:
        tx.execute(abandoned.values(status=DeliveryStatus.ABANDONED, due_at=None))


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "since"),
        ({"since": "yesterday"}, "since"),
        ({"since": "2026-01-01T00:00:00"}, "since"),
        ({"since": None}, "since"),
        ({"since": "2026-01-01T00:00:00Z", "delivered": "yes"}, "delivered"),
    ],
)
def test_a_replay_needs_a_time_with_its_offset(caller, body, field):
    made = _create(caller)

    answer = caller.post(f"/api/webhooks/{made['webhook_id']}/replay", body)

    assert answer.status_code == 400
    assert [*answer.get_json()["fields"]] == [field]


@pytest.mark.parametrize("what", ["test", "replay", "deliveries/{delivery}/replay"])
def test_nothing_is_asked_of_one_that_is_off(caller, receive, tell, what):
    made = _create(caller, receive().url)
    tell(1)
    (delivery,) = _deliveries(caller, made)
    _patch(caller, made, {"enabled": False})
    path = f"/api/webhooks/{made['webhook_id']}/{what.format(delivery=delivery['delivery_id'])}"

    answer = caller.post(path, {"since": "2020-01-01T00:00:00Z"} if what == "replay" else None)

    assert answer.status_code == 409
    assert answer.get_json()["status"] == "off"
    assert [each["status"] for each in _deliveries(caller, made)] == ["delivered"]


def test_deleted_it_is_gone_with_its_deliveries(caller, receive, tell):
    receiver = receive()
    made = _create(caller, receiver.url)
    kept = _create(caller, receiver.url)
    tell(2)

    answer = _delete(caller, made)

    assert (answer.status_code, answer.data) == (204, b"")
    assert caller.get(f"/api/webhooks/{made['webhook_id']}").status_code == 404
    listed = caller.get("/api/webhooks").get_json()["webhooks"]
    assert [each["webhook_id"] for each in listed] == [kept["webhook_id"]]
    assert len(_deliveries(caller, kept)) == 2
    tell(1)
    assert len(receiver.told) == 2 * 2 + 1


def _calls(made, delivery):
    """Every call about one webhook."""
    one = f"/api/webhooks/{made['webhook_id']}"
    return [
        ("GET", one, None),
        ("PATCH", one, {"enabled": False}),
        ("POST", f"{one}/rotate-secret", None),
        ("POST", f"{one}/test", None),
        ("GET", f"{one}/deliveries", None),
        ("POST", f"{one}/deliveries/{delivery}/replay", None),
        ("POST", f"{one}/replay", {"since": "2020-01-01T00:00:00Z", "delivered": True}),
        ("DELETE", one, None),
    ]


def _try_all(caller, calls):
    return [caller.open(*call).status_code for call in calls]


def test_another_clients_webhook_is_as_if_it_were_not_there(caller, other, receive, tell):
    receiver = receive()
    made = _create(caller, receiver.url)
    tell(1)
    (delivery,) = _deliveries(caller, made)
    calls = _calls(made, delivery["delivery_id"])
    before = caller.get(f"/api/webhooks/{made['webhook_id']}").get_json()

    theirs = _try_all(other, calls)

    assert theirs == [404] * len(calls)
    assert other.get("/api/webhooks").get_json() == {"webhooks": []}
    assert caller.get(f"/api/webhooks/{made['webhook_id']}").get_json() == before
    tell()
    assert len(receiver.told) == 1


def test_another_clients_delivery_is_not_posted_to_ones_own(caller, other, receive, tell):
    ours, theirs = receive(), receive()
    _create(caller, ours.url)
    made = _create(other, theirs.url)
    tell(1)
    (event_id,) = ours.ids()

    answer = other.post(f"/api/webhooks/{made['webhook_id']}/deliveries/{event_id}/replay")
    tell()

    assert answer.status_code == 404
    assert theirs.told == []


@pytest.mark.parametrize("webhook_id", [UNKNOWN, "x", "%00", "é", "../broadcasts"])
def test_an_unknown_one_is_told_as_such(caller, webhook_id):
    calls = _calls({"webhook_id": webhook_id}, UNKNOWN)

    assert set(_try_all(caller, calls)) == {404}


@pytest.fixture
def scoped(make_service):
    """A function that makes a caller whose key has these scopes alone."""

    def make(*scopes):
        service = make_service()

        def narrow():
            g.client = dataclasses.replace(g.client, scopes=frozenset(scopes))

        service.before_request(narrow)
        return Manager(service)

    return make


def test_who_may_not_manage_webhooks_does_not(scoped, service):
    caller = scoped(*(frozenset(KeyScope) - {KeyScope.MANAGE_WEBHOOKS}))
    calls = [
        ("GET", "/api/webhooks", None),
        ("POST", "/api/webhooks", {"url": NOWHERE}),
        *_calls({"webhook_id": UNKNOWN}, UNKNOWN),
    ]

    assert _try_all(caller, calls) == [403] * len(calls)
    views = {
        name: getattr(view, SCOPE_MARK)
        for name, view in service.view_functions.items()
        if name.startswith("client_webhooks.")
    }
    assert (len(views), set(views.values())) == (10, {KeyScope.MANAGE_WEBHOOKS})


def test_who_may_not_see_numbers_is_not_told_them_either(scoped):
    caller = scoped(KeyScope.MANAGE_WEBHOOKS)

    everything = caller.post("/api/webhooks", {"url": NOWHERE})
    inbounds = caller.post("/api/webhooks", {"url": NOWHERE, "event_types": ["inbound.received"]})
    made = _create(caller, event_types=["broadcast.completed"])
    more = _patch(caller, made, {"event_types": ["messages.updated"]})

    assert [each.status_code for each in (everything, inbounds, more)] == [403] * 3
    assert KeyScope.READ_NUMBERS in more.get_json()["error"]
    assert caller.get("/api/webhooks").get_json()["webhooks"][0]["event_types"] == [
        "broadcast.completed"
    ]


def test_who_may_not_see_numbers_leads_them_nowhere_else(scoped, make_service):
    made = _create(Manager(make_service()))
    caller = scoped(KeyScope.MANAGE_WEBHOOKS)

    moved = _patch(caller, made, {"url": "http://127.0.0.1:1026/"})

    assert moved.status_code == 403
    assert caller.get("/api/webhooks").get_json()["webhooks"][0]["url"] == NOWHERE


def test_every_change_is_kept_in_the_audit(caller, service):
    made = _create(caller)
    _patch(caller, made, {"enabled": False})
    caller.post(f"/api/webhooks/{made['webhook_id']}/rotate-secret")
    _delete(caller, made)

    with service.extensions["clarion"].db.read() as tx:
        rows = tx.execute(select(AuditEntry.__table__).order_by(AuditEntry.id)).all()
    assert [(row.actor, row.action, row.subject) for row in rows] == [
        ("tests", action, made["webhook_id"])
        for action in (
            "create webhook",
            "change webhook",
            "rotate webhook secret",
            "delete webhook",
        )
    ]
    assert [row.facts for row in rows] == [None] * 4
