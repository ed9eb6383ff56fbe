"""API keys of the database, as clients use them over HTTP."""

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import text

from app.config.scopes import DEFAULT_SCOPES, TEST_SCOPES, KeyScope
from app.errors import BadInput, Conflict
from app.keys.secret import make_key
from app.keys.store import KeyOptions, create_key, list_keys, revoke_key, rotate_key
from tests.accounts.people import at_once
from tests.callers import Caller
from tests.clocks import ManualClock
from tests.factories import KEY

PHONE = "+46701234567"


@pytest.fixture
def clock(service):
    """The clock of the service, which moves when the test says so."""
    clock = ManualClock()
    service.extensions["clarion"] = replace(service.extensions["clarion"], clock=clock)
    return clock


@pytest.fixture
def db(service):
    return service.extensions["clarion"].db


@pytest.fixture
def make(db, clock):
    """A function that makes a key; it returns the key's number and its text."""

    def make(client="shop", *, scopes=DEFAULT_SCOPES, **options):
        row, key = create_key(db, clock, client, KeyOptions(scopes, **options), actor="tests")
        return row.id, key

    return make


def test_of_three_who_make_a_key_for_a_client_at_once_two_do(either_database):
    def make_one(db):
        return create_key(db, ManualClock(), "shop", KeyOptions(DEFAULT_SCOPES), actor="tests")

    results = at_once(either_database, *[make_one] * 3)

    assert [type(result) for result in results].count(Conflict) == 1


def _is_refused(answer, hint):
    return (answer.status_code, answer.get_json()["error"], answer.get_json().get("hint")) == (
        403,
        "Invalid API key",
        hint,
    )


def test_a_stored_key_opens_for_its_client_and_is_in_no_column(service, db, make, sandbox):
    _, key = make("shop")

    made = Caller(service, key).send(PHONE)

    assert made.status_code == 202
    assert sandbox.recipients() == [PHONE]
    assert Caller(service, key).show(made)["client"] == "shop"
    with db.read() as tx:
        rows = tx.execute(text("SELECT * FROM api_keys")).all()
    assert key not in repr(rows)
    assert key[len("clarion_") :] not in repr(rows)


def test_a_stored_key_does_no_more_than_its_scopes(service, make, sandbox):
    _, key = make(scopes=frozenset({KeyScope.READ}))
    caller = Caller(service, key)

    assert caller.get("/api/broadcasts").status_code == 200
    answer = caller.send(PHONE)

    assert answer.status_code == 403
    assert answer.get_json()["error"] == "This API key lacks the scope broadcasts:send"
    assert sandbox.posts() == 0


def test_a_revoked_key_is_refused_within_five_seconds(service, db, clock, make):
    key_id, key = make()
    caller = Caller(service, key)
    assert caller.get("/api/broadcasts").status_code == 200

    revoke_key(db, clock, key_id, actor="tests")
    clock.advance(5)

    assert _is_refused(caller.get("/api/broadcasts"), "This key was revoked: ask for a new one.")
    with pytest.raises(Conflict, match="was revoked at"):
        revoke_key(db, clock, key_id, actor="tests")


def test_an_expired_key_is_refused(service, clock, make):
    _, key = make(expires_at=clock.now() + timedelta(days=1))
    caller = Caller(service, key)
    assert caller.get("/api/broadcasts").status_code == 200

    clock.advance(24 * 3600 + 1)

    assert _is_refused(caller.get("/api/broadcasts"), "This key has expired: ask for a new one.")


def test_a_cut_key_is_named_as_that(service, make):
    _, key = make()

    answer = Caller(service, key[:-1]).get("/api/broadcasts")

    assert _is_refused(answer, "A character of the key is missing or wrong: copy it again.")


def test_a_whole_key_that_is_not_stored_is_refused(service, clock):
    answer = Caller(service, make_key(is_test=False)).get("/api/broadcasts")

    assert _is_refused(answer, None)


def test_a_key_is_bound_to_its_addresses(service, make):
    _, here = make("here", networks=("127.0.0.0/8", "2001:db8::/32"))
    _, elsewhere = make("elsewhere", networks=("192.0.2.0/24",))

    assert Caller(service, here).get("/api/broadcasts").status_code == 200
    answer = Caller(service, elsewhere).get("/api/broadcasts")

    assert _is_refused(answer, "This key may not be used from this address.")


def test_behind_a_proxy_a_key_is_bound_to_the_address_that_the_proxy_saw(make_service):
    service, exposed = make_service(TRUSTED_PROXIES="1"), make_service()
    for app in (service, exposed):
        ctx = app.extensions["clarion"]
        options = KeyOptions(DEFAULT_SCOPES, networks=("192.0.2.0/24",))
        _, key = create_key(ctx.db, ctx.clock, "shop", options, actor="tests")

        def ask(app, forwarded, key=key):
            headers = {"X-API-Key": key} | ({"X-Forwarded-For": forwarded} if forwarded else {})
            return app.test_client().get("/api/broadcasts", headers=headers).status_code

        seen = [ask(app, each) for each in ("192.0.2.7", "192.0.2.7, 203.0.113.5", None)]
        # Without a trusted proxy the header is the client's own word.
        assert seen == ([200, 403, 403] if app is service else [403, 403, 403])


