"""Files of subscribers over HTTP, in and out."""

import csv
import io
import shutil

import pytest
import requests

from app.config.scopes import KeyScope
from app.worker.jobs import import_next, run_maintenance
from tests.background import context_of
from tests.callers import Caller, limit_scopes
from tests.factories import AUTH, many_numbers
from tests.kills.mortal import wait_until
from tests.processes import running
from tests.subscribers.imports.imports import everybody, write_csv

ANN, BOB = "+46701234567", "+46701234568"
IMPORTS = "/api/subscribers/imports"
FILE = write_csv(["Mobil", "Vorname", "Ort"], ["070-123 45 67", "Ann", "Lund"], ["bad", "=1", ""])


@pytest.fixture
def service(make_service, either_database):
    return make_service(DATABASE_URL=either_database)


@pytest.fixture
def here(make_service):
    """A service on SQLite, where the database makes no difference."""
    return make_service()


def _create(service, **options):
    answer = Caller(service).post(IMPORTS, options)
    assert answer.status_code == 201, answer.text
    return answer.get_json()


def _put(service, made, file, **headers):
    sent = AUTH | {"Content-Type": "text/csv"} | headers
    return service.test_client().put(f"{made['url']}/file", data=file, headers=sent)


def _import(service, file, **options):
    made = _create(service, **options)
    answer = _put(service, made, file)
    assert answer.status_code == 202, answer.text
    while import_next(context_of(service)):
        pass
    return Caller(service).get(made["url"]).get_json()


def test_a_file_is_announced_sent_worked_off_and_what_it_refused_is_a_file(service):
    woken = []
    service.extensions["wake_importer"] = lambda: woken.append(True)
    made = _create(service, country="SE", tags=["VIP"])
    assert (made["status"], made["rows"], made["seconds_left"]) == ("waiting", 0, None)

    sent = _put(service, made, FILE).get_json()
    while import_next(context_of(service)):
        pass
    ended = Caller(service).get(made["url"]).get_json()
    refused = Caller(service).get(f"{made['url']}/refused.csv")

    assert woken == [True]
    assert (sent["status"], sent["bytes"], sent["lines"]) == ("writing", len(FILE), 3)
    assert sent["columns"] == {
        "Mobil": "phone", "Vorname": "first_name", "Ort": "attributes.Ort",
    }  # fmt: skip
    assert (ended["status"], ended["rows"], ended["created"], ended["refused"]) == (
        "complete", 2, 1, 1,
    )  # fmt: skip
    assert ended["completed_at"] is not None
    assert refused.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert list(csv.reader(io.StringIO(refused.text, newline=""))) == [
        ["line", "column", "cell", "reason"],
        ["3", "Mobil", "bad", "Not a phone number."],
    ]
    assert everybody(context_of(service).subscriber_context)[ANN]["tags"] == ["vip"]
    listed = Caller(service).get(IMPORTS).get_json()
    assert [each["import_id"] for each in listed["imports"]] == [made["import_id"]]


def test_what_all_or_nothing_only_checked_is_not_told_as_done(here):
    ended = _import(here, FILE, country="SE", mode="all_or_nothing")

    assert (ended["status"], ended["rows"], ended["created"], ended["refused"]) == (
        "refused", 2, 0, 1,
    )  # fmt: skip


def test_landlines_are_imported_with_a_warning_that_names_their_rows(service):
    berlin, new_york = "+4930901820", "+12025550123"
    file = write_csv(["phone"], [ANN], [berlin], ["bad"], [new_york], ["+46850829000"])

    ended = _import(service, file)

    assert (ended["created"], ended["refused"], ended["landlines"]) == (4, 1, 2)
    assert ended["warnings"] == [
        "2 rows have landlines, which get no texts in most countries: look at warnings.csv."
    ]
    warned = Caller(service).get(f"{ended['url']}/warnings.csv").text
    assert [row[:3] for row in csv.reader(io.StringIO(warned, newline=""))] == [
        ["line", "column", "cell"],
        ["3", "phone", berlin],
        ["6", "phone", "+46850829000"],
    ]
    assert "bad" in Caller(service).get(f"{ended['url']}/refused.csv").text


@pytest.mark.parametrize("mode", ["skip_bad", "all_or_nothing"])
def test_a_file_without_landlines_has_no_warning_and_one_with_has_it_once(here, mode):
    assert _import(here, write_csv(["phone"], [ANN]), mode=mode)["warnings"] == []

    ended = _import(here, write_csv(["phone"], ["+4930901820"]), mode=mode)

    assert (ended["status"], ended["created"], ended["landlines"]) == ("complete", 1, 1)
    assert len(Caller(here).get(f"{ended['url']}/warnings.csv").text.splitlines()) == 2


