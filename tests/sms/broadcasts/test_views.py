"""Looking at broadcasts and at their messages: nobody is left out, nothing secret is in a URL."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import event, text

import app.auth
from app.db.viewer import Viewer
from app.sms.broadcasts.views import list_broadcasts
from app.sms.dispatch.burst import submit_next
from app.sms.dispatch.circuit_breaker import close_circuit_by_hand
from app.worker.jobs import plan_next, sweep
from tests.background import work_off
from tests.callers import OTHER_KEY, PATIENT, TWO_UNWALLED, Caller, id_of
from tests.factories import many_numbers

ANN, BOB = "+46701234567", "+46707654321"


@pytest.fixture
def either_service(make_service, either_database, sandbox):
    return make_service(DATABASE_URL=either_database, API_KEYS=TWO_UNWALLED, **PATIENT)


@pytest.fixture
def service(make_service, sandbox):
    return make_service(API_KEYS=TWO_UNWALLED, **PATIENT)


@pytest.fixture
def caller(service):
    return Caller(service)


def _ctx(service):
    return service.extensions["clarion"]


def _walk(caller, path, of, **query):
    """Every row of a list, page by page, and the cursors on the way."""
    rows, cursors = [], []
    while True:
        answer = caller.get(path, **query)
        assert answer.status_code == 200, answer.data
        page = answer.get_json()
        rows += page[of]
        if page["cursor"] is None:
            return rows, cursors
        cursors.append(page["cursor"])
        query["cursor"] = page["cursor"]


def _messages(caller, broadcast, **query):
    return _walk(caller, f"/api/broadcasts/{id_of(broadcast)}/messages", "messages", **query)


def test_one_shows_all_that_is_known_and_neither_its_text_nor_a_number(either_service, sandbox):
    caller = Caller(either_service)
    made = caller.send(ANN, BOB, ANN, "nobody", skip_invalid=True, reference="r-1", sender="Acme")

    view = caller.show(made)

    timeline = view.pop("timeline")
    times = {name: view.pop(name) for name in [*view] if name.endswith("_at")}
    assert times.pop("send_at") is None
    assert times.pop("all_reported_at") is None
    assert times.pop("purged_at") is None
    assert {datetime.fromisoformat(each).utcoffset() for each in times.values()} == {timedelta()}
    assert times["created_at"] <= times["first_submitted_at"]
    assert times["first_submitted_at"] <= times["completed_at"] < times["expires_at"]
    assert times["created_at"] < timeline.pop("last_submitted_at") <= times["completed_at"]
    assert timeline == {
        **{name: times[name] for name in ("created_at", "first_submitted_at", "completed_at")},
        "all_reported_at": None,
        "delivered": {"p50": None, "p90": None, "p99": None},
    }
    assert view == {
        "broadcast_id": id_of(made),
        "status": "complete",
        "url": f"/api/broadcasts/{id_of(made)}",
        "client": "tests",
        "created_by": None,
        "reference": "r-1",
        "category": "transactional",
        "priority": 7,
        "sender": "Acme",
        "encoding": "GSM-7",
        "parts_per_message": 1,
        "recipients": 3,
        "duplicates_removed": 1,
        "parts": 2,
        "counts": {
            **dict.fromkeys(view["counts"], 0),
            "submitted": 2,
            "invalid": 1,
        },
        "reasons": [
            {
                "status": "submitted",
                "code": None,
                "reason": "Sinch has it; no final status is reported yet.",
                "retry": False,
                "messages": 2,
            },
            {
                "status": "invalid",
                "code": None,
                "reason": "Not a phone number.",
                "retry": False,
                "messages": 1,
            },
        ],
        "kept_until": None,
        "resend_of": None,
        "batches": {"accepted": 1},
        "excluded": {},
        "exclusions": [],
        "progress": {
            "queue_position": None,
            "starts_at": times["first_submitted_at"],
            "per_second": None,
            "finishes_at": None,
        },
        "tag": None,
        "audience": None,
        "resolving": False,
        "template": None,
        "canary": None,
        "stopped_at_sinch": 0,
        "refusal": None,
    }


def test_at_every_stage_the_counts_add_up_to_all_who_were_asked_for(either_service, sandbox):
    caller, ctx = Caller(either_service), _ctx(either_service)
    faults = [
        {"status": 429},
        {"when": "before", "do": "cut"},
        {"when": "after", "do": "cut"},
        {"status": 400, "code": "syntax_invalid_parameter_format"},
        {"status": 400, "code": "syntax_constraint_violation"},
        {"status": 401, "code": "unauthorized"},
    ]
    for skip, fault in enumerate(faults):
        sandbox.order_fault(on="POST /batches", **{"skip": skip, "times": 1} | fault)
    made = caller.send(*many_numbers(21_500), "nobody", "no one", skip_invalid=True)
    seen = [caller.show(made)]

    def look():
        seen.append(caller.show(made))

    while plan_next(ctx):
        look()
    for _ in range(8):
        submit_next(replace(ctx, rules=replace(ctx.rules, retry_wait_max_s=0.001)))
        look()
    caller.act("cancel", made)
    look()
    sweep(ctx)
    look()

    assert {view["recipients"] for view in seen} == {21_502}
    assert {sum(view["counts"].values()) for view in seen} == {21_502}
    assert {view["counts"]["invalid"] for view in seen} == {2}
    assert seen[-1]["counts"]["pending"] == 0
    words = {word for view in seen for word, count in view["counts"].items() if count}
    assert words >= {"pending", "submitted", "unconfirmed", "cancelled"}


def test_broadcasts_come_newest_first_each_once_on_one_page(either_service, sandbox):
    caller = Caller(either_service)
    made = [id_of(caller.send(ANN, reference=f"r{n}")) for n in range(7)]

    shown, cursors = _walk(caller, "/api/broadcasts", "broadcasts", limit=3)

    assert [each["broadcast_id"] for each in shown] == made[::-1]
    assert len(cursors) == 2
    assert shown[0] == caller.show(made[-1])


def test_one_that_comes_meanwhile_disturbs_no_page(caller, sandbox):
    made = [id_of(caller.send(ANN)) for _ in range(4)]
    first = caller.get("/api/broadcasts", limit=2).get_json()

    caller.send(ANN)
    second = caller.get("/api/broadcasts", limit=2, cursor=first["cursor"]).get_json()

    both = [each["broadcast_id"] for each in first["broadcasts"] + second["broadcasts"]]
    assert both == made[::-1]
    assert second["cursor"] is None


def test_broadcasts_can_be_asked_for_by_status_client_and_reference(either_service, sandbox):
    ours, theirs = Caller(either_service), Caller(either_service, OTHER_KEY)
    done = id_of(ours.send(ANN, reference="r-1"))
    other = id_of(theirs.send(ANN, reference="r-1"))
    seconds_from_now = datetime.now(UTC) + timedelta(hours=1)
    waiting = id_of(ours.send(ANN, send_at=seconds_from_now.isoformat()))

    assert ours.ids(status="complete") == [other, done]
    assert ours.ids(status="scheduled") == [waiting]
    assert ours.ids(client="other") == [other]
    assert ours.ids(reference="r-1", client="tests") == [done]
    assert ours.ids(reference="r-2") == []


@pytest.mark.parametrize("client", ["tests", None])
def test_a_reference_is_found_by_its_index(either_machine, client):
    machine = either_machine
    db = machine.ctx.db
    found = []
    event.listen(db.engine, "before_cursor_execute", lambda *said: found.append(said[2:4]))
    ctx = replace(machine.ctx, viewer=Viewer(client, sees_all=client is None))
    list_broadcasts(ctx, reference="r-1")
    query, values = next(said for said in found if "reference = " in said[0])

    with db.write() as tx:
        if not db.is_sqlite:
            # As it is once there are many; so few broadcasts are read one after another.
            tx.execute(text("SET LOCAL enable_seqscan = off"))
        explain = "EXPLAIN QUERY PLAN " if db.is_sqlite else "EXPLAIN "
        plan = " ".join(str(row) for row in tx.exec_driver_sql(explain + query, values))

    assert "ix_broadcasts_reference" in plan


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"limit": "0"}, "limit"),
        ({"limit": "201"}, "limit"),
        ({"limit": "-1"}, "limit"),
        ({"limit": "many"}, "limit"),
        ({"limit": "9" * 5000}, "limit"),
        ({"cursor": ""}, "cursor"),
        ({"cursor": "x"}, "cursor"),
        ({"cursor": "-1"}, "cursor"),
        ({"cursor": "٣"}, "cursor"),
        ({"cursor": "9" * 19}, "cursor"),
        ({"cursor": "1' OR '1'='1"}, "cursor"),
        ({"cursor": "1\0"}, "cursor"),
        ({"status": "sent"}, "status"),
        ({"status": ""}, "status"),
        ({"client": ""}, "client"),
        ({"client": "c" * 65}, "client"),
        ({"client": "a\0b"}, "client"),
        ({"reference": "\0"}, "reference"),
        ({"staus": "complete"}, "staus"),
    ],
)
def test_a_wrong_question_about_broadcasts_names_the_field(caller, query, field):
    answer = caller.get("/api/broadcasts", **query)

    assert answer.status_code == 400
    assert [*answer.get_json()["fields"]] == [field]
    assert answer.get_json()["error"].startswith(field)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"limit": "0"}, "limit"),
        ({"limit": "1001"}, "limit"),
        ({"cursor": "1"}, "cursor"),
        ({"cursor": "1-2-3"}, "cursor"),
        ({"cursor": "1-99999"}, "cursor"),
        ({"cursor": "-0"}, "cursor"),
        ({"cursor": ANN}, "cursor"),
    ],
)
def test_a_wrong_question_about_messages_names_the_field(caller, sandbox, query, field):
    made = caller.send(ANN)

    answer = caller.get(f"/api/broadcasts/{id_of(made)}/messages", **query)

    assert answer.status_code == 400
    assert [*answer.get_json()["fields"]] == [field]


@pytest.mark.parametrize("path", ["", "/messages"])
def test_an_unknown_broadcast_is_told_as_such(either_service, path):
    for broadcast in ("0" * 26, "x", "%00", "a%00b", "%2e%2e", "1", "é" * 300):
        answer = Caller(either_service).get(f"/api/broadcasts/{broadcast}{path}")

        assert answer.status_code == 404, broadcast
        assert answer.get_json()["error"], broadcast


@pytest.mark.parametrize("limit", [1, 7, 1000])
def test_the_messages_are_everybody_once_in_their_order_whatever_the_page(
    either_service, sandbox, limit
):
    caller, count = Caller(either_service), 15 if limit == 1 else 2_345
    numbers = many_numbers(count)[::-1] if limit < 1000 else many_numbers(count)
    numbers = numbers[: 40 * limit]
    made = caller.send(*numbers)
    work_off(either_service)

    messages, _ = _messages(caller, made, limit=limit)

    assert [each["recipient"] for each in messages] == numbers
    assert {each["status"] for each in messages} == {"submitted"}
    batches = {batch["id"]: batch["client_reference"] for batch in sandbox.batches()}
    assert {each["batch_id"]: each["client_reference"] for each in messages} == batches


def test_no_cursor_holds_a_number(caller, service, sandbox):
    made = caller.send(*many_numbers(1500))
    work_off(service)

    _, cursors = _messages(caller, made, limit=100)

    assert len(cursors) == 14
    assert all(re.fullmatch("[0-9]{1,4}-[0-9]{1,4}", each) for each in cursors)


def test_before_they_are_cut_the_messages_are_there_and_wait(caller, sandbox):
    numbers = many_numbers(1500)
    made = caller.send(*numbers)

    messages, _ = _messages(caller, made, limit=1000)

    assert [each["recipient"] for each in messages] == numbers
    assert {(each["status"], each["batch_id"]) for each in messages} == {("pending", None)}


@pytest.mark.slow
def test_a_large_audience_that_is_put_in_order_meanwhile_loses_nobody_unnoticed(
    either_service, sandbox
):
    """An audience is sorted when its cutting begins: a place in it is then somebody else's."""
    caller, numbers = Caller(either_service), many_numbers(20_500)[::-1]
    made = caller.send(*numbers)
    path = f"/api/broadcasts/{id_of(made)}/messages"
    first = caller.get(path, limit=1000).get_json()

    plan_next(_ctx(either_service))
    second = caller.get(path, limit=1000, cursor=first["cursor"])

    assert second.status_code == 400
    assert "again" in second.get_json()["error"]
    messages, _ = _messages(caller, made, limit=1000)
    assert [each["recipient"] for each in messages] == sorted(numbers)


