"""The API document is true: every route is in it, and no answer is outside of it."""

import json
import re
from collections import Counter
from itertools import count
from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from app.auth import PAGE, PUBLIC, SCOPE_MARK
from app.config.scopes import KeyScope
from app.phone.e164 import normalise_number
from app.worker.jobs import sweep
from tests.conftest import examples
from tests.factories import AUTH, broadcast_to, in_hours, many_numbers

ROOT = Path(__file__).parents[2]
# Not part of the document: its own pages, callbacks in Sinch's format, and Prometheus's metrics.
UNDOCUMENTED = {
    "/",
    "/docs",
    "/docs/",
    "/docs/assets/{name}",
    "/metrics",
    "/openapi.json",
    "/static/{filename}",
    "/webhooks/sinch",
}
DOCUMENTED_5XX = {502, 503}
# No server listens there.
WEBHOOK = "http://127.0.0.1:1025/hook"
ANN = "+46701234567"
# Valid values by field, used instead of random ones: no random URL leads anywhere, and no random
# number is in use.
RIGHT = {
    "url": WEBHOOK,
    "phone": ANN,
    "texts": {"en": "Hi ${name}"},
    "default_language": "en",
    "language": "sv",
    "time_zone": "Europe/Stockholm",
    "sender": "Clarion",
}


def test_every_route_is_in_the_document(service):
    documented = set(service.test_client().get("/openapi.json").get_json()["paths"])

    routes = {
        re.sub("<(?:[a-z]+:)?([a-z_]+)>", r"{\1}", rule.rule)
        for rule in service.url_map.iter_rules()
        if getattr(service.view_functions[rule.endpoint], SCOPE_MARK, None) != PAGE
    }
    assert routes - UNDOCUMENTED == documented


def test_the_committed_document_is_the_one_served(service):
    served = service.test_client().get("/openapi.json").get_json()

    assert json.loads((ROOT / "docs/openapi.json").read_text()) == served, "run: make openapi"


