"""A person of the service, texts from phones, and who reads their pages."""

import re
from collections import Counter
from collections.abc import Callable

import pytest
from flask import Flask

from app.accounts.roles import Role
from app.sms.context import Context
from tests.callers import Caller
from tests.reporting import inbound, tell
from tests.sandbox_control import SandboxControl
from tests.web.visitor import Visitor, visit

ANN = "+46701234567"
FIELDS = {
    "phone": ANN,
    "first_name": "Ann",
    "last_name": "Ekdahl",
    "language": "sv",
    "attributes": {"city": "Malmö", "visits": 7},
    "tags": ["members"],
    "consent": {"wording": "Yes, text me offers.", "source": "https://shop.example/club"},
}


def list_unclear_links(page: str) -> list[str]:
    """Return the targets of a page's links within itself that are not the id of one element."""
    ids, links = Counter(re.findall(r'\sid="([^"]*)"', page)), re.findall(r'href="#([^"]*)"', page)
    return [target for target in links if target and ids[target] != 1]


@pytest.fixture
def author(service: Flask, sandbox: SandboxControl) -> Visitor:
    return visit(service, Role.AUTHOR)


@pytest.fixture
def operator(service: Flask, sandbox: SandboxControl) -> Visitor:
    return visit(service, Role.OPERATOR)


@pytest.fixture
def ann(caller: Caller) -> str:
    """The address of Ann's page."""
    answer = caller.post("/api/subscribers", FIELDS)
    return f"/people/{answer.get_json()['subscriber_id']}"


@pytest.fixture
def text_from(service: Flask) -> Callable[..., None]:
    """A function: a phone texts us."""
    ctx: Context = service.extensions["clarion"]
    texts = iter(range(100))

    def text(phone: str, body: str) -> None:
        at = ctx.now().isoformat()
        tell(ctx, inbound(phone, body, name=f"01TEXT{next(texts)}", received_at=at))

    return text
