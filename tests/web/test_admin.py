"""Pages for administrators: keys, caps and the audit log."""

import re

import pytest

from app.accounts.roles import Role
from app.config.scopes import KeyScope
from app.keys.secret import is_whole
from app.keys.store import KeyOptions, create_key, list_keys
from app.sms.caps.caps import list_caps
from app.sms.operations.restore import mark_restored
from tests.callers import Caller
from tests.factories import many_numbers
from tests.web.visitor import read_text, visit

SCOPES = ["broadcasts:send", "broadcasts:transactional", "broadcasts:read"]


@pytest.fixture
def admin(service):
    return visit(service, Role.ADMIN)


@pytest.fixture
def ctx(service):
    return service.extensions["clarion"]


def _make_key(admin, **form):
    return admin.post(
        "/keys", on="/keys", fields={"name": "shop", "scopes": SCOPES, "kind": "live", **form}
    )


def test_a_key_is_made_on_the_page_shown_once_and_used(service, admin, sandbox):
    shown = read_text(_make_key(admin, days="90", countries="SE, NO"))

    key = re.search(r"The new key of shop: (clarion_\w+)", shown)[1]
    assert is_whole(key)
    assert Caller(service, key).send("+46701234567").status_code == 202
    again = read_text(admin.get("/keys"))
    assert key not in again
    assert "broadcasts:read, broadcasts:send, broadcasts:transactional" in again
    assert "to NO, SE" in again
    assert re.search(r"Live, until \w{3} \d+ \w{3}", again)


def test_a_key_is_replaced_and_revoked_on_the_page(service, admin, ctx):
    _make_key(admin)

    shown = read_text(admin.post("/keys/1/replace", on="/keys"))
    key = re.search(r"works for 24 hours more: (clarion_\w+)", shown)[1]
    refused = read_text(admin.get(admin.post("/keys/2/replace", on="/keys").location))
    revoked = read_text(admin.get(admin.post("/keys/1/revoke", on="/keys").location))
    twice = read_text(admin.get(admin.post("/keys/1/revoke", on="/keys").location))

    assert "Nothing was done. shop has another live key, 1" in refused
    assert "Key 1 of shop is revoked. It is refused within 5 seconds." in revoked
    assert "Nothing was done. Key 1 was revoked at" in twice
    assert Caller(service, key).get("/api/broadcasts").status_code == 200
    assert [row.created_by for row in list_keys(ctx.db)] == ["people:a admin"] * 2


@pytest.mark.parametrize(
    ("form", "reason"),
    [
        ({"name": "people"}, "It must not be people, which the service itself uses"),
        ({"name": ""}, "It must be 1 to 64 letters"),
        ({"days": "0"}, "Give 1 to 3,650 days"),
        ({"days": "soon"}, "Give 1 to 3,650 days"),
        ({"addresses": "example.com"}, "'example.com' is no address or network"),
        ({"countries": "SE UK"}, "'UK' is no country: give two letters such as SE"),
        ({"scopes": []}, "Choose what the key may do"),
        ({"scopes": ["nothing"]}, "Choose what the key may do"),
        ({"kind": "test", "scopes": ["templates:manage"]}, "A test key changes nothing"),
    ],
)
def test_a_key_that_could_not_work_is_refused_at_its_field(admin, ctx, form, reason):
    answer = _make_key(admin, **form)

    assert answer.status_code == 400
    assert reason in read_text(answer)
    assert 'aria-current="true"' not in answer.text
    assert list_keys(ctx.db) == []


def test_a_third_key_of_a_client_is_refused(admin, ctx):
    for _ in range(2):
        _make_key(admin)

    answer = _make_key(admin)

    assert answer.status_code == 409
    assert "shop has 2 live keys already, 1 and 2: revoke the one that" in read_text(answer)


def test_keys_that_a_restore_brought_back_are_named_until_they_are_revoked_or_kept(ctx, service):
    options = KeyOptions(frozenset({KeyScope.READ}))
    ids = [
        create_key(ctx.db, ctx.clock, client, options, actor="tests")[0].id
        for client in ("shop", "crm", "crm")
    ]
    mark_restored(ctx, actor="cli:ann")
    admin = visit(service, Role.ADMIN)  # a restore ends all sessions
    _make_key(admin, name="new")
    named = "These keys work again, even if they were revoked since the backup: "

    first = read_text(admin.get("/keys"))
    admin.post(f"/keys/{ids[0]}/revoke", on="/keys")
    second = read_text(admin.get("/keys"))
    ended = read_text(admin.get(admin.post("/keys/restored/revoke", on="/keys").location))
    mark_restored(ctx, actor="cli:ann")
    admin.sign_in("a admin")
    third = read_text(admin.get("/keys"))
    kept = read_text(admin.get(admin.post("/keys/restored/keep", on="/keys").location))

    assert f"{named}2 of crm, 3 of crm, 1 of shop." in first
    assert f"{named}2 of crm, 3 of crm." in second
    assert "The keys that came back are revoked. 2 keys are refused within 5 seconds." in ended
    assert named not in ended
    assert f"{named}4 of new." in third
    assert "The keys that came back are kept. 1 key is in use as before." in kept
    assert named not in kept
    assert [row.id for row in list_keys(ctx.db) if not row.revoked_at] == [4]
    log = read_text(admin.get("/audit"))
    assert "people:a admin revoke restored keys database keys: 2, 3" in log
    assert "people:a admin keep restored keys database keys: 4" in log


