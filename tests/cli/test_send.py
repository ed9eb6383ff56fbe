import csv
import os
import re
import resource
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from app.cli.command import name_operator
from app.sms.caps.caps import CapName, set_cap
from app.sms.content.templates import TemplateTexts, create_template
from app.sms.models.cap import ALL, CapPeriod, CapUnit
from tests import fork_server
from tests.background import context_of, work_off, work_until
from tests.clocks import ManualClock
from tests.environ import ROOT, clean_environ
from tests.factories import in_hours, many_numbers, settings
from tests.people import add_people, stop
from tests.wire import unused_port

SEND = [sys.executable, "-m", "flask", "--app", "wsgi", "send", "--yes", "--message", "Hello"]
ANN, BOB = "+46701234567", "+46707654321"


@pytest.fixture
def run(service, sandbox):
    def run(*arguments):
        return service.test_cli_runner().invoke(args=["send", "--yes", *arguments])

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
    assert sandbox.batches()[0]["id"] not in ended.output  # with --report only
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

    assert "1 duplicate removed" in ended.output
    assert sandbox.recipients() == [ANN]


def test_a_report_that_cannot_be_written_is_told_and_nobody_is_left_out(
    sandbox_server, sandbox, postgres, file, tmp_path
):
    report = tmp_path / "report.csv"
    # The limit holds for every file of the process, bytecode too: the database is another's.
    environ = settings(
        SINCH_REGION_URL=sandbox_server.url,
        DATABASE_URL=postgres.create_database(),
        PYTHONDONTWRITEBYTECODE="1",
    )
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
        # The values of such a row may be those of other columns.
        (["--csv", "{unclosed}"], "line 2: A quote is opened and not closed"),
        (["--csv", "{wide}"], "line 2: More cells than headers"),
        (["--to", ANN, "--report", "{file}"], "File exists"),
    ],
)
def test_wrong_input_is_named_and_nothing_is_sent(run, sandbox, file, arguments, reason):
    places = {"file": file(f"phone\n{ANN}\nnobody\n"), "binary": file(b"\xff\xfe\x00", "b.csv")}
    places["unclosed"] = file(f'phone,name\n{ANN},"Ann\n{BOB},Bob\n', "unclosed.csv")
    places["wide"] = file(f"phone,name\n{ANN},Smith, Ann\n{BOB},Bob\n", "wide.csv")
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


def test_landlines_are_named_before_they_are_sent_to(run, sandbox, file):
    ended = run("--csv", file(f"phone\n{ANN}\n+4930901820\n"), "--message", "Hello")

    assert ended.exit_code == 0, ended.output
    assert "warning: landlines get no texts in most countries: line 3" in ended.output
    assert sandbox.recipients() == [ANN, "+4930901820"]


def test_what_waits_for_sinch_is_said_with_the_ways_to_stop_and_follow_it(make_service):
    url = f"http://127.0.0.1:{unused_port()}"
    service = make_service(SINCH_REGION_URL=url, RETRY_WAIT_MAX_S="2")
    clock = ManualClock()
    service.extensions["clarion"] = replace(context_of(service), clock=clock)
    before_s = clock.monotonic()

    ended = service.test_cli_runner().invoke(args=["send", "--to", ANN, "--message", "Hello"])

    assert clock.monotonic() - before_s < 35
    assert ended.exit_code == 1
    assert "1 pending" in ended.output
    assert "Sinch cannot be reached, or takes no more at the moment." in ended.output
    assert "The service sends what waits, 1 in all, as soon as it can." in ended.output
    assert "broadcasts cancel" in ended.output
    assert "broadcasts watch" in ended.output


