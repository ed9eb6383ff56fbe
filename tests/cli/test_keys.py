"""`flask keys`: keys that an operator makes, replaces and ends."""

import re

import pytest
from sqlalchemy import select

from app.db.audit import AuditEntry
from app.db.base import table_of
from app.keys.secret import is_whole
from tests.callers import Caller


@pytest.fixture
def run(service):
    def run(*arguments):
        return service.test_cli_runner().invoke(args=["keys", *arguments])

    return run


def _key(ended):
    assert ended.exit_code == 0, ended.output
    key = re.search(r"(?m)^clarion_\S+$", ended.output)[0]
    assert is_whole(key)
    return key


def test_a_key_is_printed_once_and_listed_without_its_secret(service, run):
    ended = run("create", "shop", "--scope", "broadcasts:read,messages:read", "--days", "90")

    key = _key(ended)
    assert ended.output.startswith("Key 1 of shop. It is shown only now; send it as X-API-Key:\n")
    assert Caller(service, key).get("/api/broadcasts").status_code == 200
    listed = run("list").output
    assert key not in listed
    line = listed.splitlines()[1]
    scopes = "broadcasts:read,messages:read"
    assert line.startswith(f"1   shop    {key[:12]}…  {scopes}  live, until 20")
    assert not line.endswith("never")


def test_a_key_is_rotated_and_revoked(service, run):
    old = _key(run("create", "shop"))

    rotated = run("rotate", "1", "--hours", "0")
    new = _key(rotated)

    assert rotated.output.splitlines()[-1].startswith("Key 1 works until ")
    statuses = [Caller(service, key).get("/api/broadcasts").status_code for key in (old, new)]
    assert statuses == [403, 200]
    assert run("revoke", "2").output == "Key 2 of shop is revoked: it is refused from now on.\n"
    assert [line.split("  ")[-2].split()[0] for line in run("list").output.splitlines()[1:]] == [
        "expired",
        "revoked",
    ]


def test_a_key_has_countries_and_caps_of_its_own(service, run):
    run("create", "shop", "--countries", "se, NO")
    caps = service.test_cli_runner().invoke(args=["caps", "set", "key:1", "day", "parts", "5"])

    assert caps.output == "key:1: at most 5 parts a day.\n"
    assert ", to NO SE" in run("list").output
    listed = service.test_cli_runner().invoke(args=["caps", "list"]).output
    assert listed.splitlines()[1].split()[:5] == ["key:1", "day", "parts", "5", "5"]


def test_each_change_is_audited_without_the_key(service, run):
    key = _key(run("create", "shop"))
    run("revoke", "1")

    with service.extensions["clarion"].db.read() as tx:
        entries = tx.execute(select(table_of(AuditEntry))).all()
    assert [(entry.action, entry.subject) for entry in entries] == [
        ("create key", "1"),
        ("revoke key", "1"),
    ]
    assert all(entry.actor.startswith("cli") for entry in entries)
    assert key not in repr(entries)


def test_a_test_key_has_the_scopes_that_change_nothing(run):
    key = _key(run("create", "shop", "--test"))

    assert key.startswith("clarion_test_")
    assert "subscribers:write" not in run("list").output


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["create", "shop", "--scope", "broadcast:send"], "perhaps broadcasts:send"),
        (["create", "shop", "--scope", " , "], "--scope names no scope"),
        (["create", "people"], "name: It must not be people"),
        (["create", "shop", "--address", "example.com"], "is no address or network"),
        (["create", "shop", "--countries", "SE,UK"], "countries: 'UK' is no country"),
        (["create", "shop", "--days", "0"], "0 is not in the range"),
        (["revoke", "7"], "There is no key of this number"),
        (["rotate", "7"], "There is no key of this number"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(run, arguments, reason):
    ended = run(*arguments)

    assert ended.exit_code != 0
    assert reason in ended.output
    assert run("list").output.startswith("There are no keys in the database: flask keys create")
