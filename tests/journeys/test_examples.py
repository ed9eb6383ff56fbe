"""The examples in README and docs/api.md, called one after the other: the answers are as shown."""

import json
import re
import time
from urllib.parse import urlsplit

import pytest
import requests

from tests.environ import ROOT
from tests.factories import AUTH, in_hours
from tests.journeys.examples import Names, list_examples, read_shown
from tests.processes import running
from tests.webhooks.outgoing.receivers import Receiver
from tests.wire import respond, unused_port

_API = (ROOT / "docs/api.md").read_text("utf-8")
_SECRET = "a secret that signs callbacks for tests"
_PARAMETER = re.compile(r"\\{\w+\\}")
_START = re.compile('(?<="send_at": ")[^"]+')


@pytest.fixture
def service(sandbox_server, sandbox, tmp_path):
    """A service that hears of deliveries at once and gives up on a lost batch within seconds."""
    port = unused_port()
    settings = {
        "SINCH_REGION_URL": sandbox_server.url,
        "PORT": str(port),
        "PUBLIC_URL": f"http://127.0.0.1:{port}",
        "SINCH_WEBHOOK_SECRET": _SECRET,
        "SINCH_READ_TIMEOUT_S": "5",
        "SWEEP_EVERY_S": "0.5",
        "RECONCILE_AFTER_S": ",".join(str(number / 2) for number in range(1, 100)),
        "ABSENT_AFTER_S": "1",
    }
    sandbox.set(hmac_secret=_SECRET, inbound_url=f"http://127.0.0.1:{port}/webhooks/sinch")
    with running(tmp_path / "output", **settings) as service:
        yield service


@pytest.fixture
def receiver():
    """The address of a client's own program, which takes every event."""
    with Receiver(then=respond("204 No Content", b"")).running() as receiver:
        yield urlsplit(receiver.url).netloc


def test_every_answer_in_the_documents_is_the_one_that_is_shown(service, sandbox, receiver):
    sandbox.order_fault(on="POST /batches", do="cut", body_has="in doubt")
    service.post({"recipients": ["+46701740610"], "message": "in doubt"})
    sandbox.text_from("+46701740611", "please dont text me stop")

    wrong = []
    for document in ((ROOT / "README.md").read_text("utf-8"), _API):
        document, names = document.replace("127.0.0.1:5000", receiver), Names()
        for example in list_examples(document):
            wrong += [
                f"{example.method} {example.path} {difference}"
                for difference in _find_differences(service, example, names)
            ]

    assert wrong == []


def test_every_call_of_the_api_has_an_example():
    calls = [(example.method, example.path.partition("?")[0]) for example in list_examples(_API)]
    document = json.loads((ROOT / "docs/openapi.json").read_text())
    operations = [
        (method.upper(), path)
        for path, methods in document["paths"].items()
        for method in methods
        if method != "parameters"
    ]

    assert operations
    assert [operation for operation in operations if not _is_shown(operation, calls)] == []


def _is_shown(operation, calls):
    method, path = operation
    pattern = re.compile(_PARAMETER.sub("[^/]+", re.escape(path)))
    return any(other == method and pattern.fullmatch(called) for other, called in calls)


def _find_differences(service, example, names, *, within_s=60.0):
    """Call as an example says; a question is asked again until its answer is as shown."""
    deadline = time.monotonic() + within_s
    while True:
        known = Names(dict(names.values))
        differences = _compare_once(service, example, known)
        if not differences or not example.is_question or time.monotonic() > deadline:
            names.values |= known.values
            return differences
        time.sleep(0.1)


def _compare_once(service, example, names):
    headers = AUTH | {"Content-Type": "application/json"} | example.headers
    answer = requests.request(
        example.method,
        service.url + names.fill(example.path),
        data=_START.sub(in_hours(24), names.fill(example.body)).encode() or None,
        headers=headers,
        timeout=30,
    )
    if example.status not in (answer.status_code, None if answer.ok else 0):
        return [f"{answer.status_code}: {answer.text}"]
    is_json = answer.headers["Content-Type"] == "application/json"
    found = answer.json() if is_json and answer.content else answer.text.splitlines()
    return names.compare(read_shown(example.answer), found)