def test_a_broadcast_names_its_operator_and_has_no_more_people_than_a_cap_allows(
    service, run, sandbox
):
    cap = CapName(ALL, CapPeriod.BROADCAST, CapUnit.RECIPIENTS)
    set_cap(context_of(service), cap, 1, actor="ops")

    refused = run("--to", ANN, "--to", BOB, "--message", "Hello")
    sent = run("--to", ANN, "--message", "Hello")

    assert refused.exit_code == 2
    assert "2 are more than the 1 that a broadcast may have" in refused.output
    assert sent.exit_code == 0, sent.output
    with context_of(service).db.read() as tx:
        made = tx.exec_driver_sql("SELECT client, created_by FROM broadcasts").one()
    assert made == ("cli", name_operator())
    assert sandbox.recipients() == [ANN]


def test_the_report_may_be_for_a_spreadsheet(run, sandbox, tmp_path):
    report = tmp_path / "report.csv"

    ended = run(
        "--to", ANN, "--message", "Hello", "--report", str(report), "--spreadsheet",
        "--delimiter", ";",
    )  # fmt: skip

    assert ended.exit_code == 0, ended.output
    head, row = report.read_text("utf-8").splitlines()
    assert head.startswith("\ufeffrecipient;")
    assert row.startswith(f'"=""{ANN}""";submitted;')


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
    assert [row["recipient"] for row in rows] == numbers
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
    sandbox.order_fault(on="POST /batches", when="after", do="hang", delay_s=1, times=None)
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
    submitted = [row["recipient"] for row in rows if row["status"] == "submitted"]
    assert [row["recipient"] for row in rows] == numbers
    assert submitted == sandbox.recipients()
    assert 2000 <= len(submitted) < 5000
    assert f"{5000 - len(submitted)} pending, {len(submitted)} submitted" in output
    broadcast = output.split()[1]
    assert f"interrupted: the service sends the other {5000 - len(submitted)}." in errors
    for action in ("cancel", "watch"):
        assert f"-m flask --app wsgi broadcasts {action} {broadcast}" in errors

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
    assert "1 of 1 cannot be sent to" in ended.output


def test_an_unknown_outcome_names_the_reference_to_look_for(run, sandbox, tmp_path):
    sandbox.order_fault(on="POST /batches", when="after", do="cut")
    sandbox.order_fault(on="GET /batches", when="before", do="answer", status=500, times=None)
    report = tmp_path / "report.csv"

    ended = run("--to", ANN, "--message", "Hello", "--report", str(report))

    assert ended.exit_code == 1
    assert "1 unconfirmed" in ended.output
    (row,) = csv.DictReader(report.read_text().splitlines())
    assert (row["recipient"], row["status"], row["batch_id"]) == (ANN, "unconfirmed", "")
    assert row["client_reference"] == sandbox.batches()[0]["client_reference"]


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
    process.wait(60)
    sandbox.clear_faults()
    service = make_service(RECONCILE_AFTER_S="0.1,0.2,0.3,1,2,4,8,16,32")
    listed = service.test_cli_runner()
    work_until(
        service,
        lambda: " complete " in listed.invoke(args=["broadcasts", "list"]).output,
    )

    assert sorted(sandbox.recipients()) == numbers
    assert sandbox.posts() == 3


def test_the_same_again_is_refused_unless_it_is_wanted(run, sandbox, file):
    path = file("\n".join(many_numbers(10)))
    first = re.search(r"broadcast (\w{26})", run("--csv", path, "--message", "Hello").output)

    again = run("--csv", path, "--message", "Hello")
    wanted = run("--csv", path, "--message", "Hello", "--allow-duplicate")

    assert again.exit_code == 1
    assert "An equal text went or goes to 10 of these 10 recipients" in again.output
    # Who killed the first command must not take a second broadcast for the way to the rest.
    assert f" broadcasts watch {first[1]}\n" in again.output
    assert "give --allow-duplicate" in again.output
    assert "allow_duplicate" not in again.output
    assert "Idempotency-Key" not in again.output
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


@pytest.fixture
def ask(service, sandbox):
    """A function that runs `flask send` for a person who answers its questions."""

    def run(*arguments, answer=""):
        return service.test_cli_runner().invoke(args=["send", *arguments], input=answer)

    return run


