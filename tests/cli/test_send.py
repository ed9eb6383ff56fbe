import csv
import os
import resource
import signal
import subprocess
import sys
import threading
import time

import pytest

from app.sms.content.templates import TemplateTexts, create_template
from tests import fork_server
from tests.background import work_off, work_until
from tests.environ import ROOT, clean_environ
from tests.factories import many_numbers, settings
from tests.people import add_people, stop

SEND = [sys.executable, "-m", "flask", "--app", "wsgi", "send", "--message", "Hello"]
ANN, BOB = "+46701234567", "+46707654321"


@pytest.fixture
def run(service, sandbox):
    def run(*arguments):
        return service.test_cli_runner().invoke(args=["send", *arguments])

    return run


@pytest.fixture
def file(tmp_path):
    def write(content, name="people.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    return write


def test_a_text_goes_to_the_numbers_given(run, sandbox):
    ended = run("--to", ANN, "--to", BOB, "--message", "Hello")

    assert ended.exit_code == 0, ended.output
    assert "2 submitted (GSM-7, 1 part each)" in ended.output
    assert f"batch {sandbox.batches()[0]['id']}" in ended.output
    assert sandbox.recipients() == [ANN, BOB]


@pytest.mark.parametrize(
    "content",
    [
        f"{ANN}\n{BOB}\n",
        f"phone\n{ANN}\n{BOB}\n",
        f"Name;Mobile;City\nAnn;{ANN};Lund\nBob;{BOB};Ystad\n",
        f"Ann,{ANN}\nBob,{BOB}\n",
        f'"Phone Number","Name"\r\n"{ANN}","Ann, B"\r\n\r\n"{BOB}","Bob"\r\n{ANN},again\r\n',
        f"\ufefftel\tname\n{ANN}\tÅsa\n{BOB}\tBob",
        f"to Anna,{ANN}\nto Bob,{BOB}\n",
    ],
)
def test_a_csv_file_as_people_have_it_is_understood(run, sandbox, file, content):
    ended = run("--csv", file(content), "--message", "Hello")

    assert ended.exit_code == 0, ended.output
    assert sandbox.recipients() == [ANN, BOB]


def test_the_column_may_be_named(run, sandbox, file):
    path = file(f"phone,office\n{ANN},{BOB}\n")

    assert run("--csv", path, "--column", "Office", "--message", "Hello").exit_code == 0
    assert sandbox.recipients() == [BOB]


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (f"070-1234567 (mobile)\n{ANN}\n", "line 1: '070-1234567 (mobile)'"),
        (f"46701234567 cell,Ann\n{ANN},Ann\n", "line 1: '46701234567 cell'"),
        (f"phone,fax\n{ANN},1\n\n,2\n", "line 4: ''"),
    ],
)
def test_no_row_is_dropped_as_a_heading(run, sandbox, file, content, line):
    ended = run("--csv", file(content), "--message", "Hello")

    assert ended.exit_code == 2
    assert line in ended.output
    assert sandbox.posts() == 0


@pytest.mark.parametrize(
    ("heading", "column"),
    [
        ("Hotel,Phone", "Phone"),
        ("Auto,Mobile number", "Mobile number"),
        ("Photo,phone_number", "phone_number"),
        ("Total,Tel.", "Tel."),
    ],
)
def test_the_column_is_found_by_whole_words_and_told(run, sandbox, file, heading, column):
    ended = run("--csv", file(f"{heading}\nx,{ANN}\n"), "--message", "Hello")

    assert ended.exit_code == 0, ended.output
    assert f"numbers from column {column!r}" in ended.output
    assert sandbox.recipients() == [ANN]


def test_of_two_columns_of_numbers_none_is_guessed(run, sandbox, file):
    path = file(f"from_number,to_number\n{ANN},{BOB}\n")

    assert "column: from_number | to_number" in run("--csv", path, "--message", "Hello").output
    assert run("--csv", path, "--column", "to_number", "--message", "Hello").exit_code == 0
    assert sandbox.recipients() == [BOB]


def test_a_csv_may_come_through_a_pipe(run, sandbox, tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=(f"phone\n{ANN}\n",))
    writer.start()

    ended = run("--csv", str(pipe), "--message", "Hello")
    writer.join()

    assert ended.exit_code == 0, ended.output
    assert sandbox.recipients() == [ANN]


