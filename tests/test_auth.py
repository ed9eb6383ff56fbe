import pytest

from app.auth import require_api_key
from tests.callers import Caller, id_of
from tests.factories import KEY, broadcast_to


def _send(client, **headers):
    return client.post("/api/broadcast", headers=headers, json=broadcast_to("+46701234567"))


def test_without_a_key_nothing_is_sent(client, sandbox):
    answer = _send(client)

    assert answer.status_code == 401
    assert answer.get_json()["error"] == "API key required"
    assert sandbox.posts() == 0


@pytest.mark.parametrize(
    "key",
    ["wrong", KEY[:-1], KEY + "x", KEY.upper(), "ключ".encode().decode("latin-1"), "x" * 5000],
)
def test_with_a_wrong_key_nothing_is_sent(client, sandbox, key):
    answer = _send(client, **{"X-API-Key": key})

    assert answer.status_code == 403
    assert answer.get_json()["error"] == "Invalid API key"
    assert sandbox.posts() == 0


def test_the_key_is_asked_for_before_the_body_is_looked_at(client):
    answer = client.post("/api/broadcast", data="{", content_type="text/plain")

    assert answer.status_code == 401


def test_every_key_of_the_list_opens(make_service, sandbox):
    client = make_service(API_KEYS="first-key,named:second-key").test_client()

    answers = [_send(client, **{"X-API-Key": key}) for key in ("first-key", "second-key")]

    assert [answer.status_code for answer in answers] == [202, 202]


def test_a_name_is_not_a_part_of_its_key(make_service, sandbox):
    client = make_service(API_KEYS="named:second-key").test_client()

    assert _send(client, **{"X-API-Key": "named:second-key"}).status_code == 403


def test_a_key_in_the_url_is_no_key(client):
    answer = client.post(f"/api/broadcast?api_key={KEY}", json=broadcast_to("+46701234567"))

    assert answer.status_code == 401


def test_a_key_without_the_scope_of_a_route_does_not_open_it(make_service, sandbox):
    service = make_service()
    guarded = require_api_key("unknown:scope")(lambda: "opened")
    service.add_url_rule("/guarded", endpoint="guarded", view_func=guarded)

    answer = service.test_client().get("/guarded", headers={"X-API-Key": KEY})

    assert answer.status_code == 403
    assert answer.get_json()["error"] == "This API key lacks the scope unknown:scope"


def test_a_key_without_a_name_is_replaced_by_one_with_its_clients_name(make_service, sandbox):
    old = Caller(make_service(API_KEYS="old-key-0a1b"), "old-key-0a1b")
    made = old.send("+46701234567")
    client = old.show(made)["client"]

    both = make_service(API_KEYS=f"old-key-0a1b,{client}:new-key-2c3d,stranger-4e5f")

    assert Caller(both, "new-key-2c3d").ids() == [id_of(made)]
    assert Caller(both, "stranger-4e5f").ids() == []
    unnamed = [key.is_unnamed for key in both.extensions["config"].api_keys]
    assert unnamed == [True, False, True]