def test_above_a_hundred_recipients_it_asks_with_count_parts_and_cost(ask, sandbox, file, service):
    prices = file("country,currency,price\nSE,EUR,0.05\n", "prices.csv")
    service.test_cli_runner().invoke(args=["prices", "import", prices])
    few, many = (file("\n".join(many_numbers(count)), f"{count}.csv") for count in (100, 101))

    declined = ask("--csv", many, "--message", "Hello", answer="n\n")
    silent = ask("--csv", many, "--message", "Hello")
    posts = sandbox.posts()
    small = ask("--csv", few, "--message", "Hello")
    agreed = ask("--csv", many, "--message", "Hello", "--allow-duplicate", answer="y\n")

    assert (declined.exit_code, silent.exit_code, posts) == (1, 2, 0)
    assert "101 recipients, 101 parts" in declined.output
    assert "costs 5.05 EUR" in declined.output
    assert "GSM-7: Hello" in declined.output
    assert "Nothing was sent." in declined.output
    assert "give --yes" in silent.output
    assert (small.exit_code, agreed.exit_code) == (0, 0), agreed.output
    assert "101 submitted" in agreed.output


def test_a_file_of_national_numbers_needs_its_country(run, sandbox, file):
    path = file("Namn;Mobil\nAnn;070-123 45 67\nBob;0046 70 765 43 21\nCy;+46(0)70-765 43 22\n")

    without = run("--csv", path, "--message", "Hello")
    ended = run("--csv", path, "--country", "se", "--message", "Hello")

    assert without.exit_code == 2
    assert "give --country SE for national numbers" in without.output
    assert ended.exit_code == 0, ended.output
    assert sandbox.recipients() == [ANN, BOB, "+46707654322"]
    assert "'ZZ' is not a country" in run("--to", ANN, "--country", "ZZ", "--message", "x").output


def test_numbers_without_plus_and_an_old_encoding_are_named_by_options(run, sandbox, file):
    path = file("Förnamn;Mobil\nÅsa;46701234567\n".encode("windows-1252"))

    ended = run("--csv", path, "--encoding", "windows-1252", "--without-plus", "--message", "Hello")

    assert ended.exit_code == 0, ended.output
    assert sandbox.recipients() == [ANN]


def test_placeholders_are_filled_from_columns_of_their_name(run, at_sinch, file):
    """Also by the headers that the import of subscribers knows."""
    path = file(f"Förnamn;phone;Time\nÅsa;{ANN};08:30\n;{BOB};09:00\n")

    ended = run(
        "--csv", path, "--default", "first_name=friend",
        "--message", "Hi ${first_name}: ${time}",
    )  # fmt: skip

    assert ended.exit_code == 0, ended.output
    (batch,) = at_sinch()
    assert batch["parameters"] == {
        "first_name": {ANN: "Åsa", "default": "friend"},
        "time": {ANN: "08:30", BOB: "09:00"},
    }


def test_a_placeholder_without_a_column_names_the_way_out(run, sandbox, file):
    ended = run("--csv", file(f"phone\n{ANN}\n"), "--message", "Hi ${first_name}")

    assert ended.exit_code == 2
    assert (
        "${first_name} has no value: give a CSV column of that name, or --default" in ended.output
    )
    assert sandbox.posts() == 0