def test_duplicates_are_told(run, sandbox):
    ended = run("--to", ANN, "--to", ANN, "--message", "Hello")

    assert "1 duplicates removed" in ended.output
    assert sandbox.recipients() == [ANN]


def test_a_report_that_cannot_be_written_is_told_and_nobody_is_left_out(
    sandbox_server, sandbox, postgres, file, tmp_path
):
    report = tmp_path / "report.csv"
    # The limit holds for every file of the process: the database is another's.
    database = postgres.create_database()
    environ = settings(SINCH_REGION_URL=sandbox_server.url, DATABASE_URL=database)
    numbers = many_numbers(3000)

    ended = subprocess.run(
        [*SEND, "--csv", file("\n".join(numbers)), "--report", str(report)],
        cwd=ROOT,
        env=clean_environ(environ),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000)),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert ended.returncode == 1
    assert "report.csv" in ended.stderr
    assert "it is incomplete" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert sandbox.recipients() == numbers


def test_a_report_that_cannot_be_made_stops_the_sending(run, sandbox, tmp_path):
    ended = run("--to", ANN, "--message", "Hello", "--report", str(tmp_path / "no" / "report.csv"))

    assert ended.exit_code == 2
    assert "--report" in ended.output
    assert sandbox.posts() == 0


def test_many_more_than_one_batch_holds_go_out_in_one_run(run, sandbox, file):
    numbers = many_numbers(10_500)

    ended = run("--csv", file("\n".join([*numbers, *numbers[:700]])), "--message", "Hello")

    assert ended.exit_code == 0, ended.output
    assert sandbox.recipients() == numbers
    assert "10500 submitted" in ended.output


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "no recipients"),
        (["--to", "0701234567"], "--to: '0701234567' is not a phone number"),
        (["--to", ANN, "--message", " "], "message: "),
        (["--to", ANN, "--message", "Hi ${name}"], "${name}"),
        (["--to", ANN, "--sender", "much too long a name"], "sender: "),
        (["--csv", "{file}"], "line 3: 'nobody' is not a phone number"),
        (["--csv", "{file}", "--column", "mail"], "no column 'mail'"),
        (["--csv", "{binary}"], "line 1 is not in utf-16"),
        (["--to", ANN, "--report", "{file}"], "File exists"),
    ],
)
def test_wrong_input_is_named_and_nothing_is_sent(run, sandbox, file, arguments, reason):
    places = {"file": file(f"phone\n{ANN}\nnobody\n"), "binary": file(b"\xff\xfe\x00", "b.csv")}
    given = [each.format(**places) if each.startswith("{") else each for each in arguments]
    message = [] if "--message" in given else ["--message", "Hello"]

    ended = run(*given, *message)

    assert ended.exit_code == 2
    assert reason in ended.output
    assert sandbox.posts() == 0


def test_invalid_rows_are_left_out_on_request(run, sandbox, file):
    path = file(f"phone\n{ANN}\nnobody\n{BOB}\n")

    ended = run("--csv", path, "--message", "Hello", "--skip-invalid")

    assert ended.exit_code == 0
    assert "line 3: 'nobody'" in ended.output
    assert sandbox.recipients() == [ANN, BOB]


def test_the_report_says_of_everybody_what_became_of_them(run, sandbox, file, tmp_path):
    numbers = many_numbers(3500)
    fault = {"on": "POST /batches", "when": "before"}
    sandbox.order_fault(**fault, do="cut", skip=1)
    sandbox.order_fault(
        **fault, do="answer", status=400, code="syntax_constraint_violation", skip=1
    )
    report = tmp_path / "report.csv"

    ended = run("--csv", file("\n".join(numbers)), "--message", "Hello", "--report", str(report))

    assert ended.exit_code == 1
    assert "1500 submitted, 1000 rejected, 1000 unconfirmed" in ended.output
    assert "1000 unconfirmed: some may have been sent" in ended.output
    assert "do not send them again" in ended.output
    rows = list(csv.DictReader(report.read_text().splitlines()))
    assert [row["number"] for row in rows] == numbers
    assert [row["status"] for row in rows] == (
        ["submitted"] * 1000 + ["unconfirmed"] * 1000 + ["rejected"] * 1000 + ["submitted"] * 500
    )
    assert rows[0]["batch_id"] == sandbox.batches()[0]["id"]
    assert rows[0]["client_reference"] == sandbox.batches()[0]["client_reference"]


