"""`flask broadcasts`, `flask batches`, `flask circuit`, `flask db`: an operator's hand."""

import json
import re
import threading
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, update

from app.db.audit import AuditEntry
from app.sms.dispatch.burst import submit_next
from app.sms.models.batch import Batch
from app.sms.models.states import Attention, BatchState
from app.worker.jobs import plan_next
from tests.background import work_off
from tests.callers import PATIENT, Caller, id_of
from tests.commands import FLASK, run_command
from tests.endings import end_messages
from tests.factories import many_numbers, settings
from tests.wire import unused_port

ANN, BOB = "+46701234567", "+46707654321"


@pytest.fixture
def service(make_service, sandbox):
    sandbox.set(dispatch_after_s=600)
    return make_service(**PATIENT)


@pytest.fixture
def caller(service):
    return Caller(service)


@pytest.fixture
def run(service):
    def run(*arguments, **more):
        return service.test_cli_runner().invoke(args=arguments, **more)

    return run


@pytest.fixture
def troubled(service, caller, sandbox):
    """The reference of a batch of which nobody knows whether it was sent."""
    sandbox.order_fault(on="POST /batches", when="before", do="cut")
    made = caller.send(ANN)
    unknown = update(Batch).values(state=BatchState.NEEDS_ATTENTION, attention=Attention.ABSENT)
    with service.extensions["clarion"].db.write() as tx:
        tx.execute(unknown)
    path = f"/api/broadcasts/{id_of(made)}/messages"
    return caller.get(path).get_json()["messages"][0]["client_reference"]


def _audit(service):
    with service.extensions["clarion"].db.read() as tx:
        rows = tx.execute(select(AuditEntry.__table__).order_by(AuditEntry.id)).all()
    return [(row.actor.split(":")[0], row.action, row.subject) for row in rows]


def test_what_sinch_says_of_a_broadcast_that_it_refuses_is_shown(caller, run, sandbox):
    refusal = {"status": 400, "code": "syntax_invalid_parameter_format", "text": "No such sender"}
    sandbox.order_fault(on="POST /batches", **refusal)
    made = caller.send(ANN)

    lines = run("broadcasts", "show", id_of(made)).output.splitlines()

    assert made.status_code == 502
    assert lines[-1] == "Sinch says HTTP 400 syntax_invalid_parameter_format, No such sender"


def test_the_list_has_a_line_for_each_the_newest_first(run, caller, service):
    first = caller.send(ANN, BOB)
    second = caller.send(*many_numbers(1001))

    ended = run("broadcasts", "list")

    assert ended.exit_code == 0, ended.output
    titles, *lines = ended.output.splitlines()
    assert titles.split("  ")[0] == "BROADCAST"
    assert titles.endswith("REFERENCE OR TEXT")
    assert [line.split()[0] for line in lines] == [id_of(second), id_of(first)]
    assert re.search(r" UTC  queued +0 +1001 +tests +Pickup moved to 08:30$", lines[0])
    assert re.search(r" UTC  complete +2 +2 +tests +Pickup moved to 08:30$", lines[1])
    assert "+4670" not in ended.output


def test_the_list_can_be_cut_short_and_chosen_from(run, caller):
    done = [id_of(caller.send(ANN)) for _ in range(3)]
    caller.send(*many_numbers(1001))

    chosen = run("broadcasts", "list", "--status", "complete", "--limit", "2").output

    assert [line.split()[0] for line in chosen.splitlines()[1:]] == done[:0:-1]
    assert run("broadcasts", "list", "--status", "sent").exit_code == 2
    assert run("broadcasts", "list", "--limit", "0").exit_code == 2


def test_one_is_shown_as_the_api_shows_it(run, caller):
    made = caller.send(ANN, BOB)

    shown = json.loads(run("broadcasts", "show", "--json", id_of(made)).output)

    assert shown == caller.show(made)


def test_it_is_watched_until_it_has_ended(run, service, caller):
    made = caller.send(*many_numbers(2500))
    worker = threading.Timer(0.3, work_off, (service,))
    worker.start()

    ended = run("broadcasts", "watch", id_of(made))
    worker.join()

    assert ended.exit_code == 0, ended.output
    assert id_of(made) in ended.output
    assert caller.show(made)["status"] == "complete"
    (summary,) = ended.stdout.splitlines()[-1:]
    assert summary.split()[:2] == ["2500", "submitted"]


def test_it_is_watched_until_every_end_is_known_and_then_summed_up(run, service, caller):
    made = caller.send(ANN, BOB, "nobody", skip_invalid=True)
    ctx = service.extensions["clarion"]
    end_messages(ctx, made, {ANN: ("Delivered", 0)})
    last = threading.Timer(0.7, end_messages, (ctx, made, {BOB: ("Failed", 153)}))
    last.start()

    ended = run("broadcasts", "watch", "--reports", id_of(made))
    last.join()

    assert ended.exit_code == 0, ended.output
    assert ended.stdout.splitlines()[-3:] == [
        "        1 delivered  Delivered.",
        "        1 failed     The phone was off or out of reach. (code 153)",
        "        1 invalid    Not a phone number.",
    ]