def test_a_campaign_is_named_and_left_to_the_service_until_its_time(run, sandbox, service):
    soon = in_hours(1)

    ended = run(
        "--to", ANN, "--message", "Hello", "--reference", "Spring sale", "--send-at", soon,
        "--expire-at", in_hours(2), "--priority", "4", "--max-parts", "1",
    )  # fmt: skip

    assert ended.exit_code == 0, ended.output
    assert " UTC; to stop it:\n" in ended.output
    public_id = ended.output.split()[1]
    assert f"broadcasts cancel {public_id}" in ended.output
    assert sandbox.posts() == 0
    listed = service.test_cli_runner().invoke(args=["broadcasts", "list"]).output
    assert "scheduled" in listed
    assert "Spring sale" in listed


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--send-at", "2020-01-01T00:00:00Z"], "--send-at: Not in the future"),
        (["--send-at", "tomorrow"], "--send-at: "),
        (["--send-at", "2126-01-01T00:00:00Z"], "--send-at: More than 366 days ahead"),
        (["--expire-at", "2020-01-01T00:00:00Z"], "--expire-at: Not after the start"),
        (["--priority", "10"], "--priority: "),
        (["--reference", "x" * 65], "--reference: "),
        (["--max-parts", "0"], "--max-parts: "),
        (["--default", "name"], "does not read like NAME=VALUE"),
        (["--csv", "{file}"], "--to and --csv exclude each other"),
        (["--tag", "vip"], "--to and --tag exclude each other"),
    ],
)
def test_an_option_that_is_wrong_is_named(run, sandbox, file, arguments, reason):
    given = [part.format(file=file(f"phone\n{BOB}\n")) for part in arguments]

    ended = run("--to", ANN, "--message", "Hello", *given)

    assert ended.exit_code == 2, ended.output
    assert reason in ended.output
    assert sandbox.posts() == 0


def test_who_is_left_out_or_waits_is_said_in_words(make_service, sandbox):
    """Marketing to one who opted out, one who sleeps, and one who may be written to."""
    now = datetime.now(ZoneInfo("Europe/Stockholm"))
    quiet = "-".join(f"{now + timedelta(hours=hours):%H:%M}" for hours in (-2, 2))
    service = make_service(QUIET_HOURS=f"*=00:00-00:00,SE={quiet}")
    ctx = service.extensions["clarion"]
    add_people(ctx, [ANN, BOB, "+4520123456"], tags=["vip"])
    stop(ctx, BOB)

    ended = service.test_cli_runner().invoke(
        args=["send", "--tag", "vip", "--category", "marketing", "--message", "Sale"]
    )
    public_id = ended.output.split()[1]
    watched = service.test_cli_runner().invoke(args=["broadcasts", "watch", public_id])

    assert ended.exit_code == 0, ended.output
    for output in (ended.output, watched.output):
        assert re.search(r"1 recipient deferred until \d{4}-\d\d-\d\d \d\d:\d\d UTC: ", output)
        assert "1 recipient excluded: " in output
    assert sandbox.recipients() == ["+4520123456"]


def test_it_ends_when_the_service_has_sent_its_part_of_the_batches(run, service, sandbox, file):
    slow = {"do": "drip", "delay_s": 0.1, "byte_delay_s": 0}
    sandbox.order_fault(on="POST /batches", when="after", times=None, **slow)
    path = file("\n".join(many_numbers(6_000)))
    worker = threading.Thread(
        target=work_until, args=(service, lambda: len(sandbox.recipients()) >= 6_000)
    )
    worker.start()

    ended = service.test_cli_runner().invoke(
        args=["send", "--yes", "--csv", path, "--message", "x"]
    )
    worker.join()

    assert ended.exit_code == 0, ended.output
    assert "6000 submitted" in ended.output
    assert sorted(sandbox.recipients()) == many_numbers(6_000)


@pytest.mark.parametrize("spelling", [BOB, BOB.removeprefix("+")])
def test_a_row_that_says_no_is_left_out_and_said(run, sandbox, file, spelling):
    path = file(f"phone,unsubscribed\n{BOB},no\n{ANN},no\n{spelling},yes\n")

    ended = run("--csv", path, "--message", "Hello")

    assert ended.exit_code == 0, ended.output
    # Both rows of the person, of whom one denies what the other gives.
    assert "2 rows left out, column 'unsubscribed'" in ended.output
    assert sandbox.recipients() == [ANN]
