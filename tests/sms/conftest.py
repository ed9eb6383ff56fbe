"""A service and its caller, or the state machine alone in a test's hand; Sinch is the sandbox."""

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from tests.callers import PATIENT, Caller
from tests.machine import Machine
from tests.sandbox_control import SandboxControl


@pytest.fixture
def either_service(
    make_service: Callable[..., Flask], either_database: str, sandbox: SandboxControl
) -> Flask:
    """A service on either database, patient with its Sinch; the test runs on both."""
    return make_service(DATABASE_URL=either_database, **PATIENT)


@pytest.fixture
def caller(service: Flask) -> Caller:
    """A client of the test's own service."""
    return Caller(service)


@pytest.fixture
def make_machine(
    make_service: Callable[..., Flask], sandbox: SandboxControl
) -> Callable[..., Machine]:
    """A function that makes a machine whose Sinch is the sandbox unless a URL says otherwise."""

    def make(database_url: str, sinch_url: str | None = None, **rules: Any) -> Machine:
        overrides = {"DATABASE_URL": database_url}
        if sinch_url is not None:
            overrides["SINCH_REGION_URL"] = sinch_url
        return Machine.over(make_service(**overrides).extensions["clarion"], **rules)

    return make


@pytest.fixture
def machine(make_machine: Callable[..., Machine], database_url: str) -> Machine:
    """A machine over the sandbox."""
    return make_machine(database_url)


@pytest.fixture
def either_machine(make_machine: Callable[..., Machine], either_database: str) -> Machine:
    """The same on either database; the test runs on both."""
    return make_machine(either_database)