def test_every_route_says_which_scope_it_needs_or_that_it_is_public(service):
    views = {
        endpoint: getattr(view, SCOPE_MARK, None)
        for endpoint, view in service.view_functions.items()
        if not endpoint.endswith(".static")
    }

    assert [endpoint for endpoint, scope in views.items() if scope is None] == []
    assert {
        endpoint: scope for endpoint, scope in views.items() if scope not in (PUBLIC, PAGE)
    } == {
        "sms.create_broadcast": KeyScope.SEND,
        "sms.create_tag_broadcast": KeyScope.SEND,
        "quotes.quote_broadcast": KeyScope.SEND,
        "sms.list_broadcasts": KeyScope.READ,
        "sms.show_broadcast": KeyScope.READ,
        "sms.show_delivery": KeyScope.READ,
        "messages.list_messages": KeyScope.READ_NUMBERS,
        "sms.pause_broadcast": KeyScope.CONTROL,
        "sms.resume_broadcast": KeyScope.CONTROL,
        "sms.cancel_broadcast": KeyScope.CONTROL,
        "messages.export_broadcast_messages": KeyScope.READ,
        "sms.resend_undelivered": KeyScope.SEND,
        "messages.search_messages": KeyScope.READ_NUMBERS,
        "inbounds.list_inbounds": KeyScope.READ,
        "analytics.query_analytics": KeyScope.READ,
        "prices.show_prices": KeyScope.READ,
        "prices.replace_prices": KeyScope.MANAGE_PRICES,
        "audiences.list_audiences": KeyScope.READ_SUBSCRIBERS,
        "audiences.save_audience": KeyScope.WRITE_SUBSCRIBERS,
        "audiences.change_audience": KeyScope.WRITE_SUBSCRIBERS,
        "audiences.delete_audience": KeyScope.WRITE_SUBSCRIBERS,
        "subscribers.list_subscribers": KeyScope.READ_SUBSCRIBERS,
        "subscribers.create_subscriber": KeyScope.WRITE_SUBSCRIBERS,
        "subscribers.upsert_subscribers": KeyScope.WRITE_SUBSCRIBERS,
        "subscribers.look_up_subscriber": KeyScope.READ_SUBSCRIBERS,
        "subscribers.show_subscriber": KeyScope.READ_SUBSCRIBERS,
        "subscribers.change_subscriber": KeyScope.WRITE_SUBSCRIBERS,
        "subscribers.delete_subscriber": KeyScope.WRITE_SUBSCRIBERS,
        "subscribers.export_subscriber": KeyScope.READ_SUBSCRIBERS,
        "tags.list_tags": KeyScope.READ_SUBSCRIBERS,
        "tags.create_tag": KeyScope.WRITE_SUBSCRIBERS,
        "tags.show_tag": KeyScope.READ_SUBSCRIBERS,
        "tags.change_tag": KeyScope.WRITE_SUBSCRIBERS,
        "tags.delete_tag": KeyScope.WRITE_SUBSCRIBERS,
        "tags.change_tag_subscribers": KeyScope.WRITE_SUBSCRIBERS,
        "templates.list_templates": KeyScope.READ,
        "templates.create_template": KeyScope.MANAGE_TEMPLATES,
        "templates.read_template": KeyScope.READ,
        "templates.replace_template": KeyScope.MANAGE_TEMPLATES,
        "templates.archive_template": KeyScope.MANAGE_TEMPLATES,
        "templates.read_template_version": KeyScope.READ,
        "batches.list_batches_for_attention": KeyScope.OPERATE,
        "batches.decide_about_batch": KeyScope.OPERATE,
        "erasures.erase_subscriber": KeyScope.OVERSEE_SUBSCRIBERS,
        "erasures.erase_number": KeyScope.OVERSEE_SUBSCRIBERS,
        "suppressions.list_suppressions": KeyScope.READ_SUBSCRIBERS,
        "suppressions.add_suppressions": KeyScope.WRITE_SUBSCRIBERS,
        "suppressions.look_up_suppression": KeyScope.READ_SUBSCRIBERS,
        "suppressions.release_suppression": KeyScope.OVERSEE_SUBSCRIBERS,
        "suppressions.confirm_suppression": KeyScope.WRITE_SUBSCRIBERS,
        "suppressions.export_all_suppressions": KeyScope.READ_SUBSCRIBERS,
        "suppressions.import_suppressions": KeyScope.WRITE_SUBSCRIBERS,
        "consent.show_evidence": KeyScope.OVERSEE_SUBSCRIBERS,
        "imports.create_import": KeyScope.WRITE_SUBSCRIBERS,
        "imports.upload_import_file": KeyScope.WRITE_SUBSCRIBERS,
        "imports.list_imports": KeyScope.WRITE_SUBSCRIBERS,
        "imports.read_import": KeyScope.WRITE_SUBSCRIBERS,
        "imports.export_import_refusals": KeyScope.WRITE_SUBSCRIBERS,
        "imports.export_import_warnings": KeyScope.WRITE_SUBSCRIBERS,
        "imports.cancel_import": KeyScope.WRITE_SUBSCRIBERS,
        "subscribers.export_all_subscribers": KeyScope.READ_SUBSCRIBERS,
        "client_webhooks.list_webhooks": KeyScope.MANAGE_WEBHOOKS,
        "client_webhooks.create_webhook": KeyScope.MANAGE_WEBHOOKS,
        "client_webhooks.show_webhook": KeyScope.MANAGE_WEBHOOKS,
        "client_webhooks.change_webhook": KeyScope.MANAGE_WEBHOOKS,
        "client_webhooks.delete_webhook": KeyScope.MANAGE_WEBHOOKS,
        "client_webhooks.rotate_secret": KeyScope.MANAGE_WEBHOOKS,
        "client_webhooks.test_webhook": KeyScope.MANAGE_WEBHOOKS,
        "client_webhooks.list_deliveries": KeyScope.MANAGE_WEBHOOKS,
        "client_webhooks.replay_delivery": KeyScope.MANAGE_WEBHOOKS,
        "client_webhooks.replay_webhook": KeyScope.MANAGE_WEBHOOKS,
    }


def test_every_route_that_is_not_public_is_limited(service):
    client = service.test_client()
    document = client.get("/openapi.json").get_json()

    answers = {
        (path, method): client.open(re.sub("{.*?}", "0" * 26, path), method=method.upper())
        for path, methods in document["paths"].items()
        for method in methods
        if path.startswith("/api/") and method != "parameters"
    }

    assert len(answers) > 60
    assert {key for key, answer in answers.items() if "RateLimit-Limit" not in answer.headers} == (
        set()
    )
    assert {answer.status_code for answer in answers.values()} == {401}


