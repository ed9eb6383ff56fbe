"""A service, its client and its Sinch, for any test; and no network but loopback."""

import contextlib
import functools
import gc
import ipaddress
import os
import random
import shutil
import socket
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
import requests
from _pytest.doctest import DoctestModule
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import settings as hypothesis_settings

from app.sandbox.server import SandboxServer
from app.sms.context import Context
from app.sms.operations.invariants import find_violations
from tests import databases, shared
from tests.callers import PATIENT, Caller
from tests.factories import AUTH, settings
from tests.hashes import quick_hashes
from tests.machine import Machine
from tests.postgres import Postgres, running_postgres
from tests.sandbox_control import SandboxControl
from tests.services import Services

# So that a failure there shows what was compared; tests of several packages use them.
pytest.register_assert_rewrite("tests.kills.judging", "tests.kills.mortal")

# The same examples at every run; `make fuzz SIZE=20` draws others, twenty times as many, and
# Hypothesis prints the seed of what fails.
FUZZ = int(os.environ.get("FUZZ", "0"))
# Beyond several waits of a test, each with its own deadline: a busy machine takes minutes.
_SLOW_TIMEOUT_S = 1_200
_connect = socket.socket.connect
# What goes to loopback goes to no proxy, whatever the developer's own environment says.
for _name in [name for name in os.environ if name.lower().endswith("_proxy")]:
    del os.environ[_name]
_SLOW_FOLDERS = {"browser", "flood", "journeys", "kills", "queue", "simulation", "soak"}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--quick",
        action="store_true",
        help="leave out slow tests and those with processes or PostgreSQL",
    )
    parser.addoption("--flood", type=int, help="callbacks in a flood instead of the usual number")
    parser.addoption("--flood-seed", type=int, help="the lots of an earlier flood")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """With --quick, do not even import what is slow."""
    return (config.getoption("--quick") and collection_path.name in _SLOW_FOLDERS) or None


class _DoctestsOnlyWhereWritten:
    """Look for examples in docstrings only where there is one.

    A plug-in, because the hooks of this file see the files beside it alone, and not those of app/.
    """

    @pytest.hookimpl(wrapper=True)
    def pytest_collect_file(self, file_path: Path) -> Generator[None, list[Any], list[Any]]:
        found = yield
        if ">>> " in file_path.read_text(errors="replace"):
            return found
        return [each for each in found if not isinstance(each, DoctestModule)]


def pytest_configure(config: pytest.Config) -> None:
    shared.open_folder()  # before the processes that find it in the environment
    config.pluginmanager.register(_DoctestsOnlyWhereWritten())


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Give time to what is slow or starts processes, a browser or PostgreSQL.

    With --quick, deselect it.
    """
    slow = {item for item in items if _is_slow(item)}
    for item in slow:
        if not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(_SLOW_TIMEOUT_S))
    if config.getoption("--quick"):
        items[:] = [item for item in items if item not in slow]
        config.hook.pytest_deselected(items=list(slow))


def _is_slow(item: pytest.Item) -> bool:
    if item.get_closest_marker("slow"):
        return True
    if "postgres" in item.name or "postgres" in getattr(item, "fixturenames", ()):
        return True
    if _SLOW_FOLDERS.intersection(item.path.parts):
        return True
    return _starts_processes(getattr(item, "module", None))


@functools.cache
def _starts_processes(module: object) -> bool:
    used = vars(module or object).values()
    return any(value is subprocess or _comes_from_processes(value) for value in used)


def _comes_from_processes(value: object) -> bool:
    return getattr(value, "__module__", None) in (
        "tests.commands",
        "tests.environ",
        "tests.fork_server",
        "tests.processes",
    )


def _connect_to_loopback_only(self: socket.socket, address: Any) -> None:
    host = address[0] if isinstance(address, tuple) else None
    if host not in (None, "localhost") and not ipaddress.ip_address(host).is_loopback:
        raise AssertionError(f"a test reached for the network: {host}")
    _connect(self, address)


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Generator[None, Any, Any]:
    """Look for no garbage among what is imported."""
    gc.disable()
    with contextlib.ExitStack() as stack:
        stack.enter_context(shared.lock("collection"))
        if not _compiles_for_others(session.config):
            stack.close()
        collected = yield
    gc.freeze()
    gc.enable()
    return collected


def _compiles_for_others(config: pytest.Config) -> bool:
    """Return True if none of these tests was compiled: its assertions take pytest most of the time.

    One process does it while the others wait.
    """
    if config.getoption("numprocesses") or sys.dont_write_bytecode:
        return False  # this process hands out tests and reads none, or keeps nothing
    ignored = [Path(path).resolve() for path in config.getoption("ignore") or ()]
    named = [Path(argument.partition("::")[0]).resolve() for argument in config.args]
    return not any(
        not any(map(found.is_relative_to, ignored))
        for path in named
        for found in path.rglob("__pycache__/test_*-pytest-*.pyc")
    )


def draw_lots(seed: int) -> random.Random:
    """Return the lots of an example: others by hand, with a seed that pytest shows."""
    drawn = f"{seed}/{random.random()}" if FUZZ else seed
    sys.stdout.write(f"lots of {drawn}\n")
    return random.Random(drawn)


def examples(count: int) -> int:
    """How many examples a property is tried on: more by hand than in the test command."""
    return count * max(FUZZ, 1)


hypothesis_settings.register_profile(
    "clarion", max_examples=examples(100), derandomize=not FUZZ, deadline=None
)
hypothesis_settings.load_profile("clarion")


@pytest.fixture(autouse=True, scope="session")
def _no_network() -> Iterator[None]:
    socket.socket.connect = _connect_to_loopback_only  # type: ignore[method-assign]
    yield
    socket.socket.connect = _connect  # type: ignore[method-assign]


@pytest.fixture(autouse=True, scope="session")
def _quick_hashes() -> Iterator[None]:
    with quick_hashes():
        yield


@pytest.fixture(scope="session")
def sandbox_server() -> Iterator[SandboxServer]:
    with SandboxServer() as server:
        yield server


@pytest.fixture
def sandbox(sandbox_server: SandboxServer) -> Iterator[SandboxControl]:
    """A fresh Sinch twin on a real socket."""
    _reset(sandbox_server)
    yield SandboxControl(sandbox_server.url, sandbox_server.app)
    _reset(sandbox_server)


def _reset(server: SandboxServer) -> None:
    """Reset a sandbox of this process without its socket, which takes six times as long."""
    assert server.app.test_client().post("/control/reset").status_code == HTTPStatus.NO_CONTENT


@pytest.fixture(scope="session")
def migrated_file() -> Path:
    """A migrated SQLite database, to be copied."""
    return databases.migrated_file()


@pytest.fixture
def database_url(migrated_file: Path, tmp_path: Path) -> str:
    """A fresh database of this test's own, the same for all its services."""
    path = tmp_path / "clarion.db"
    shutil.copy(migrated_file, path)
    return f"sqlite:///{path}"


