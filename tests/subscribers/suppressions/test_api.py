"""Suppressions and evidence of consent over HTTP, on either database."""

import csv
import io
import json
from datetime import timedelta

import pytest
from flask import Flask

from app.config.scopes import KeyScope
from app.subscribers.consent.ledger import read_events
from app.subscribers.models import Cause
from app.subscribers.suppressions.csv_files import import_suppressions
from tests.callers import Caller, limit_scopes
from tests.factories import AUTH, many_numbers
from tests.people import suppress

ANN, BOB = "+46701234567", "+46707654321"
PATH = "/api/suppressions"


@pytest.fixture
def service(make_service, either_database, sandbox) -> Flask:
    return make_service(DATABASE_URL=either_database)


@pytest.fixture
def caller(service):
    return Caller(service)


def people_of(service):
    return service.extensions["clarion"].subscriber_context


def text_stop(service, phone=ANN, **more):
    people = people_of(service)
    said = {"cause": Cause.STOP, "actor": "phone", "at": people.now()} | more
    with people.db.write() as tx:
        suppress(tx, people, phone, **said)


def events_of(service, phone=ANN):
    with people_of(service).db.read() as tx:
        return [
            (each["kind"].value, each["actor"], each["channel"], each["wording"])
            for each in read_events(tx, phone)
        ]


def look_up(caller, phone=ANN):
    answer = caller.post(f"{PATH}/lookup", {"phone": phone})
    assert answer.status_code == 200, answer.text
    return answer.get_json()


def send_list(service, content, mimetype="text/csv", **query):
    return service.test_client().post(
        f"{PATH}/import",
        data=content,
        query_string=query,
        headers=AUTH | {"Content-Type": mimetype},
    )


def test_a_number_is_entered_seen_and_lifted_again(service, caller):
    assert look_up(caller) == {"suppressed": False, "suppression": None}

    added = caller.post(PATH, {"phone": f" {ANN} ", "note": "called us"})
    again = caller.post(PATH, {"phones": [ANN, BOB, BOB]})

    assert added.get_json() == {"numbers": 1, "newly_suppressed": 1}
    assert again.get_json() == {"numbers": 2, "newly_suppressed": 1}
    found = look_up(caller)["suppression"]
    assert (found["cause"], found["scope"], found["actor"]) == ("manual", "all", "tests")
    assert (found["active"], found["note"], found["phone"]) == (True, "called us", ANN)

    released = caller.post(f"{PATH}/{found['suppression_id']}/release", {"note": "a slip"})

    assert released.status_code == 200
    assert not released.get_json()["active"]
    assert not look_up(caller)["suppressed"]
    assert events_of(service) == [
        ("opt_out", "tests", "api", "called us"),
        ("released", "tests", "api", "a slip"),
    ]
    assert len(events_of(service, BOB)) == 1


def test_an_unsure_stop_is_confirmed_or_lifted(service, caller):
    text_stop(service, needs_review=True)
    text_stop(service, BOB, needs_review=True)
    (bob, ann) = caller.get(PATH, needs_review="true").get_json()["suppressions"]

    confirmed = caller.post(f"{PATH}/{ann['suppression_id']}/confirm").get_json()
    caller.post(f"{PATH}/{bob['suppression_id']}/release", {"note": "meant the bus stop"})

    assert not confirmed["needs_review"]
    assert look_up(caller, ANN)["suppressed"]
    assert not look_up(caller, BOB)["suppressed"]
    assert caller.get(PATH, needs_review="true").get_json()["suppressions"] == []
    late = caller.post(f"{PATH}/{bob['suppression_id']}/confirm")
    assert late.status_code == 409
    assert caller.post(f"{PATH}/nothing/confirm").status_code == 404


