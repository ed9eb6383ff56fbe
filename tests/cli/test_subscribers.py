"""`flask subscribers`: files in and out; what Ctrl-C and kill -9 leave is taken up again."""

import csv
import re
import signal
import time

import pytest
from sqlalchemy import func, select

from app.subscribers.imports.service import list_imports, view_import
from app.subscribers.models import Subscriber
from tests import fork_server
from tests.background import context_of
from tests.commands import FLASK
from tests.environ import clean_environ
from tests.factories import many_numbers, settings
from tests.subscribers.imports.imports import everybody, write_csv

ANN, BOB = "+46701234567", "+46701234568"


@pytest.fixture
def run(service):
    def run(*arguments):
        return service.test_cli_runner().invoke(args=["subscribers", *map(str, arguments)])

    return run


@pytest.fixture
def file(tmp_path):
    def write(content, name="people.csv"):
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return write


def test_a_file_becomes_subscribers(run, service, file):
    content = write_csv(["Telefon", "Kontakt", "Notiz", "Alter"], [BOB, "070-123 45 67", "x", "7"])

    ended = run(
        "import", file(content), "--country", "SE", "--column", "phone=Kontakt",
        "--ignore", "Notiz", "--type", "Alter=number", "--tag", "VIP", "--tag", "all",
    )  # fmt: skip

    assert ended.exit_code == 0, ended.output
    assert "complete: 1 row, 1 created, 0 updated, 0 unchanged, 0 merged, 0 refused" in ended.output
    assert "'Kontakt' is phone" in ended.output
    assert "'Notiz' is left out" in ended.output
    found = everybody(context_of(service).subscriber_context)[ANN]
    assert found["tags"] == ["all", "vip"]
    assert found["attributes"] == {"Telefon": BOB, "Alter": 7}


def test_refused_rows_are_written_to_a_file_and_the_exit_code_says_so(run, file, tmp_path):
    report = tmp_path / "refused.csv"

    ended = run("import", file(write_csv(["phone"], [ANN], ["bad"])), "--refused", report)

    assert ended.exit_code == 1
    assert "1 created, 0 updated, 0 unchanged, 0 merged, 1 refused" in ended.output
    with report.open(newline="") as opened:
        assert [row["line"] for row in csv.DictReader(opened)] == ["3"]
    assert run("import", file(b"phone\n"), "--refused", report).exit_code == 2


def test_landlines_are_named_by_their_lines_and_taken(run, file, tmp_path):
    report = tmp_path / "warnings.csv"
    path = file(write_csv(["phone"], [ANN], ["+4930901820"], ["+46850829000"]))

    ended = run("import", path, "--warnings", report)

    assert ended.exit_code == 0, ended.output
    assert "3 created" in ended.output
    assert "warning: 2 rows have landlines" in ended.output
    assert "lines 3, 4" in ended.output
    with report.open(newline="") as opened:
        assert [row["cell"] for row in csv.DictReader(opened)] == [
            "+4930901820",
            "+46850829000",
        ]


def test_the_report_of_refusals_may_be_for_a_spreadsheet(run, file, tmp_path):
    report = tmp_path / "refused.csv"
    path = file(write_csv(["phone"], ["+46001234567"]))

    run("import", path, "--refused", report, "--spreadsheet", "--delimiter", ";")

    assert report.read_text("utf-8").splitlines()[:2] == [
        "\ufeffline;column;cell;reason",
        '2;phone;"=""+46001234567""";No country has numbers like this one.',
    ]


def test_the_reasons_of_refusals_are_summed_up_with_the_way_out(run, file):
    path = file(write_csv(["phone"], [ANN], ["070-123 45 68"], ["070-123 45 69"], ["bad"]))

    ended = run("import", path)

    assert ended.exit_code == 1
    assert re.search(r"^ +2 refused: .*--country", ended.output, re.M), ended.output
    assert re.search(r"^ +1 refused: Not a phone number", ended.output, re.M)


def test_a_file_that_cannot_be_used_leaves_no_import_that_waits(run, file):
    ended = run("import", file("phone;name\n+46701234567;Åsa\n".encode("cp1252")))

    assert ended.exit_code == 2
    assert "give --encoding" in ended.output
    listed = run("imports").output
    assert listed.startswith("IMPORT ")
    assert "waiting" not in listed


def test_of_all_or_nothing_a_bad_row_keeps_all_out(run, service, file):
    ended = run("import", file(write_csv(["phone"], [ANN], ["bad"])), "--all-or-nothing")

    assert ended.exit_code == 1
    assert "refused: 2 rows, 1 refused" in ended.output
    assert everybody(context_of(service).subscriber_context) == {}