def test_pause_resume_and_cancel_do_what_they_say_and_are_kept(run, service, caller, sandbox):
    made = id_of(caller.send(*many_numbers(1500)))
    ctx = service.extensions["clarion"]
    while plan_next(ctx):
        pass

    paused = run("broadcasts", "pause", made)
    work_off(service)
    posts_while_paused = sandbox.posts()
    resumed = run("broadcasts", "resume", made)
    submit_next(ctx)
    cancelled = run("broadcasts", "cancel", made)
    work_off(service)

    assert f"{made}: paused" in paused.output
    assert posts_while_paused == 0
    assert f"{made}: queued" in resumed.output
    assert f"{made}: cancelled" in cancelled.output
    assert [batch["canceled"] for batch in sandbox.batches()] == [True]
    assert _audit(service) == [("cli", what, made) for what in ("pause", "resume", "cancel")]


@pytest.mark.parametrize("what", ["show", "watch", "pause", "resume", "cancel"])
def test_an_unknown_broadcast_is_one_line(run, what):
    ended = run("broadcasts", what, "x")

    assert ended.exit_code == 1
    assert ended.output == "Error: There is no such broadcast.\n"


def test_an_argument_of_other_bytes_than_utf_8_is_one_line(run):
    ended = run("broadcasts", "cancel", "\udcff")

    assert (ended.exit_code, ended.output) == (2, "Error: an argument is not text in UTF-8\n")


def test_what_cannot_be_done_is_one_line(run, caller):
    made = id_of(caller.send(ANN))

    ended = run("broadcasts", "pause", made)

    assert ended.exit_code == 1
    assert ended.output == "Error: A broadcast that is complete cannot be paused.\n"


def test_what_waits_for_a_decision_is_listed(run, troubled):
    ended = run("batches", "attention")

    assert ended.exit_code == 0, ended.output
    assert troubled in ended.output
    assert "absent" in ended.output
    assert ended.output.startswith("BATCH ")
    assert "1 batch needs a decision." in ended.output
    assert "+4670" not in ended.output


def test_nothing_waits(run):
    assert "Nothing needs a decision." in run("batches", "attention").output


@pytest.mark.parametrize(
    ("decision", "state", "posts"),
    [("mark_sent", "accepted", 1), ("resend", "pending", 2), ("give_up", "closed_unsent", 1)],
)
def test_a_decision_is_carried_out_and_kept(
    run, service, sandbox, troubled, decision, state, posts
):
    ended = run("batches", "resolve", troubled, "--as", decision, "--note", "asked Sinch")
    work_off(service)

    assert ended.stdout == f"{troubled}: {state}\n"
    assert sandbox.posts() == posts
    assert _audit(service) == [("cli", decision, troubled)]
    assert run("batches", "attention").stdout == "Nothing needs a decision.\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ("--as", "resend"),
        ("--note", "why"),
        ("--as", "again", "--note", "why"),
        ("--as", "resend", "--note", ""),
        ("--as", "resend", "--note", "  "),
        ("--as", "resend", "--note", "n" * 501),
        ("--as", "resend", "--note", "caf\udce9"),
    ],
)
def test_without_a_decision_and_a_reason_nothing_is_done(run, service, troubled, arguments):
    ended = run("batches", "resolve", troubled, *arguments)

    assert ended.exit_code == 2
    assert _audit(service) == []


def test_a_batch_that_needs_no_decision_or_is_none_is_one_line(run, caller, sandbox):
    caller.send(ANN)
    (batch,) = sandbox.batches()
    decide = ("--as", "give_up", "--note", "why")

    done = run("batches", "resolve", batch["client_reference"], *decide)
    unknown = run("batches", "resolve", "cl-x", *decide)

    assert (done.exit_code, unknown.exit_code) == (1, 1)
    assert done.output == "Error: A batch that is accepted needs no decision.\n"
    assert unknown.output == "Error: There is no such batch.\n"


def test_what_is_held_alone_is_shown_with_its_client_and_tried_at_once(
    run, service, caller, sandbox
):
    sandbox.order_fault(on="POST /batches", status=403, code="sender_not_allowed")
    held = caller.send(ANN, sender="EvilCorp")

    shown = run("circuit", "show").output
    closed = run("circuit", "close").stdout

    assert f"held alone: broadcast {id_of(held)} of tests, sender EvilCorp: HTTP 403" in shown
    assert "closed: sending goes on" in shown
    assert closed == "closed\n"
    work_off(service)
    assert sandbox.recipients() == [ANN]


def test_the_circuit_is_shown_and_closed(run, service, caller, sandbox):
    before = run("circuit", "show").output
    sandbox.order_fault(on="POST /batches", status=402, code="no_money")
    caller.send(ANN)

    opened = run("circuit", "show").output
    closed = run("circuit", "close").stdout
    again = run("circuit", "close").stdout
    work_off(service)

    assert before.startswith("closed")
    assert opened.startswith("open since 20")
    assert "HTTP 402 no_money" in opened
    assert closed == "closed\n"
    assert again == "was closed already\n"
    assert run("circuit", "show").output.startswith("closed")
    assert _audit(service) == [("cli", "close", "circuit")]
    assert sandbox.recipients() == [ANN]