def test_a_refusal_is_told_with_sinchs_words(run, sandbox):
    sandbox.order_fault(
        on="POST /batches", when="before", do="answer", status=403, code="blocked_account", text="t"
    )

    ended = run("--to", ANN, "--message", "Hello")

    assert ended.exit_code == 1
    assert "1 held" in ended.output
    assert "Sinch says HTTP 403 blocked_account, t" in ended.output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_told_to_stop_it_finishes_the_batch_in_hand_and_leaves_the_rest_to_the_service(
    make_service, sandbox_server, sandbox, database_url, file, tmp_path, number
):
    numbers = many_numbers(5000)
    sandbox.order_fault(on="POST /batches", when="after", do="hang", delay_s=0.4, times=None)
    report = tmp_path / "report.csv"
    environ = settings(
        SINCH_REGION_URL=sandbox_server.url, SINCH_READ_TIMEOUT_S="10", DATABASE_URL=database_url
    )
    command = [*SEND, "--csv", file("\n".join(numbers)), "--report", str(report)]
    out, err = tmp_path / "output", tmp_path / "errors"
    process = fork_server.start(command, clean_environ(environ), out, err)
    while sandbox.posts() < 2:
        time.sleep(0.02)
        assert process.poll() is None

    process.send_signal(number)
    code = process.wait(60)
    output, errors = out.read_text(), err.read_text()

    assert code == 1
    rows = list(csv.DictReader(report.read_text().splitlines()))
    submitted = [row["number"] for row in rows if row["status"] == "submitted"]
    assert [row["number"] for row in rows] == numbers
    assert submitted == sandbox.recipients()
    assert 2000 <= len(submitted) < 5000
    assert f"{5000 - len(submitted)} pending, {len(submitted)} submitted" in output
    broadcast = output.split()[1]
    assert f"interrupted: flask broadcasts watch {broadcast}" in errors

    sandbox.clear_faults()
    work_off(make_service())

    assert sandbox.recipients() == numbers


def test_half_a_character_from_the_shell_is_refused_with_its_reason(run, sandbox):
    ended = run("--to", ANN, "--message", "caf\udce9")

    assert ended.exit_code == 2
    assert "half a character" in ended.output
    assert sandbox.posts() == 0


# The first content may instead join the parameters of
# test_a_csv_file_as_people_have_it_is_understood.
def test_a_byte_order_mark_before_the_first_number_is_no_part_of_it(run, sandbox, file):
    assert run("--csv", file(f"\ufeff{ANN}\n{BOB}\n"), "--message", "Hello").exit_code == 0
    assert sandbox.recipients() == [ANN, BOB]


# These two may join test_wrong_input_is_named_and_nothing_is_sent.
def test_a_row_that_ends_before_its_number_is_named(run, sandbox, file):
    ended = run("--csv", file(f"name,phone\nAnn,{ANN}\nBob\n"), "--message", "Hello")

    assert ended.exit_code == 2
    assert "line 3: '' is not a phone number" in ended.output
    assert sandbox.posts() == 0


def test_when_nobody_valid_is_left_nothing_is_sent(run, sandbox):
    ended = run("--to", "nobody", "--skip-invalid", "--message", "Hello")

    assert ended.exit_code == 2
    assert "1 of 1 are not phone numbers" in ended.output


def test_an_unknown_outcome_names_the_reference_to_look_for(run, sandbox, tmp_path):
    sandbox.order_fault(on="POST /batches", when="after", do="cut")
    sandbox.order_fault(on="GET /batches", when="before", do="answer", status=500, times=None)
    report = tmp_path / "report.csv"

    ended = run("--to", ANN, "--message", "Hello", "--report", str(report))

    assert ended.exit_code == 1
    assert "1 unconfirmed" in ended.output
    (row,) = csv.DictReader(report.read_text().splitlines())
    assert row == {
        "number": ANN,
        "status": "unconfirmed",
        "batch_id": "",
        "client_reference": sandbox.batches()[0]["client_reference"],
    }


def test_ctrl_c_means_again_what_it_meant_before(run):
    before = signal.getsignal(signal.SIGINT)

    run("--to", ANN, "--message", "Hello")

    assert signal.getsignal(signal.SIGINT) is before


