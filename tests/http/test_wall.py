"""The wall between clients, asked of every route in the API document.

Each route is called with no key, a wrong key, a key without its scope, and for an object of another
client.  Bodies are the examples of the document, so that only the wall can refuse them.
"""

import json
import re
import time
from dataclasses import dataclass
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from app.config.scopes import TEST_SCOPES, KeyScope
from app.db.base import Base
from app.keys.store import KeyOptions, create_key, revoke_key
from app.sms.models.reports import OutboxEvent
from app.webhooks.outgoing.fan_out import fan_out_events
from app.worker.jobs import run_polls, sweep
from tests.background import context_of
from tests.callers import PATIENT, Caller, id_of

SHOP, CRM, ADMIN = "shop-key-7f3a", "crm-key-91c2", "admin-key-5d08"
ANN = "+46701234567"
# Stands in everything of the client `crm` that no other client may see.
MARK = "crm-mark-4711"
# Path parameters of what belongs to a client; the others are shared by all.
OWNED = {"broadcast_id", "client_reference", "webhook_id", "delivery_id", "template", "import_id"}


@dataclass(frozen=True)
class Call:
    """One operation of the document, with the example of its body."""

    method: str
    path: str
    scope: str
    body: dict[str, Any]

    @property
    def label(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def names(self) -> list[str]:
        return re.findall(r"{(\w+)}", self.path)

    def send(self, service: Flask, key: str | None, ids: dict[str, Any]) -> Any:
        path = re.sub(r"{(\w+)}", lambda match: str(ids[match[1]]), self.path)
        headers = {} if key is None else {"X-API-Key": key}
        return service.test_client().open(path, method=self.method, headers=headers, **self.body)


def _read_calls(service: Flask) -> list[Call]:
    document = service.test_client().get("/openapi.json").get_json()
    return [
        Call(method.upper(), path, operation["x-scope"], _read_body(operation))
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if path.startswith("/api/") and method != "parameters"
    ]


def _read_body(operation: dict[str, Any]) -> dict[str, Any]:
    for content_type, media in operation.get("requestBody", {}).get("content", {}).items():
        example = media["example"]
        data = example if isinstance(example, str) else json.dumps(example)
        return {"data": data, "content_type": content_type}
    return {}


def _make_objects(service: Flask, sandbox: Any) -> dict[str, Any]:
    """Make something of each kind for `crm`; return its ids by path parameter."""
    crm = Caller(service, CRM)
    sent = crm.send(ANN, message=f"{MARK}: your code is 918273", reference=MARK)
    sandbox.order_fault(on="POST /batches", when="before", do="cut", times=1)
    sandbox.order_fault(on="GET /batches", when="before", do="answer", status=500, times=None)
    crm.send(ANN, message=f"{MARK} lost", reference=MARK)
    sandbox.clear_faults()
    sweep(context_of(service))
    texts = {"texts": {"en": MARK}, "default_language": "en"}
    crm.post("/api/templates", {"name": MARK, **texts})
    webhook = crm.post("/api/webhooks", {"url": f"http://127.0.0.1:1025/{MARK}"}).get_json()
    test = crm.post(f"/api/webhooks/{webhook['webhook_id']}/test").get_json()
    made = crm.post("/api/subscribers/imports", {"tags": [MARK]}).get_json()
    person = crm.post("/api/subscribers", {"phone": ANN, "tags": ["customers"]}).get_json()
    crm.post("/api/audiences", {"name": "vips", "audience": {"any": ["customers"]}})
    crm.post("/api/suppressions", {"phone": "+46707654321"})
    stopped = crm.get("/api/suppressions").get_json()
    attention = crm.get("/api/batches/attention").get_json()["batches"]
    return {
        "broadcast_id": sent.get_json()["broadcast_id"],
        "client_reference": attention[0]["client_reference"],
        "webhook_id": webhook["webhook_id"],
        "delivery_id": test["delivery_id"],
        "template": MARK,
        "version": 1,
        "import_id": made["import_id"],
        "subscriber_id": person["subscriber_id"],
        "suppression_id": stopped["suppressions"][0]["suppression_id"],
        "tag": "customers",
        "audience": "vips",
    }


@pytest.fixture
def service(make_service, either_database, sandbox):
    """A service of three clients; `admin` sees all of them."""
    keys = f"shop:{SHOP},crm:{CRM},admin[* clients:all]:{ADMIN}"
    waits = {"LOOKUP_WAITS_S": "0.01", "UNREADABLE_AFTER_S": "0.001"}
    return make_service(DATABASE_URL=either_database, API_KEYS=keys, **PATIENT | waits)


@pytest.fixture
def ids(service, sandbox):
    return _make_objects(service, sandbox)


def _hide_ids(answer: Any) -> bytes:
    """Return the body without the request id, which is another one in every answer."""
    return re.sub(rb'"request_id":\s*"\w+"', b"", answer.get_data())


def test_without_a_key_or_with_a_wrong_one_no_route_answers(service, ids):
    calls = _read_calls(service)

    without = {call.label: call.send(service, None, ids).status_code for call in calls}
    wrong = {call.label: call.send(service, SHOP[:-1], ids).status_code for call in calls}

    assert len(calls) > 60
    assert set(without.values()) == {401}, without
    assert set(wrong.values()) == {403}, wrong


def test_an_ended_key_of_the_database_opens_no_route(service, ids):
    ctx, every = context_of(service), frozenset(KeyScope)
    elsewhere = KeyOptions(every, networks=("192.0.2.0/24",))
    row, revoked = create_key(ctx.db, ctx.clock, "crm", KeyOptions(every), actor="tests")
    _, foreign = create_key(ctx.db, ctx.clock, "shop", elsewhere, actor="tests")
    assert Caller(service, revoked).get("/api/broadcasts").status_code == 200
    revoke_key(ctx.db, ctx.clock, row.id, actor="tests")
    calls = _read_calls(service)
    # For two seconds a process may know it still.
    time.sleep(2.1)

    for key in (revoked, foreign):
        answers = {call.label: call.send(service, key, ids).status_code for call in calls}
        assert set(answers.values()) == {403}, answers


def test_a_test_key_changes_nothing_by_any_route(service, ids, sandbox):
    ctx = context_of(service)
    _, key = create_key(
        ctx.db, ctx.clock, "crm", KeyOptions(TEST_SCOPES, is_test=True), actor="tests"
    )
    Caller(service, key).get("/api/broadcasts")
    before, posts = _dump(service), sandbox.posts()

    answers = {call.label: call.send(service, key, ids) for call in _read_calls(service)}

    assert {answer.status_code for answer in answers.values()} <= {200, 202, 403, 404, 409}
    assert sandbox.posts() == posts
    assert _dump(service) == before


def _dump(service: Flask) -> dict[str, Any]:
    """Return all rows of all tables, but the entries of exports in the audit log."""
    with context_of(service).db.read() as tx:
        rows = {
            table.name: [tuple(row) for row in tx.execute(select(table))]
            for table in Base.metadata.sorted_tables
        }
    rows["audit"] = [row for row in rows["audit"] if "export" not in row]
    return rows


def test_what_belongs_to_another_client_is_a_404_like_what_does_not_exist(service, ids):
    calls = [call for call in _read_calls(service) if OWNED.intersection(call.names)]
    unknown = {**ids, **dict.fromkeys(OWNED, "0" * 26), "client_reference": "unknown"}
    unknown["template"] = "nothing-4711x"
    before = [Caller(service, CRM).show(ids["broadcast_id"]), _list_all(service, CRM)]

    others = {call.label: call.send(service, SHOP, ids) for call in calls}
    missing = {call.label: call.send(service, SHOP, unknown) for call in calls}

    assert len(calls) > 20
    assert {label: answer.status_code for label, answer in others.items()} == dict.fromkeys(
        others, 404
    )
    bodies = {label: _hide_ids(answer) for label, answer in others.items()}
    # A template is looked up by its name, which the answer repeats.
    assert {
        label: body.replace(MARK.encode(), b"nothing-4711x") for label, body in bodies.items()
    } == {label: _hide_ids(answer) for label, answer in missing.items()}
    assert [Caller(service, CRM).show(ids["broadcast_id"]), _list_all(service, CRM)] == before


def _list_all(service: Flask, key: str) -> dict[str, Any]:
    """Return the answers of all lists that take no path parameter."""
    return {
        call.label: call.send(service, key, {}).get_data(as_text=True)
        for call in _read_calls(service)
        if call.method == "GET" and not call.names and call.path != "/api/analytics"
    }


def test_no_list_search_or_export_shows_another_client_anything(service, ids):
    searches = {"POST /api/messages/search", "GET /api/subscribers/{subscriber_id}/export"}
    calls = [
        call
        for call in _read_calls(service)
        if (call.method == "GET" and not OWNED.intersection(call.names)) or call.label in searches
    ]
    for call in calls:
        if call.label in searches and call.body:
            call.body["data"] = json.dumps({"recipient": ANN})

    seen = {
        key: {
            call.label
            for call in calls
            if re.search(
                "|".join([MARK, *(str(ids[name]) for name in OWNED)]),
                call.send(service, key, ids).get_data(as_text=True),
            )
        }
        for key in (SHOP, CRM, ADMIN)
    }

    # Tags are shared; the import gave its tag to nobody.
    assert seen[SHOP] == set()
    assert (
        seen[CRM]
        == seen[ADMIN]
        == searches
        | {
            "GET /api/broadcasts",
            "GET /api/batches/attention",
            "GET /api/templates",
            "GET /api/subscribers/imports",
            "GET /api/webhooks",
        }
    )


def test_without_its_scope_no_route_answers_and_the_error_names_it(make_service, sandbox):
    every = " ".join(sorted(KeyScope))
    keys = {scope: f"key-without-{scope.replace(':', '-')}" for scope in KeyScope}
    entries = [
        f"client[{every.replace(scope, '', 1) if scope in every else every}]:{key}"
        for scope, key in keys.items()
    ]
    service = make_service(API_KEYS=",".join(entries))
    calls = _read_calls(service)
    ids = dict.fromkeys([*OWNED, "subscriber_id", "suppression_id", "tag", "audience"], "0" * 26)

    answers = {
        call.label: call.send(service, keys[KeyScope(call.scope)], {**ids, "version": 1})
        for call in calls
    }

    assert {label: answer.status_code for label, answer in answers.items()} == dict.fromkeys(
        answers, 403
    )
    assert {label: answer.get_json()["error"] for label, answer in answers.items()} == {
        call.label: f"This API key lacks the scope {call.scope}" for call in calls
    }
    used = {call.scope for call in calls}
    assert set(KeyScope) - used == {KeyScope.SEND_TRANSACTIONAL, KeyScope.ALL_CLIENTS}


def test_with_its_scope_alone_each_route_answers(make_service, sandbox):
    keys = {scope: f"key-with-{scope.replace(':', '-')}" for scope in KeyScope}
    entries = [f"client[{scope}]:{key}" for scope, key in keys.items()]
    service = make_service(API_KEYS=",".join(entries))
    ids = dict.fromkeys([*OWNED, "subscriber_id", "suppression_id", "tag", "audience"], "0" * 26)

    refused = {
        call.label: answer.get_json()["error"]
        for call in _read_calls(service)
        if (answer := call.send(service, keys[KeyScope(call.scope)], {**ids, "version": 1}))
        and answer.status_code in (401, 403)
    }

    # A notice needs another scope beside that for sending, and texts in a webhook that of numbers.
    assert set(refused.values()) == {
        "This API key lacks the scope broadcasts:transactional",
        "This API key lacks the scope messages:read, which inbound.received needs",
    }
    assert {label.split()[1].split("/")[2] for label in refused} == {"broadcast", "webhooks"}


def test_subscribers_tags_suppressions_and_inbound_texts_are_shared(service, ids, sandbox):
    shop = Caller(service, SHOP)

    assert shop.get(f"/api/subscribers/{ids['subscriber_id']}").get_json()["phone"] == ANN
    assert shop.get("/api/tags/customers").status_code == 200
    assert len(shop.get("/api/suppressions").get_json()["suppressions"]) == 1
    assert shop.get("/api/inbounds").status_code == 200


def test_a_text_is_told_only_to_the_client_whose_broadcast_it_answers(service, sandbox):
    hook = {"url": "http://127.0.0.1:8009/hook", "event_types": ["inbound.received"]}
    callers = [Caller(service, key) for key in (SHOP, CRM, ADMIN)]
    hooks = [caller.post("/api/webhooks", hook).get_json()["webhook_id"] for caller in callers]
    shop, crm = callers[0].send(ANN, message="From the shop"), callers[1].send(ANN)
    sandbox.text_from(ANN, "Thanks")
    run_polls(context_of(service))
    fan_out_events(context_of(service))

    told = [
        len(caller.get(f"/api/webhooks/{webhook_id}/deliveries").get_json()["deliveries"])
        for caller, webhook_id in zip(callers, hooks, strict=True)
    ]
    with context_of(service).db.read() as tx:
        facts = tx.execute(select(OutboxEvent.facts)).scalars().all()
    shown = [caller.get("/api/inbounds").get_json()["inbounds"] for caller in callers]

    assert told == [0, 1, 0]
    assert [each["broadcast_id"] for each in facts] == [id_of(crm)]
    assert [[row["broadcast_id"] for row in rows] for rows in shown] == [
        [None],
        [id_of(crm)],
        [id_of(crm)],
    ]
    assert id_of(shop) != id_of(crm)


def test_the_scope_clients_all_lifts_the_wall(service, ids):
    admin = Caller(service, ADMIN)

    assert admin.ids(client="crm")[-1] == ids["broadcast_id"]
    assert admin.get(f"/api/templates/{MARK}").get_json()["client"] == "crm"
    assert admin.get(f"/api/webhooks/{ids['webhook_id']}").status_code == 200
    assert admin.get(f"/api/subscribers/imports/{ids['import_id']}").status_code == 200
    assert admin.get("/api/analytics", client="crm").status_code == 200
    refused = Caller(service, SHOP).get("/api/broadcasts", client="crm")
    assert refused.status_code == 403
    assert refused.get_json()["error"] == "This API key lacks the scope clients:all"


def test_two_clients_may_have_templates_of_one_name_and_each_sends_its_own(service, sandbox):
    shop, crm, admin = (Caller(service, key) for key in (SHOP, CRM, ADMIN))
    for caller, text in ((shop, "From the shop"), (crm, "From the CRM")):
        body = {"name": "hi", "texts": {"en": text}, "default_language": "en"}
        assert caller.post("/api/templates", body).status_code == 201

    search = ("/api/messages/search", {"recipient": ANN})

    for caller in (shop, crm):
        body = {"recipients": [ANN], "template": {"name": "hi"}}
        assert caller.post("/api/broadcast", body).status_code == 202

    found = [
        [message["text"] for message in caller.post(*search).get_json()["messages"]]
        for caller in (shop, crm, admin)
    ]
    both = ["From the CRM", "From the shop"]
    assert found == [["From the shop"], ["From the CRM"], both]
    assert shop.post("/api/templates", body | {"x": 1}).status_code == 400
    conflict = admin.get("/api/templates/hi")
    assert conflict.status_code == 409
    assert "Several clients have a template hi" in conflict.get_json()["error"]
    own = {"name": "hi", "texts": {"en": "From us"}, "default_language": "en"}
    assert admin.post("/api/templates", own).status_code == 201
    assert admin.get("/api/templates/hi").get_json()["texts"] == {"en": "From us"}
    assert crm.delete("/api/templates/hi").status_code == 204
    assert shop.get("/api/templates/hi").get_json()["archived_at"] is None


def test_a_client_may_have_several_keys_so_that_one_replaces_another(make_service, sandbox):
    service = make_service(API_KEYS="shop:old-key-1234,shop[broadcasts:read]:new-key-5678")
    old, new = Caller(service, "old-key-1234"), Caller(service, "new-key-5678")

    made = old.send(ANN)

    assert new.show(made)["client"] == "shop"
    assert new.send(ANN).status_code == 403


def test_every_example_of_the_document_succeeds_as_it_stands(service, sandbox):
    calls = {call.label: call for call in _read_calls(service) if call.body}
    first = [calls.pop(label) for label in ("POST /api/tags", "POST /api/subscribers")]
    answers = {call.label: call.send(service, CRM, {}) for call in first}
    ids = _make_objects(service, sandbox)
    # What releases and erases comes last.
    last = ("/release", "/erase")
    for call in sorted(calls.values(), key=lambda call: call.path.endswith(last)):
        answers[call.label] = call.send(service, CRM, ids)

    refused = {
        label: answer.get_json()["error"]
        for label, answer in answers.items()
        if answer.status_code not in (200, 201, 202)
    }

    # The first asks for a network; the second for a broadcast that did not reach someone.
    assert refused.pop("POST /api/webhooks", None) in (None, "url: Its name does not resolve")
    assert set(refused) <= {"POST /api/broadcasts/{broadcast_id}/resend-undelivered"}, refused