def test_pages_and_choices_give_each_suppression_once(service, caller):
    numbers = many_numbers(7)
    caller.post(PATH, {"phones": numbers[:5], "scope": "marketing"})
    text_stop(service, numbers[5])
    text_stop(service, numbers[6])
    first = caller.get(PATH, limit=1).get_json()["suppressions"][0]
    caller.post(f"{PATH}/{first['suppression_id']}/release", {"note": "x"})

    def walk(**query):
        seen, cursor = [], None
        while True:
            asked = query | ({"cursor": cursor} if cursor else {})
            page = caller.get(PATH, limit=2, **asked).get_json()
            seen += [each["phone"] for each in page["suppressions"]]
            cursor = page["cursor"]
            if cursor is None:
                return seen

    assert walk() == numbers[::-1]
    assert walk(active="true") == numbers[5::-1]
    assert walk(cause="stop", active="false") == [numbers[6]]
    assert walk(scope="marketing", cause="manual") == numbers[4::-1]
    assert caller.get(PATH, cursor="x").status_code == 400
    assert caller.get(PATH, cause="love").status_code == 400


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"phone": ANN, "phones": [BOB]},
        {"phones": []},
        {"phone": "0701234567"},
        {"phone": ANN, "scope": "some"},
        {"phone": ANN, "note": "a\0b"},
        {"phone": ANN, "note": "x" * 201},
        {"phone": ANN, "until": "tomorrow"},
    ],
)
def test_what_cannot_be_entered_is_refused_by_name(make_service, body):
    answer = Caller(make_service()).post(PATH, body)

    assert answer.status_code == 400
    assert answer.get_json()["fields"]


def test_a_list_is_taken_over_once_and_what_is_wrong_with_it_is_told(service, caller):
    text_stop(service)
    content = (
        "\ufeffName;Mobile number\r\nAnn;+46 70-123 45 67\r\nBob;0046707654321\r\nCy;\r\nDi;abc\r\n"
    )

    taken, again = send_list(service, content.encode()), send_list(service, content.encode())

    assert taken.status_code == 200, taken.text
    told = taken.get_json()
    assert (told["numbers"], told["newly_suppressed"], told["refused"]) == (2, 1, 2)
    assert [each["line"] for each in told["refusals"]] == [4, 5]
    assert again.get_json()["newly_suppressed"] == 0
    assert events_of(service, BOB) == [("opt_out", "tests", "import", "")]
    assert look_up(caller, BOB)["suppression"]["cause"] == "import"
    assert look_up(caller)["suppression"]["cause"] == "stop"


@pytest.mark.parametrize(
    ("content", "query", "found"),
    [
        ("+46701234567\n\n+46707654321", {}, [ANN, BOB]),
        ("46701234567\n", {}, [ANN]),
        ("tel\n070-123 45 67\n", {"country": "SE"}, [ANN]),
        ("Wer,Wo\nx,+46701234567\n", {"column": "wo"}, [ANN]),
        ('note,phone\n"two\nlines",+46701234567\n', {}, [ANN]),
        ("phone\tname\n+46701234567\tAnn\n", {}, [ANN]),
    ],
)
def test_lists_are_read_as_people_write_them(make_service, content, query, found):
    service = make_service()

    taken = send_list(service, content.encode(), **query).get_json()

    assert (taken["newly_suppressed"], taken["refused"]) == (len(found), 0)
    assert all(look_up(Caller(service), each)["suppressed"] for each in found)


def test_json_lines_are_a_list_too(make_service):
    service = make_service()
    lines = [json.dumps(ANN), "", json.dumps({"phone": BOB, "x": 1}), "7", "null"]
    lines.append(json.dumps({"phone": int(ANN)}))

    taken = send_list(service, "\n".join(lines).encode(), "application/x-ndjson").get_json()

    assert (taken["numbers"], taken["refused"]) == (3, 2)
    assert [each["line"] for each in taken["refusals"]] == [4, 5]


@pytest.mark.parametrize(
    ("content", "mimetype", "status"),
    [
        (b"who\nx\n", "text/csv", 400),
        (b"phone\n\xff\xfe\n", "text/csv", 400),
        (b"phone\n" + b"1" * 200_000, "text/csv", 400),
        (b"{", "application/x-ndjson", 400),
        (b"[" * 100_000, "application/x-ndjson", 400),
        (b"\n" * 2_100_000, "application/x-ndjson", 400),
        (b"7\n" * 100_001, "application/x-ndjson", 400),
        (b"phone\n", "application/json", 415),
    ],
)
def test_what_is_no_list_is_refused(make_service, content, mimetype, status):
    assert send_list(make_service(), content, mimetype).status_code == status


def test_the_file_can_be_imported_elsewhere_and_no_spreadsheet_runs_it(service, caller):
    caller.post(PATH, {"phone": ANN, "note": "=1+1"})
    caller.post(PATH, {"phone": BOB, "scope": "marketing"})

    answer = caller.get(f"{PATH}.csv")

    assert answer.mimetype == "text/csv"
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [(row["phone"], row["scope"], row["note"]) for row in rows] == [
        (ANN, "all", "'=1+1"),
        (BOB, "marketing", ""),
    ]
    for row in rows:
        caller.post(f"{PATH}/{row['id']}/release", {"note": "x"})
    assert caller.get(f"{PATH}.csv").text.count("\r\n") == 1
    assert caller.get(f"{PATH}.csv", active="false").text.count("\r\n") == 3
    assert send_list(service, answer.data).get_json()["newly_suppressed"] == 2