def test_what_a_killed_run_had_not_sent_the_service_sends_and_nothing_twice(
    make_service, sandbox_server, sandbox, database_url, file, tmp_path
):
    sandbox.order_fault(on="POST /batches", when="after", do="hang", delay_s=1.0, skip=1)
    report = tmp_path / "report.csv"
    environ = settings(
        SINCH_REGION_URL=sandbox_server.url,
        SINCH_READ_TIMEOUT_S="10",
        DATABASE_URL=database_url,
        LEASE_S="1",
    )
    numbers = many_numbers(3000)
    command = [*SEND, "--csv", file("\n".join(numbers)), "--report", str(report)]
    process = fork_server.start(command, clean_environ(environ), tmp_path / "output")
    while sandbox.posts() < 2:
        time.sleep(0.02)
        assert process.poll() is None

    process.kill()
    process.wait(10)
    sandbox.clear_faults()
    service = make_service(RECONCILE_AFTER_S="0.1,0.2,0.3")
    listed = service.test_cli_runner()
    work_until(
        service,
        lambda: " complete " in listed.invoke(args=["broadcasts", "list"]).output,
    )

    assert sorted(sandbox.recipients()) == numbers
    assert sandbox.posts() == 3


def test_the_same_again_is_refused_unless_it_is_wanted(run, sandbox, file):
    path = file("\n".join(many_numbers(10)))
    run("--csv", path, "--message", "Hello")

    again = run("--csv", path, "--message", "Hello")
    wanted = run("--csv", path, "--message", "Hello", "--allow-duplicate")

    assert again.exit_code == 1
    assert "An equal text went to 10 of these 10 recipients" in again.output
    assert wanted.exit_code == 0
    assert sandbox.posts() == 2


def test_a_long_entry_is_shown_by_its_beginning(run):
    ended = run("--to", "x" * 1000, "--message", "Hello")

    assert f"'{'x' * 64}' is not a phone number" in ended.output


@pytest.fixture
def ctx(service):
    ctx = service.extensions["clarion"]
    add_people(ctx, [ANN, BOB], tags=["vip"], first_name="Ann")
    return ctx


def test_a_text_goes_to_a_tag(run, sandbox, ctx):
    ended = run("--tag", "vip", "--message", "Hi ${first_name}")

    assert ended.exit_code == 0, ended.output
    assert "2 submitted" in ended.output
    assert sandbox.recipients() == [ANN, BOB]


def test_whoever_opted_out_is_no_reason_to_fail(run, sandbox, ctx):
    stop(ctx, ANN)

    ended = run("--tag", "vip", "--message", "Hello")

    assert ended.exit_code == 0, ended.output
    assert "1 suppressed" in ended.output
    assert sandbox.recipients() == [BOB]


def test_a_tag_that_nobody_bears_is_told(run, ctx):
    ended = run("--tag", "nobody", "--message", "Hello")

    assert ended.exit_code == 2
    assert "nobody" in ended.output


def test_a_quote_sends_nothing_and_says_what_it_would_come_to(run, sandbox, ctx):
    stop(ctx, ANN)

    whom = ("--to", ANN, "--to", BOB)
    ended = run("--quote", *whom, "--category", "marketing", "--message", "Sale…")

    assert ended.exit_code == 0, ended.output
    assert "1 recipient, 1 part" in ended.output
    assert "excluded, opted out: 1" in ended.output
    assert "horizontal ellipsis x 1, replacement: ..." in ended.output
    assert sandbox.recipients() == []


def test_a_template_is_sent_by_its_name_and_version(run, at_sinch, ctx):
    texts = {"en": "Hello ${first_name}", "sv": "Hej ${first_name}"}
    create_template(ctx, "hello", TemplateTexts(texts=texts, default_language="en"), client="tests")

    ended = run("--tag", "vip", "--template", "hello:1", "--language", "sv")

    assert ended.exit_code == 0, ended.output
    assert [batch["body"] for batch in at_sinch()] == ["Hej ${first_name}"]


def test_numbers_and_a_tag_at_once_are_refused(run, ctx):
    ended = run("--tag", "vip", "--to", ANN, "--message", "Hello")

    assert ended.exit_code == 2
    assert "--tag" in ended.output


def test_a_file_is_read_like_every_other_list_of_people(run, sandbox, file):
    """Written by people, in Excel's UTF-16, below a header that says E.164."""
    content = "sep=;\nName;MSISDN\nAnn;46 70-123 45 67\nBob;46701234568\n".encode("utf-16")

    ended = run("--csv", file(content), "--message", "Hello")

    assert ended.exit_code == 0, ended.output
    assert sandbox.recipients() == ["+46701234567", "+46701234568"]