def test_a_number_that_no_country_has_is_no_landline(here):
    file = write_csv(["phone"], ["+9980"], ["+12"], ["+461"], ["+4930901820"])

    ended = _import(here, file, check_numbers=False)

    assert (ended["created"], ended["landlines"]) == (4, 1)


def test_a_refused_landline_is_not_warned_of(here):
    file = write_csv(["phone", "language"], ["+4930901820", "no language"])

    ended = _import(here, file)

    assert (ended["refused"], ended["landlines"], ended["warnings"]) == (1, 0, [])


def test_the_default_country_is_the_settings(make_service):
    ended = _import(make_service(DEFAULT_COUNTRY="SE"), FILE)

    assert ended["created"] == 1


def test_a_cell_that_a_spreadsheet_would_run_is_harmless_in_the_report(here):
    ended = _import(here, write_csv(["phone"], ["=cmd|x"]))

    assert "'=cmd" in Caller(here).get(f"{ended['url']}/refused.csv").text


WRONG = [
    ({"mode": "some"}, "mode"),
    ({"purpose": "fun"}, "purpose"),
    ({"columns": {"shoe": "x"}}, "columns"),
    ({"columns": {"phone": 7}}, "columns"),
    ({"columns": {"attributes.a b": "x"}}, "columns"),
    ({"columns": ["phone"]}, "columns"),
    ({"columns": {"phone": "a\0b"}}, "columns"),
    ({"ignore": "x"}, "ignore"),
    ({"tags": ["a/b"]}, "tags"),
    ({"country": "sweden"}, "country"),
    ({"country": "XX"}, "country"),
    ({"without_plus": "yes"}, "without_plus"),
    ({"encoding": "utf-7"}, "encoding"),
    ({"types": {"age": "date"}}, "types"),
    ({"types": {"a b": "text"}}, "types"),
    ({"consent": {"wording": "x", "source": "y"}}, "consent"),
    ({"consent": {"wording": "x", "source": "y", "at": "2999-01-01T00:00:00Z"}}, "consent"),
    ({"consent": {"wording": "", "source": "y", "at": "2025-01-01T00:00:00Z"}}, "consent"),
    ({"colour": "red"}, "colour"),
]


def test_wrong_options_are_refused_by_name_and_all_may_be_left_out(here):
    caller = Caller(here)

    answers = [(caller.post(IMPORTS, options), field) for options, field in WRONG]

    assert here.test_client().post(IMPORTS, headers=AUTH).get_json()["mode"] == "skip_bad"
    assert {answer.status_code for answer, _ in answers} == {400}
    assert [list(answer.get_json()["fields"]) for answer, _ in answers] == [
        [field] for _, field in answers
    ]


UNUSABLE = [
    (b"", {}, 400),
    (b"name\nAnn\n", {}, 400),
    (b"phone\n\xff\n", {}, 400),
    (b"PK\x03\x04", {}, 400),
    (FILE, {"Content-Type": "application/json"}, 415),
    (FILE, {"Content-Encoding": "gzip"}, 415),
    (FILE + b"x" * 2_000, {}, 413),
]


def test_a_wrong_file_is_refused_and_another_may_be_sent(make_service):
    service = make_service(IMPORT_MAX_BYTES="2000")
    made = _create(service, country="SE")

    for file, headers, status in UNUSABLE:
        answer = _put(service, made, file, **headers)

        assert answer.status_code == status
        assert answer.get_json()["error"]
        assert Caller(service).get(made["url"]).get_json()["status"] == "waiting"
    assert _put(service, made, FILE).status_code == 202
    assert _put(service, made, FILE).status_code == 409


def test_a_file_may_be_larger_than_any_other_body(make_service):
    service = make_service(MAX_BODY_BYTES="1000")

    ended = _import(service, write_csv(["phone"], *([n] for n in many_numbers(200))))

    assert ended["created"] == 200


