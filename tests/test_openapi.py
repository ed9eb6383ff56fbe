"""The API document is true: every route is in it, and no answer is outside of it."""

import json
from collections import Counter
from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
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

from app.auth import PUBLIC, SCOPE_MARK
from app.phone import normalise_number
from app.rate_limit import LIMITED_MARK
from tests.conftest import examples
from tests.factories import AUTH

ROOT = Path(__file__).parent.parent
# Served for people or machines that read the document; not part of it.
UNDOCUMENTED = {"/docs", "/docs/assets/<path:name>", "/openapi.json", "/static/<path:filename>"}
DOCUMENTED_5XX = {502, 503, 504}


def test_every_route_is_in_the_document(service):
    documented = set(service.test_client().get("/openapi.json").get_json()["paths"])

    assert {rule.rule for rule in service.url_map.iter_rules()} - UNDOCUMENTED == documented


def test_the_committed_document_is_the_one_served(service):
    served = service.test_client().get("/openapi.json").get_json()

    assert json.loads((ROOT / "docs/openapi.json").read_text()) == served, "run: make openapi"


def test_every_route_says_which_scope_it_needs_or_that_it_is_public(service):
    views = {
        endpoint: getattr(view, SCOPE_MARK, None)
        for endpoint, view in service.view_functions.items()
        if not endpoint.endswith(".static") and not endpoint.startswith("api-docs.")
    }

    assert [endpoint for endpoint, scope in views.items() if scope is None] == []
    assert views["sms.create_broadcast"] == "broadcasts:send"


def test_every_route_that_is_not_public_is_limited(service):
    unlimited = [
        endpoint
        for endpoint, view in service.view_functions.items()
        if getattr(view, SCOPE_MARK, PUBLIC) != PUBLIC and not getattr(view, LIMITED_MARK, False)
    ]

    assert unlimited == []


def test_every_error_answer_is_documented_in_the_one_shape(service):
    document = service.test_client().get("/openapi.json").get_json()

    errors = {
        (path, status): answer["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
        for path, methods in document["paths"].items()
        for method in methods.values()
        for status, answer in method["responses"].items()
        if int(status) >= 400
    }
    assert {status for path, status in errors if path == "/api/broadcast"} == {
        "400", "401", "403", "413", "415", "429", "502", "503", "504",
    }  # fmt: skip
    assert set(errors.values()) == {"Error", "BroadcastRefused", "BroadcastFailed", "Ready"}
    for name in ("Error", "BroadcastRefused", "BroadcastFailed"):
        required = document["components"]["schemas"][name]["required"]
        assert {"error", "request_id"} <= set(required)


def _no_undocumented_server_error(ctx, response, case):
    if response.status_code not in DOCUMENTED_5XX:
        return not_a_server_error(ctx, response, case)
    return None


def _what_is_wrong_is_rejected(ctx, response, case):
    # The pattern of a number allows less than we do: blanks around it, and with skip_invalid
    # anything, which is then left out.
    body = case.body if isinstance(case.body, dict) else {}
    entries = body.get("recipients", [])
    if response.status_code == 202 and any(normalise_number(each) != each for each in entries):
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


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_no_answer_is_outside_of_the_document(make_service, sandbox, mode):
    service = make_service(LOG_LEVEL="critical", LOOKUP_WAITS_S="0.01")
    document = schemathesis.openapi.from_wsgi("/openapi.json", service)
    operations = [found.ok() for found in document.get_all_operations()]
    statuses = Counter()

    for operation in operations:
        if mode is GenerationMode.NEGATIVE and not operation.body:
            continue

        @hypothesis_settings(max_examples=examples(150), suppress_health_check=list(HealthCheck))
        @given(case=operation.as_strategy(generation_mode=mode))
        def call(case):
            answer = case.call(headers=AUTH)
            statuses[answer.status_code] += 1
            case.validate_response(answer, checks=CHECKS, headers=AUTH)

        call()

    # Not all in vain: what is right gets through, what is wrong does not.
    assert statuses[202 if mode is GenerationMode.POSITIVE else 400] > 20