def test_evidence_is_handed_out_with_every_word(service, caller):
    caller.post(PATH, {"phone": ANN, "note": "called us"})

    answer = caller.post("/api/consent/evidence", {"phone": ANN}).get_json()

    (event,) = answer["events"]
    assert (event["kind"], event["wording"], event["actor"]) == ("opt_out", "called us", "tests")
    assert answer["head"] == {"id": 1, "hash": event["hash"]}
    nobody = caller.post("/api/consent/evidence", {"phone": BOB}).get_json()
    assert nobody["events"] == []


def test_an_erased_person_can_be_asked_for_and_not_lifted(service, caller):
    erased = caller.post(f"{PATH}/erase", {"phone": ANN}).get_json()

    assert erased["erased"]
    found = look_up(caller)["suppression"]
    assert (found["cause"], found["phone"]) == ("erased", None)
    lifted = caller.post(f"{PATH}/{found['suppression_id']}/release", {"note": "x"})
    assert lifted.status_code == 409
    assert caller.post("/api/subscribers/nobody/erase").status_code == 404
    assert ANN not in caller.get(f"{PATH}.csv").text


@pytest.mark.parametrize(
    ("path", "scope"),
    [
        (f"{PATH}/x/release", KeyScope.OVERSEE_SUBSCRIBERS),
        (f"{PATH}/erase", KeyScope.OVERSEE_SUBSCRIBERS),
        ("/api/subscribers/x/erase", KeyScope.OVERSEE_SUBSCRIBERS),
        ("/api/consent/evidence", KeyScope.OVERSEE_SUBSCRIBERS),
    ],
)
def test_lifting_erasing_and_evidence_need_a_scope_of_their_own(make_service, path, scope):
    service = make_service()
    limit_scopes(service, KeyScope.READ_SUBSCRIBERS, KeyScope.WRITE_SUBSCRIBERS)

    answer = Caller(service).post(path, {"phone": ANN, "note": "x"})

    assert answer.status_code == 403
    assert scope in answer.get_json()["error"]


def test_a_text_from_before_a_release_does_not_come_back(service, caller):
    people = people_of(service)
    text_stop(service)
    found = look_up(caller)["suppression"]
    caller.post(f"{PATH}/{found['suppression_id']}/release", {"note": "agreed on the phone"})

    text_stop(service, at=people.now() - timedelta(minutes=1))

    assert not look_up(caller)["suppressed"]


@pytest.mark.parametrize("size", [1, 2, 7, 64])
def test_a_list_may_come_in_pieces_of_any_size(make_service, size):
    people = people_of(make_service())
    numbers = many_numbers(3)
    content = "\ufeffnamn;telefon\r\n" + "".join(f'"å;\r\nö";{each}\r\n' for each in numbers)
    raw = content.encode()
    blocks = (raw[place : place + size] for place in range(0, len(raw), size))

    taken = import_suppressions(people, blocks, is_json=False, actor="ops", source="list")

    assert (taken.numbers, taken.newly_suppressed, taken.refused) == (3, 3, 0)


@pytest.mark.parametrize(
    "content",
    [
        f'phone,note\n{ANN},"open\n{BOB},ok\n',
        f'phone,note\n{ANN},"a "note" here"\n{BOB},ok\n',
        f"phone,note\n{ANN},\u2028\n\n,\n{BOB},ok\n",
    ],
)
def test_a_broken_quote_costs_no_opt_out(make_service, content):
    people = people_of(make_service())

    taken = import_suppressions(
        people, [content.encode()], is_json=False, actor="ops", source="list"
    )

    assert (taken.newly_suppressed, taken.refused) == (2, 0)


def test_a_refused_file_is_not_sent_back(make_service):
    refused = send_list(make_service(), b"x" * 100_000, "text/csv")

    assert refused.status_code == 400
    assert len(refused.data) < 1_000


def test_a_cell_of_too_many_digits_is_no_number(make_service):
    content = b"phone\n" + b"1" * 26 + b"\n+46701234567\n"

    taken = send_list(make_service(), content, "text/csv", country="SE").get_json()

    assert (taken["numbers"], taken["refused"]) == (1, 1)
    assert "2 to 15 digits" in taken["refusals"][0]["reason"]