@pytest.fixture(scope="session")
def services() -> Services:
    return Services()


@pytest.fixture
def make_service(
    services: Services, sandbox_server: SandboxServer, database_url: str
) -> Iterator[Callable[..., Flask]]:
    """A function that makes a service over the sandbox, with settings of the test's own.

    Nothing works in its background.  Afterwards its books must balance.
    """
    made: list[Flask] = []

    def make(**overrides: str) -> Flask:
        ours = {"SINCH_REGION_URL": sandbox_server.url, "DATABASE_URL": database_url}
        made.append(services.take(settings(**ours | overrides)))
        return made[-1]

    yield make
    violations = [violation for service in made for violation in _close(service)]
    for service in made:
        services.give_back(service)
    assert violations == []


def _close(service: Flask) -> list[str]:
    """End a service; what does not hold in its database."""
    ctx: Context = service.extensions["clarion"]
    try:
        return find_violations(ctx) if ctx.db.verified else []
    finally:
        ctx.sinch.close()
        ctx.db.close()


@pytest.fixture
def service(make_service: Callable[..., Flask]) -> Flask:
    return make_service()


@pytest.fixture(scope="module")
def shared_service(
    services: Services,
    sandbox_server: SandboxServer,
    migrated_file: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Flask]:
    """A service for all tests of a module that store nothing: they ask, or they are refused."""
    path = tmp_path_factory.mktemp("shared") / "clarion.db"
    shutil.copy(migrated_file, path)
    environ = settings(SINCH_REGION_URL=sandbox_server.url, DATABASE_URL=f"sqlite:///{path}")
    service = services.take(environ | PATIENT)
    before = _count_rows(path)
    yield service
    stored = _count_rows(path) - before
    violations = _close(service)
    services.give_back(service)
    assert (stored, violations) == ({}, [])


@pytest.fixture(scope="module")
def asker(shared_service: Flask) -> Caller:
    """A client of the shared service, for questions and for what is refused."""
    return Caller(shared_service)


def _count_rows(path: Path) -> Counter[str]:
    """Count the rows of each table, except of what a service notes by itself."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        tables = db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        counts = {
            name: db.execute(f"SELECT count(*) FROM {name}").fetchone()[0]
            for (name,) in tables
            if name != "metadata"
        }
    return Counter(counts)


@pytest.fixture
def client(service: Flask, sandbox: SandboxControl) -> FlaskClient:
    """A client of a service whose Sinch is the sandbox."""
    return service.test_client()


@pytest.fixture
def auth() -> dict[str, str]:
    return dict(AUTH)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A real PostgreSQL; a test that needs one is skipped where there is none, but not on CI."""
    try:
        with running_postgres() as server:
            yield server
    except RuntimeError as e:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(e))


@pytest.fixture(params=["sqlite", "postgres"])
def either_database(request: pytest.FixtureRequest) -> str:
    """The URL of a fresh database of either kind; the test runs on both."""
    if request.param == "sqlite":
        url: str = request.getfixturevalue("database_url")
        return url
    server: Postgres = request.getfixturevalue("postgres")
    return server.lend_database()


@pytest.fixture
def at_sinch(sandbox: SandboxControl) -> Callable[[], list[Any]]:
    """The batches as Sinch keeps them, oldest first."""

    def read() -> list[Any]:
        answer = requests.get(
            f"{sandbox.url}/xms/v1/sandbox/batches",
            params={"page_size": 100},
            headers={"Authorization": "Bearer sandbox"},
            timeout=60,
        )
        return list(reversed(answer.json()["batches"]))

    return read


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