def test_a_cap_is_set_shown_with_what_is_left_and_removed(service, admin, ctx, sandbox):
    form = {"client": "", "kind": "day parts", "amount": "5,000"}
    done = read_text(admin.get(admin.post("/caps", form, on="/caps").location))
    Caller(service).send("+46701234567")

    shown = read_text(admin.get("/caps"))

    assert "All clients: parts in a day, at most 5,000." in done
    assert re.search(r"All clients Parts in a day 5,000 4,999 \w{3} \d+ \w{3}, 00:00", shown)
    removed = admin.post("/caps/remove", {"client": "", "kind": "day parts"}, on="/caps")
    assert "The cap is removed." in read_text(admin.get(removed.location))
    again = admin.post("/caps/remove", {"client": "", "kind": "day parts"}, on="/caps")
    assert "There is no such cap any more." in read_text(admin.get(again.location))
    assert list_caps(ctx) == []


def test_a_cap_that_is_reached_or_near_needs_attention(service, admin, sandbox):
    caller, author = Caller(service), visit(service, Role.AUTHOR)
    admin.post("/caps", {"client": "tests", "kind": "day parts", "amount": "10"}, on="/caps")
    caller.send(*many_numbers(7))
    assert "nearly reached" not in read_text(admin.get("/overview"))

    caller.send(*many_numbers(1, start=7))
    near = read_text(admin.get("/overview"))
    caller.send(*many_numbers(3, start=8))
    reached, seen = (read_text(visitor.get("/overview")) for visitor in (admin, author))

    assert "A cap is nearly reached (tests, parts in a day). 2 of 10 are left until " in near
    assert "Overview 1 needs attention" in near
    assert "The cap of 10 is reached (tests, parts in a day). What exceeds it waits" in reached
    assert "An administrator sets caps." in seen


def test_a_cap_is_set_on_a_key_and_removed(admin, ctx):
    _make_key(admin)
    form = {"client": "key:1", "kind": "day parts", "amount": "500"}

    done = read_text(admin.get(admin.post("/caps", form, on="/caps").location))

    assert "Key 1: parts in a day, at most 500." in done
    assert re.search(r"Key 1 Parts in a day 500 500", read_text(admin.get("/caps")))
    admin.post("/caps/remove", {"client": "key:1", "kind": "day parts"}, on="/caps")
    assert list_caps(ctx) == []


@pytest.mark.parametrize(
    ("form", "reason"),
    [
        ({"kind": "day parts", "amount": "many"}, "It must be a whole number"),
        ({"kind": "day parts", "amount": "-1"}, "It must be a whole number"),
        ({"kind": "day cost", "amount": "5"}, "No prices are stored"),
        ({"kind": "week parts", "amount": "5"}, "Choose what the cap limits"),
        ({"kind": "", "amount": "5"}, "Choose what the cap limits"),
        ({"client": "key:9", "kind": "day parts", "amount": "5"}, "There is no key of this number"),
        ({"client": "<b>", "kind": "day parts", "amount": "5"}, "The name must be 1 to 64 letters"),
    ],
)
def test_a_cap_that_cannot_be_is_refused_at_its_field(admin, ctx, form, reason):
    answer = admin.post("/caps", form, on="/caps")

    assert answer.status_code == 400
    assert reason in read_text(answer)
    assert list_caps(ctx) == []


def test_the_audit_log_says_who_did_what_and_that_it_is_whole(admin, ctx):
    _make_key(admin)
    admin.post("/caps", {"client": "shop", "kind": "hour parts", "amount": "7"}, on="/caps")

    shown = read_text(admin.get("/audit"))
    filtered = read_text(admin.get("/audit?action=set+cap"))
    checked = read_text(admin.get("/audit?check=1"))

    assert "people:a admin set cap shop period: hour; unit: parts; amount: 7" in shown
    assert "people:a admin create key 1 client: shop" in shown
    assert "create key" not in filtered
    assert "Nothing is sealed yet." in checked


def test_what_no_database_can_look_for_is_refused_or_not_found(either_service):
    admin = visit(either_service, Role.ADMIN)
    beyond = 10**30

    assert admin.get("/audit?subject=%00").status_code == 400
    assert admin.get("/audit?cursor=nonsense").status_code == 400
    assert admin.look_up("/people", {"text": "An\0"}, on="/people").status_code == 200
    assert admin.post(f"/keys/{beyond}/revoke", on="/keys").status_code == 404
    assert admin.get(f"/inbox/{beyond}").status_code == 404


@pytest.mark.parametrize("path", ["/keys", "/caps", "/audit"])
def test_other_roles_see_none_of_it(service, path):
    operator = visit(service, Role.OPERATOR)

    assert operator.get(path).status_code == 403
    assert f'href="{path}"' not in operator.get("/overview").text