def test_an_import_is_cancelled_and_nobody_knows_one_that_there_is_not(here):
    caller, made = Caller(here), _create(here)

    assert caller.post(f"{made['url']}/cancel").get_json()["status"] == "cancelled"
    again = caller.post(f"{made['url']}/cancel")
    assert (again.status_code, again.get_json()["status"]) == (409, "cancelled")
    assert _put(here, made, FILE).status_code == 409
    for answer in (
        caller.get(f"{IMPORTS}/nobody"),
        caller.get(f"{IMPORTS}/nobody/refused.csv"),
        caller.post(f"{IMPORTS}/nobody/cancel"),
        _put(here, {"url": f"{IMPORTS}/nobody"}, FILE),
    ):
        assert answer.status_code == 404
    assert caller.get(IMPORTS, cursor="nobody").status_code == 400


def test_importing_needs_the_scope_for_writing_and_exporting_the_one_for_reading(here):
    limit_scopes(here, KeyScope.READ_SUBSCRIBERS)
    caller = Caller(here)

    assert caller.post(IMPORTS, {}).status_code == 403
    assert caller.get(IMPORTS).status_code == 403
    assert caller.get("/api/subscribers.csv").status_code == 200


def test_who_may_only_write_gets_no_list_of_people(here):
    limit_scopes(here, KeyScope.WRITE_SUBSCRIBERS)

    assert Caller(here).get("/api/subscribers.csv").status_code == 403
    assert Caller(here).post(IMPORTS, {}).status_code == 201


def test_what_is_exported_can_be_imported_again(service, make_service, migrated_file, tmp_path):
    """Into the same database it changes nothing; into another it makes the same people."""
    other = shutil.copy(migrated_file, tmp_path / "other.db")
    file = (
        write_csv(
            ["phone", "vorname", "last name", "language", "tz", "tags", "active", "city", "a.b"],
            [ANN, "'=Ann", "O'Neil", "pt-BR", "Europe/Berlin", "a:b;c d", "yes", "'-1", "tel"],
            [BOB, "", "Ünal", "", "", "", "no", "", ""],
        )
        + f'+46701234569,"Li\nLu","a;@b ""x""",,,,,"{"x" * 500}",\n'.encode()
    )
    assert _import(service, file)["created"] == 3
    people = everybody(context_of(service).subscriber_context)
    assert people[ANN]["name"] == ("=Ann", "O'Neil")

    exported = Caller(service).get("/api/subscribers.csv")

    assert exported.headers["Content-Disposition"] == "attachment; filename=subscribers.csv"
    rows = list(csv.DictReader(io.StringIO(exported.text, newline="")))
    assert [row["phone"] for row in rows] == [ANN, BOB, "+46701234569"]
    assert rows[0]["first_name"] == "'=Ann"
    again = _import(service, exported.data)
    assert (again["rows"], again["unchanged"]) == (3, 3)
    elsewhere = make_service(DATABASE_URL=f"sqlite:///{other}")
    assert _import(elsewhere, exported.data)["created"] == 3
    assert everybody(context_of(elsewhere).subscriber_context) == people


def test_old_files_are_forgotten_by_keeping_house(make_service):
    service = make_service(IMPORT_KEPT_DAYS="0")
    ended = _import(service, FILE, country="SE")

    run_maintenance(context_of(service))

    assert Caller(service).get(f"{ended['url']}/refused.csv").status_code == 404


def test_a_running_service_takes_a_file_in_chunks_and_works_it_off_by_itself(tmp_path):
    """Without a Content-Length, and over the limit, too."""
    file = write_csv(["phone"], *([number] for number in many_numbers(3_000)))

    def chunks(raw):
        yield from (raw[start : start + 10_000] for start in range(0, len(raw), 10_000))

    def send(service, raw):
        made = requests.post(f"{service.url}{IMPORTS}", headers=AUTH, json={}, timeout=30).json()
        headers = AUTH | {"Content-Type": "text/csv"}
        url = f"{service.url}{made['url']}"
        return url, requests.put(f"{url}/file", data=chunks(raw), headers=headers, timeout=30)

    with running(tmp_path / "service.txt", IMPORT_MAX_BYTES="50000") as service:
        url, answer = send(service, file)
        assert answer.status_code == 202, answer.text
        _, refused = send(service, file + b"x" * 20_000)
        assert refused.status_code == 413

        def ended():
            shown = requests.get(url, headers=AUTH, timeout=30).json()
            return shown["status"] == "complete" and shown["created"] == 3_000

        wait_until(ended, within_s=90, why="the file is worked off")


def test_a_landline_that_was_only_checked_is_not_told_as_imported(here):
    ended = _import(here, "phone\n+493012345678\n0155\n", country="DE", mode="all_or_nothing")

    assert ended["status"] == "refused"
    assert (ended["landlines"], ended["warnings"]) == (0, [])