def test_of_each_message_is_told_where_it_stands(either_service, sandbox):
    caller, numbers = Caller(either_service), many_numbers(3500)
    made = caller.send(*numbers)
    sandbox.order_fault(on="POST /batches", skip=1, when="before", do="cut")
    while plan_next(_ctx(either_service)):
        pass
    submit_next(_ctx(either_service))
    submit_next(_ctx(either_service))
    caller.act("cancel", made)

    messages, _ = _messages(caller, made, limit=1000)

    told = [each["status"] for each in messages]
    assert told == ["submitted"] * 1000 + ["unconfirmed"] * 1000 + ["cancelled"] * 1500
    counts = caller.show(made)["counts"]
    assert {word: told.count(word) for word in set(told)} == {
        word: count for word, count in counts.items() if count
    }


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("GET", "", "broadcasts:read"),
        ("GET", "/{id}", "broadcasts:read"),
        ("GET", "/{id}/messages", "messages:read"),
        ("GET", "/{id}/messages.csv", "broadcasts:read"),
        ("POST", "/{id}/resend-undelivered", "broadcasts:send"),
        ("POST", "/{id}/pause", "broadcasts:control"),
        ("POST", "/{id}/resume", "broadcasts:control"),
        ("POST", "/{id}/cancel", "broadcasts:control"),
    ],
)
def test_each_asks_for_a_key_and_for_its_scope(service, caller, sandbox, method, path, scope):
    made = caller.send(ANN)
    url = f"/api/broadcasts{path.format(id=id_of(made))}"
    http = service.test_client()

    assert http.open(url, method=method).status_code == 401
    assert http.open(url, method=method, headers={"X-API-Key": "wrong"}).status_code == 403
    adapter = service.url_map.bind("localhost")
    endpoint, _ = adapter.match(url, method=method)
    assert getattr(service.view_functions[endpoint], app.auth.SCOPE_MARK) == scope


def test_a_refusal_of_our_account_is_not_shown_in_production_but_one_of_the_text_is(
    service, caller, sandbox
):
    sandbox.order_fault(on="POST /batches", status=401, code="unauthorized", text="secret")
    sandbox.order_fault(on="POST /batches", status=400, code="syntax_x", text="bad text")
    held = caller.send(ANN)
    close_circuit_by_hand(_ctx(service), actor="tests")
    refused = caller.send(BOB)

    shown = caller.show(held)["refusal"], caller.show(refused)["refusal"]
    service.config["PRODUCTION"] = True
    in_production = caller.show(held)["refusal"], caller.show(refused)["refusal"]

    assert shown[0] == {"status": 401, "code": "unauthorized", "text": "secret"}
    assert in_production == (None, {"status": 400, "code": "syntax_x", "text": "bad text"})
    assert shown[1] == in_production[1]