def test_a_revoked_key_is_refused_within_five_seconds_by_every_process(
    make_service, either_database, sandbox
):
    services = [make_service(DATABASE_URL=either_database) for _ in range(2)]
    clock = ManualClock()
    for each in services:
        each.extensions["clarion"] = replace(each.extensions["clarion"], clock=clock)
    db = services[0].extensions["clarion"].db
    row, key = create_key(db, clock, "shop", KeyOptions(DEFAULT_SCOPES), actor="tests")
    callers = [Caller(each, key) for each in services]
    assert [caller.get("/api/broadcasts").status_code for caller in callers] == [200, 200]

    revoke_key(db, clock, row.id, actor="tests")
    clock.advance(5)

    assert [caller.get("/api/broadcasts").status_code for caller in callers] == [403, 403]
    assert [caller.send(PHONE).status_code for caller in callers] == [403, 403]
    assert sandbox.posts() == 0


def test_the_last_use_is_noted_to_the_minute(service, db, clock, make):
    _, key = make()
    caller = Caller(service, key)
    assert list_keys(db)[0].used_at is None

    for _ in range(5):
        caller.get("/api/broadcasts")
        clock.advance(25)

    last = clock.now() - timedelta(seconds=25)
    assert timedelta() <= last - list_keys(db)[0].used_at < timedelta(minutes=1)


def test_two_keys_of_a_client_live_while_one_replaces_the_other(service, db, clock, make):
    old_id, old = make(expires_at=clock.now() + timedelta(days=90), scopes=TEST_SCOPES)
    ends_at = clock.now() + timedelta(hours=24)

    row, new = rotate_key(db, clock, old_id, ends_at=ends_at, actor="tests")

    both = [Caller(service, key).get("/api/broadcasts").status_code for key in (old, new)]
    assert both == [200, 200]
    assert set(row.scopes) == TEST_SCOPES
    assert row.expires_at == clock.now() + timedelta(days=90)
    with pytest.raises(Conflict, match=f"has 2 live keys already, {old_id} and {row.id}"):
        make()
    with pytest.raises(Conflict, match=f"another live key, {old_id}"):
        rotate_key(db, clock, row.id, ends_at=ends_at, actor="tests")
    clock.advance(24 * 3600 + 1)
    answers = [Caller(service, key).get("/api/broadcasts").status_code for key in (old, new)]
    assert answers == [403, 200]
    make()


@pytest.mark.parametrize(
    ("client", "options", "reason"),
    [
        ("people", {}, "name: It must not be people"),
        ("no blanks", {}, "name: It must be 1 to 64 letters"),
        ("shop", {"networks": ("10.0.0.1/8",)}, "address: '10.0.0.1/8' is no address"),
        ("shop", {"is_test": True}, "scope: A test key changes nothing"),
    ],
)
def test_a_key_that_could_not_work_is_not_made(db, make, client, options, reason):
    with pytest.raises(BadInput, match=reason):
        make(client, **options)

    assert list_keys(db) == []


def test_a_test_key_checks_everything_and_sends_nothing(service, make, sandbox):
    _, key = make(scopes=TEST_SCOPES, is_test=True)
    caller = Caller(service, key)

    fine = caller.send(PHONE, "+46707654321", idempotency_key="order-1")
    again = caller.send(PHONE, idempotency_key="order-1")
    wrong = caller.send("12")

    assert fine.status_code == again.status_code == 202
    answer = fine.get_json()
    assert answer["message"] == "Checked, and not sent: this is a test key."
    assert (answer["status"], answer["recipients"]) == ("test", 2)
    assert answer["broadcast_id"] is answer["batch_id"] is answer["url"] is None
    assert wrong.status_code == 400
    assert wrong.get_json()["invalid_numbers"] == ["12"]
    assert sandbox.posts() == 0
    assert caller.ids() == []


def test_a_test_key_resends_nothing(service, make, sandbox):
    _, key = make("tests", scopes=TEST_SCOPES, is_test=True)
    made = Caller(service).send(PHONE)

    answer = Caller(service, key).act("resend-undelivered", made)

    assert answer.status_code == 403
    assert answer.get_json()["error"] == "A test key sends nothing: use another key"


def test_without_the_database_public_routes_take_a_stored_key_all_the_same(make_service, tmp_path):
    service = make_service(DATABASE_URL=f"sqlite:///{tmp_path / 'missing' / 'clarion.db'}")
    caller = Caller(service, make_key(is_test=False))

    assert caller.get("/health").status_code == 200
    assert caller.get("/api/broadcasts").status_code == 503
    assert Caller(service, KEY).get("/health").status_code == 200