def test_every_error_answer_is_documented_in_the_one_shape(service):
    document = service.test_client().get("/openapi.json").get_json()

    errors = {
        (path, status): answer["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
        for path, methods in document["paths"].items()
        for method in methods.values()
        if "responses" in method  # beside the methods are the parameters of the path
        for status, answer in method["responses"].items()
        if int(status) >= 400
    }
    assert {status for path, status in errors if path == "/api/broadcast"} == {
        "400", "401", "403", "404", "409", "413", "415", "422", "429", "502", "503",
    }  # fmt: skip
    ours = {"Error", "BroadcastRefused", "BroadcastDuplicated", "BroadcastFailed"}
    ours |= {"SubscriberConflict", "BulkRefused", "ImportConflict"}
    ours |= {"BroadcastConflict", "BatchConflict", "EndpointConflict", "ResendConflict", "Purged"}
    assert set(errors.values()) == ours | {"Ready"}
    guarded = {path for path in document["paths"] if path.startswith("/api/")}
    assert {(path, status) for path in guarded for status in ("401", "403", "429", "503")} <= set(
        errors
    )
    for name in ours:
        required = document["components"]["schemas"][name]["required"]
        assert {"error", "request_id"} <= set(required)


def _no_undocumented_server_error(ctx, response, case):
    if response.status_code not in DOCUMENTED_5XX:
        return not_a_server_error(ctx, response, case)
    return None


def _what_is_wrong_is_rejected(ctx, response, case):
    # The pattern of a number allows less than we do: blanks around it, and with skip_invalid
    # anything, which is then left out.
    if response.status_code == 202 and case.path.endswith("/file"):
        return None  # it was not drawn
    if response.status_code == 413:
        return None  # too large to be read at all
    body = case.body if isinstance(case.body, dict) else {}
    entries = body.get("recipients", [])
    if response.status_code == 202 and any(normalise_number(each) != each for each in entries):
        return None
    if response.status_code == 200 and body.get("skip_invalid") is True:
        return None
    return negative_data_rejection(ctx, response, case)


CHECKS = [
    _no_undocumented_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    _what_is_wrong_is_rejected,
    unsupported_method,
]


def _make_people(client):
    """Make subscribers, tags and templates; return their ids by name of the path parameter."""
    tags = [f"tag {number}" for number in range(12)]
    people = [
        {"phone": number, "tags": tags[place : place + 2]}
        for place, number in enumerate([ANN, *many_numbers(11)])
    ]
    body = {"subscribers": people, "allow_unlisted": True}
    client.post("/api/subscribers/bulk", headers=AUTH, json=body)
    page = client.get("/api/subscribers", headers=AUTH).get_json()
    templates = [f"template-{number}" for number in range(12)]
    for name in templates:
        body = {"name": name, "texts": {"en": "Hi"}, "default_language": "en"}
        client.post("/api/templates", headers=AUTH, json=body)
    for name in tags:
        body = {"name": name, "audience": {"any": [name]}}
        client.post("/api/audiences", headers=AUTH, json=body)
    body = {"phones": many_numbers(12, start=5_000)}
    client.post("/api/suppressions", headers=AUTH, json=body)
    stopped = client.get("/api/suppressions", headers=AUTH).get_json()["suppressions"]
    return {
        "subscriber_id": [each["subscriber_id"] for each in page["subscribers"]],
        "suppression_id": [each["suppression_id"] for each in stopped],
        "tag": tags,
        "audience": tags,
        "template": templates,
        "version": [1],
        "import_id": [_make_import(client) for _ in range(12)],
    }


def _make_import(client):
    """An import that waits for its file."""
    return client.post("/api/subscribers/imports", headers=AUTH).get_json()["import_id"]


@pytest.fixture
def known(make_service, sandbox):
    """A service of which there is something to be asked: the ids of broadcasts and of batches."""
    service = make_service(LOG_LEVEL="critical", LOOKUP_WAITS_S="0.01", UNREADABLE_AFTER_S="0.001")
    client = service.test_client()

    def send(*numbers, **more):
        body = broadcast_to(*numbers, **more)
        return client.post("/api/broadcast", headers=AUTH, json=body).get_json()["broadcast_id"]

    numbers = many_numbers(1001)
    ids = [send(*numbers, allow_duplicate=True) for _ in range(6)]
    ids += [send(numbers[0]), send(numbers[0], send_at=in_hours(24))]
    sandbox.order_fault(on="POST /batches", when="before", do="cut", times=9)
    sandbox.order_fault(on="GET /batches", when="before", do="answer", status=500, times=None)
    for number in numbers[:9]:
        send(number)
    sandbox.clear_faults()
    sweep(service.extensions["clarion"])
    attention = client.get("/api/batches/attention", headers=AUTH).get_json()["batches"]
    references = [batch["client_reference"] for batch in attention]
    assert len(references) == 9
    made = [client.post("/api/webhooks", headers=AUTH, json={"url": WEBHOOK}) for _ in range(4)]
    webhooks = [answer.get_json()["webhook_id"] for answer in made]
    tests = [client.post(f"/api/webhooks/{each}/test", headers=AUTH) for each in webhooks]
    known = {"broadcast_id": ids, "client_reference": references, "webhook_id": webhooks}
    known |= _make_people(client)
    return service, known | {"delivery_id": [each.get_json()["delivery_id"] for each in tests]}


def _count_examples(operation, mode):
    """To draw a wrong body takes three times as long as a right one."""
    if operation.path in _BROADCASTS:
        return 40
    if mode is GenerationMode.NEGATIVE:
        return 12
    return 20 if operation.body else 6


def _try_out(operation, mode, ids):
    """Call it in many ways, some of them about what there is; how often it answered what."""
    statuses, new_numbers = Counter(), count()
    names = [name for name in ids if f"{{{name}}}" in operation.path]
    # What is wrong with a case may be just the place.
    right = mode is GenerationMode.POSITIVE
    places = st.one_of(st.integers(0, 71), st.none()) if right and names else st.none()
    some = st.sets(st.sampled_from(sorted(RIGHT)))
    better = st.one_of(st.just(set(RIGHT)), some) if right else st.just(set())

    @hypothesis_settings(
        max_examples=examples(_count_examples(operation, mode)),
        suppress_health_check=list(HealthCheck),
    )
    @given(
        case=operation.as_strategy(generation_mode=mode),
        place=places,
        better=better,
        one_of_each=st.booleans() if right else st.just(False),
    )
    def call(case, place, better, one_of_each):
        if place is not None:
            case.path_parameters |= {name: ids[name][place % len(ids[name])] for name in names}
            if operation.path.endswith("/file"):
                case.body = b"phone\n+46701234567\n"  # what is drawn is no file
        if isinstance(case.body, dict):
            case.body |= {name: RIGHT[name] for name in better.intersection(case.body)}
            if one_of_each and operation.label == "POST /api/subscribers":
                case.body["phone"] = f"+4672{next(new_numbers):07d}"
                case.body["allow_unlisted"] = True
            if one_of_each and operation.path in _BROADCASTS:
                case.body = _choose_one_of_each(case.body) | _BROADCASTS[operation.path]
        answer = case.call(headers=AUTH)
        statuses[answer.status_code] += 1
        case.validate_response(answer, checks=CHECKS, headers=AUTH)

    call()
    return statuses


# What makes a broadcast, and to whom it goes.
_BROADCASTS = {
    "/api/broadcast": {"recipients": [ANN]},
    "/api/broadcast/quote": {"recipients": [ANN]},
    "/api/broadcast/tag/{tag}": {},
}


def _choose_one_of_each(body):
    """A broadcast with a message instead of a template, to numbers instead of people, now."""
    return {"message": "Hi"} | {k: value for k, value in body.items() if k not in _CHOICES}


_CHOICES = {"template", "audience", "fields", "quote", "parameters"}
_CHOICES |= {"send_at", "expire_at", "canary"}


@pytest.mark.slow
@pytest.mark.parametrize("mode", list(GenerationMode))
def test_no_answer_is_outside_of_the_document(known, mode):
    service, ids = known
    document = schemathesis.openapi.from_wsgi("/openapi.json", service)
    operations = [found.ok() for found in document.get_all_operations()]
    # What deletes comes last, before it what switches off, and behind it what lifts and erases.
    methods = ["get", "post", "put", "patch", "delete"]
    operations.sort(
        key=lambda operation: (
            operation.path.endswith(("/release", "/erase")),
            methods.index(operation.method),
        )
    )
    if mode is GenerationMode.NEGATIVE:
        # Of a file anything may be wrong, and nothing is in the document.
        operations = [
            operation
            for operation in operations
            if any(body.media_type == "application/json" for body in operation.body)
        ]

    answered = {operation.label: _try_out(operation, mode, ids) for operation in operations}

    # Not all in vain: what is right gets through, what is wrong does not.
    if mode is GenerationMode.NEGATIVE:
        assert len(answered) >= 5
        assert min(statuses[400] for statuses in answered.values()) >= 3
        return
    assert answered["POST /api/broadcast"][202] > 5
    assert {
        label for label, statuses in answered.items() if not {200, 201, 202, 204} & set(statuses)
    } == set()
