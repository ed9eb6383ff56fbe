"""`flask webhooks`, as an operator runs it."""

import pytest
from sqlalchemy import select

from app.db.audit import AuditEntry
from app.webhooks.outgoing.models import DeliveryStatus, EndpointStatus
from app.webhooks.outgoing.retry import abandon_stale
from tests.webhooks.outgoing.receivers import NOWHERE, refuse

UNKNOWN = "06eadcew01ykq3f2yhftk7dbp0"


@pytest.fixture
def desk(make_desk, database_url, service):
    """Over the database of the service whose commands are run."""
    return make_desk(database_url)


@pytest.fixture
def run(service):
    """A function that runs a command: its exit code and what it says, without the log."""
    runner = service.test_cli_runner()

    def invoke(*args):
        ended = runner.invoke(args=["webhooks", *args])
        return ended.exit_code, ended.output if ended.exit_code else ended.stdout

    return invoke


def test_webhooks_are_listed_without_what_may_be_a_secret(desk, run, receive):
    receiver = receive(refuse("500 No"))
    failing = desk.listen(f"{receiver.url}?token=canary")
    other = desk.listen(NOWHERE, client="other", status=EndpointStatus.OFF)
    desk.tell()
    desk.serve_all()

    code, output = run("list")

    assert code == 0
    titles, first, second = output.splitlines()
    host = receiver.url.split("/")[2]
    since = f"{desk.ctx.now():%Y-%m-%d %H:%M}"
    assert first.split() == [
        *(failing.public_id, "active", "tests", host),
        *f"{since} UTC HTTP 500.".split(),
    ]
    assert second.split() == [other.public_id, "off", "other", "127.0.0.1:1025"]
    assert "canary" not in output
    alone = run("list", "--client", "other")[1].splitlines()
    assert [line.split() for line in alone] == [titles.split(), second.split()]


def test_deliveries_are_listed(desk, run, receive):
    endpoint = desk.listen(receive(first=[refuse("500 No")]).url)
    desk.tell(2)
    desk.serve_all()
    first, second = desk.outbox()

    code, output = run("deliveries", endpoint.public_id)

    assert code == 0
    lines = [line.split() for line in output.splitlines()[1:]]
    assert [line[0] for line in lines] == [second.public_id, first.public_id]
    assert lines[0][4:] == ["broadcast.completed", "delivered", "1"]
    assert lines[1][4:] == ["broadcast.completed", "waiting", "1", "HTTP", "500."]
    none = (0, "There are no deliveries.\n")
    assert run("deliveries", endpoint.public_id, "--status", "abandoned") == none
    assert len(run("deliveries", endpoint.public_id, "--limit", "1")[1].splitlines()) == 2


def test_an_operator_switches_a_webhook_off_and_on_and_it_is_audited(desk, run):
    endpoint = desk.listen(NOWHERE, client="other")

    off = run("disable", endpoint.public_id)
    then = desk.endpoint(endpoint).status
    on = run("enable", endpoint.public_id)

    assert off == (0, f"{endpoint.public_id}: off\n")
    assert on == (0, f"{endpoint.public_id}: on\n")
    assert (then, desk.endpoint(endpoint).status) == (EndpointStatus.OFF, EndpointStatus.ACTIVE)
    with desk.ctx.db.read() as tx:
        actors = tx.execute(select(AuditEntry.actor).order_by(AuditEntry.id)).scalars().all()
    assert [each.split(":")[0] for each in actors] == ["other", "cli", "cli"]


def test_an_operator_has_what_was_given_up_told_again(desk, run):
    endpoint = desk.listen(NOWHERE, status=EndpointStatus.OFF)
    desk.tell(3)
    desk.clock.advance(2 * 86_400)
    abandon_stale(desk.ctx)
    since = ("--since", f"{desk.outbox()[0].at:%Y-%m-%d}")

    while_off = run("replay", endpoint.public_id, *since)
    run("enable", endpoint.public_id)
    code, output = run("replay", endpoint.public_id, *since)

    assert while_off == (1, "Error: This webhook is off: switch it on first.\n")
    assert (code, output) == (0, "3 events will be posted again.\n")
    assert [each.status for each in desk.deliveries()] == [DeliveryStatus.WAITING] * 3


@pytest.mark.parametrize(
    "command",
    [
        ["deliveries", UNKNOWN],
        ["enable", UNKNOWN],
        ["disable", UNKNOWN],
        ["replay", UNKNOWN, "--since", "2026-01-01"],
    ],
)
def test_an_unknown_one_is_told_in_one_line(run, command, desk):
    assert run(*command) == (1, "Error: There is no such webhook.\n")


@pytest.mark.parametrize("since", ["yesterday", "2026-13-01", "2026-01-01T00:00:00+01:00"])
def test_a_time_that_is_none_is_told(run, desk, since):
    code, output = run("replay", UNKNOWN, "--since", since)

    assert code == 2
    assert "--since" in output