def test_for_marketing_a_consent_may_be_given_for_all(run, service, file):
    path = file(write_csv(["phone"], [ANN]))

    without = run("import", path, "--purpose", "marketing")
    assert without.exit_code == 2
    assert "--consent-wording, --consent-source and --consent-at" in without.output
    ended = run(
        "import", path, "--purpose", "marketing", "--consent-wording", "Yes",
        "--consent-source", "fair", "--consent-at", "2025-01-01T00:00:00Z",
    )  # fmt: skip

    assert ended.exit_code == 0, ended.output
    assert everybody(context_of(service).subscriber_context)[ANN]["links"] == 1


WRONG = [
    ([], "give a FILE, or --resume"),
    (["--resume", "nobody"], "There is no import with this id"),
    (["FILE", "--resume", "x"], "give a FILE, or --resume"),
    (["FILE", "--country", "XX"], "'XX' is not a country"),
    (["FILE", "--column", "phone"], "does not read like NAME=VALUE"),
    (["FILE", "--column", "phone=Mobil"], "the header 'Mobil' is not in the file"),
    (["FILE", "--consent-wording", "Yes"], "consent"),
    (["FILE", "--encoding", "utf-7"], "encoding"),
    (["nowhere.csv"], "does not exist"),
]


def test_what_cannot_be_done_is_said_and_ends_with_2(run, file):
    path = str(file(write_csv(["phone"], [ANN])))

    for arguments, reason in WRONG:
        ended = run("import", *(path if each == "FILE" else each for each in arguments))

        assert ended.exit_code == 2, ended.output
        assert reason in ended.output


def test_all_are_exported_to_a_new_file(run, file, tmp_path):
    run("import", file(write_csv(["phone", "name"], [ANN, "Ann Lee"])))
    path = tmp_path / "all.csv"

    assert run("export", path).exit_code == 0
    with path.open(newline="") as opened:
        assert [row["last_name"] for row in csv.DictReader(opened)] == ["Lee"]
    assert run("export", path).exit_code == 1
    assert run("imports").output.count("complete") == 1


def _wait_for_rows(people, process, output):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert process.poll() is None, output.read_text()
        rows = list_imports(people, limit=1).rows
        if rows and rows[0].created:
            return rows[0].public_id
        time.sleep(0.01)
    raise AssertionError("no row was imported")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_what_a_process_leaves_behind_is_taken_up_where_it_stood(
    run, service, file, database_url, tmp_path, number
):
    """After kill -9 its lease has to end first."""
    many = 8_000
    people = context_of(service).subscriber_context
    path = file(write_csv(["phone"], *([each] for each in many_numbers(many)), ["bad"]))
    output = tmp_path / "output"
    environ = clean_environ(settings(DATABASE_URL=database_url))
    process = fork_server.start([*FLASK, "subscribers", "import", str(path)], environ, output)

    import_id = _wait_for_rows(people, process, output)
    process.send_signal(number)
    code = process.wait(60)
    left = view_import(people, import_id)
    ended = run("import", "--resume", import_id)

    assert 0 < left.created < many
    assert code == (1 if number == signal.SIGINT else -signal.SIGKILL)
    assert number == signal.SIGKILL or f"import --resume {import_id}" in output.read_text()
    assert ended.exit_code == 1, ended.output
    assert f"complete: {many + 1} rows, {many} created, 0 updated, 0 unchanged" in ended.output
    assert "0 merged, 1 refused" in ended.output
    with people.db.read() as tx:
        assert tx.execute(select(func.count()).select_from(Subscriber)).scalar() == many


def test_the_reasons_of_refused_rows_are_counted(run, file):
    rows = [["0701234567"], ["0701234568"], ["none"], [ANN]]

    ended = run("import", file(write_csv(["phone"], *rows)))

    assert "2 refused: Neither + nor 00 in front: a national number needs a country" in ended.output
    assert "1 refused: Not a phone number." in ended.output


def test_a_file_that_cannot_be_stored_leaves_no_import_that_waits(run, file):
    wrong = run("import", file("phone,name\n+46701234567,Jörg\n".encode("windows-1252")))

    assert wrong.exit_code == 2
    assert "line 2 is not in utf-8" in wrong.output
    assert "waiting" not in run("imports").output


def test_for_marketing_the_options_of_a_consent_are_named(run, file):
    wrong = run("import", file(write_csv(["phone"], [ANN])), "--purpose", "marketing")

    assert wrong.exit_code == 2
    for option in ("--consent-wording", "--consent-source", "--consent-at"):
        assert option in wrong.output


def test_an_export_may_be_for_spreadsheets(run, file, tmp_path):
    run("import", file(write_csv(["phone", "first name"], [ANN, "Göran"])))

    run("export", tmp_path / "all.csv", "--spreadsheet", "--delimiter", ";")

    written = (tmp_path / "all.csv").read_bytes()
    assert written.startswith(b"\xef\xbb\xbfid;phone;")
    assert f'"=""{ANN}""";Göran'.encode() in written
    again = run("import", tmp_path / "all.csv")
    assert "1 unchanged" in again.output