def test_a_new_database_is_made_and_checked(make_service, tmp_path):
    service = make_service(DATABASE_URL=f"sqlite:///{tmp_path / 'new.db'}")
    run = service.test_cli_runner().invoke

    before = run(args=["db", "check"])
    upgraded = run(args=["db", "upgrade"]), run(args=["db", "upgrade"])
    after = run(args=["db", "check"])

    assert before.exit_code == 1
    assert "Traceback" not in before.output
    assert [each.output for each in upgraded] == ["The database is up to date.\n"] * 2
    assert after.exit_code == 0
    assert "match the models" in after.output
    assert Caller(service).get("/api/broadcasts").status_code == 200


EVERY_COMMAND = [
    ("broadcasts", "list"),
    ("broadcasts", "show", "x"),
    ("broadcasts", "watch", "x"),
    ("broadcasts", "cancel", "x"),
    ("batches", "attention"),
    ("batches", "resolve", "x", "--as", "resend", "--note", "why"),
    ("circuit", "show"),
    ("circuit", "close"),
    ("db", "restored"),
    ("send", "--to", ANN, "--message", "Hello"),
]


@pytest.mark.parametrize("arguments", EVERY_COMMAND)
def test_a_database_that_is_not_ready_or_not_ours_is_one_line_that_says_what_to_do(
    make_service, tmp_path, sandbox, arguments
):
    bare = make_service(DATABASE_URL=f"sqlite:///{tmp_path / 'bare.db'}")
    copied = make_service(INSTANCE_ID="another")

    for service, remedy in ((bare, "db upgrade"), (copied, "db adopt")):
        ended = service.test_cli_runner().invoke(args=arguments)

        assert ended.exit_code == 1
        assert ended.output.startswith("Error: the database ")
        assert remedy in ended.output
        assert len(ended.output.splitlines()) == 1
    assert sandbox.posts() == 0


def test_a_database_is_adopted_only_when_confirmed(make_service, sandbox):
    copied = make_service(INSTANCE_ID="another")
    run = copied.test_cli_runner().invoke
    sent = Caller(copied).send(ANN).status_code

    refused = run(args=["db", "adopt"], input="n\n")
    still = Caller(copied).send(ANN).status_code
    adopted = run(args=["db", "adopt", "--yes"])

    assert (sent, refused.exit_code, still) == (503, 1, 503)
    assert adopted.output == "The database belongs to this instance now.\n"
    assert Caller(copied).send(ANN).status_code == 202


def test_after_a_restore_nothing_is_sent_until_sinch_was_asked(run, service, caller, sandbox):
    seconds_from_now = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    caller.send(*many_numbers(1500))
    caller.send(ANN, send_at=seconds_from_now)

    ended = run("db", "restored")
    work_off(service)

    assert ended.output.splitlines()[-1].startswith("Restore mode: 3 batches may have been sent")
    assert sandbox.posts() == 0
    assert _audit(service) == [("cli", "restored", "database")]


def test_a_list_without_rows_says_so(run):
    for command, sentence in (
        (("broadcasts", "list"), "There are no broadcasts."),
        (("webhooks", "list"), "There are no webhooks."),
        (("subscribers", "imports"), "There are no imports."),
        (("batches", "attention"), "Nothing needs a decision."),
    ):
        assert run(*command).stdout == f"{sentence}\n"


def test_one_is_shown_with_the_zone_of_its_times_and_a_beginning_of_its_text(run, caller):
    made = caller.send(ANN, message="A text of more than forty characters,\nin two lines")

    shown = run("broadcasts", "show", id_of(made)).output

    assert re.search(r"^reference or text: +A text of more than forty characters, i…$", shown, re.M)
    assert re.search(r"^created: +\d{4}-\d\d-\d\d \d\d:\d\d UTC$", shown, re.M)
    assert "+4670" not in shown


def test_no_line_of_help_is_cut_off(run):
    top = run_command([*FLASK, "--help"], settings()).stdout
    names = re.findall(r"^  ([a-z]+)  ", top.partition("Commands:")[2], re.M)
    helps = [run(name, "--help", env={"COLUMNS": "80"}).stdout for name in names]

    assert {"send", "broadcasts", "db"} <= set(names)
    assert not {"limiter", "openapi", "routes", "run", "shell"} & set(names)
    assert all(helps)
    cut = [line for text in (top, *helps) for line in text.splitlines() if line.endswith("...")]
    assert [line for line in cut if "Usage:" not in line] == []


def test_a_database_that_is_away_is_one_line_without_a_password():
    url = f"postgresql://ann:secret-word@127.0.0.1:{unused_port()}/clarion"

    ended = run_command([*FLASK, "broadcasts", "list"], settings(DATABASE_URL=url))

    assert ended.returncode == 1
    assert ended.stderr.startswith("Error: the database is unavailable: PostgreSQL 127.0.0.1:")
    assert ended.stderr.endswith("/clarion: Connection refused\n")
    assert ended.stderr.count("\n") == 1
