"""Every command, every route that changes something and every file: audited, or named below."""

from importlib import import_module

import click
import pytest

from app.cli import _COMMANDS
from app.db.audit import write_audit
from app.operate.audit import list_entries
from tests.call_graph import find_constants, find_reached
from tests.callers import Caller

_READS = "shows what is there, in a bounded list"
_COUNTS = "counts what a form has in it; stores nothing"
_SENDS = "the broadcast is the entry of its own sending: its client and created_by"
_EVERY_DAY = "the work of every day on people: the row, and the consent ledger with its actor"
_IMPORTS = "an import has a row of its own, with its client and its times"
_DRAFTS = "a draft names its author and who asked; nothing is sent before it is approved"
_SESSIONS = "begins or ends a session of the user's own; the log has a line"

# What writes no entry, and why it needs none.
EXEMPT = {
    "broadcasts list": _READS,
    "broadcasts show": _READS,
    "broadcasts watch": _READS,
    "batches attention": _READS,
    "circuit show": _READS,
    "webhooks deliveries": _READS,
    "webhooks list": _READS,
    "keys list": _READS,
    "caps list": _READS,
    "audit list": _READS,
    "audit verify": "answers one line",
    "users list": _READS,
    "backup list": _READS,
    "backup verify": "reads a file that is there, and prints its manifest",
    "db check": "compares the tables with the program",
    "sandbox": "is not the service: there is no database",
    "subscribers imports": _READS,
    "suppressions add": _EVERY_DAY,
    "consent verify": "answers one line",
    "POST /account/factor": "shows a new secret; the deed is /account/factor/confirm",
    "POST /api/broadcast": _SENDS,
    "POST /api/broadcast/quote": _COUNTS,
    "POST /api/broadcast/tag/<tag>": _SENDS,
    "POST /api/messages/search": "a search with the number in the body; one page of messages",
    "POST /api/subscribers": _EVERY_DAY,
    "PATCH /api/subscribers/<id:subscriber_id>": _EVERY_DAY,
    "POST /api/subscribers/bulk": _EVERY_DAY,
    "POST /api/subscribers/imports": _IMPORTS,
    "POST /api/subscribers/imports/<import_id>/cancel": _IMPORTS,
    "PUT /api/subscribers/imports/<import_id>/file": _IMPORTS,
    "POST /api/subscribers/lookup": "a search with the number in the body; one subscriber",
    "POST /api/suppressions": _EVERY_DAY,
    "POST /api/suppressions/import": _EVERY_DAY,
    "POST /api/suppressions/lookup": "a search with the number in the body; one suppression",
    "POST /api/tags/<tag>/subscribers": _EVERY_DAY,
    "POST /api/webhooks/<webhook_id>/test": "posts an event that is made up",
    "POST /broadcasts/<broadcast_id>/draft": _DRAFTS,
    "POST /broadcasts/<broadcast_id>/resend/ask": _DRAFTS,
    "POST /inbox/<int:text_id>": _SENDS,
    "POST /login": _SESSIONS,
    "POST /logout": _SESSIONS,
    "POST /logout/everywhere": _SESSIONS,
    "POST /new/<draft_id>/ask": _DRAFTS,
    "POST /new/<draft_id>/audience/count": _COUNTS,
    "POST /new/<draft_id>/confirm": _SENDS,
    "POST /new/<draft_id>/confirm/count": _COUNTS,
    "POST /new/<draft_id>/text/count": _COUNTS,
    "POST /new/<draft_id>/when": _DRAFTS,
    "POST /new/<draft_id>/when/send-times": _COUNTS,
    "POST /people": "a search with the number in the body; one page of people",
    "POST /people/<id:subscriber_id>/change": _EVERY_DAY,
    "POST /people/<id:subscriber_id>/suppress": _EVERY_DAY,
    "POST /people/<id:subscriber_id>/tags": _EVERY_DAY,
    "POST /people/add": _EVERY_DAY,
    "POST /people/imports": _IMPORTS,
    "POST /people/imports/<id:import_id>": _IMPORTS,
    "POST /people/imports/<id:import_id>/cancel": _IMPORTS,
    "POST /people/suppressions": _EVERY_DAY,
    "POST /webhooks/sinch": "Sinch is not a user: its callbacks are stored as they come",
    "POST /why": "a search with the number in the body; one person's messages",
}


def list_commands():
    """Yield every command of `flask` that runs, with its function."""
    for name, (module, _) in _COMMANDS.items():
        yield from _open_group(name, getattr(import_module(f"app.cli.{module}"), name))


def _open_group(name, command):
    if not isinstance(command, click.Group):
        yield name, command.callback
        return
    for part, inner in command.commands.items():
        yield from _open_group(f"{name} {part}", inner)


def list_deeds(service):
    """Yield every command, every route that is not a GET, and every GET of a file."""
    yield from list_commands()
    for rule in service.url_map.iter_rules():
        view = service.view_functions[rule.endpoint]
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
            if method != "GET" or _makes_file(view):
                yield f"{method} {rule.rule}", view


def _makes_file(view):
    return view.__module__.startswith("app.") and any(
        "Content-Disposition" in find_constants(function) for function in find_reached(view)
    )


def test_every_deed_writes_an_entry_of_the_audit_log_or_is_exempt_with_a_reason(shared_service):
    deeds = dict(list_deeds(shared_service))

    silent = {deed for deed, view in deeds.items() if write_audit not in find_reached(view)}

    assert silent - EXEMPT.keys() == set(), "write an entry in the transaction of the deed"
    assert EXEMPT.keys() - silent == set(), "these are audited, or are gone"
    assert len(deeds) - len(silent) > 60


@pytest.mark.parametrize(
    ("command", "action", "subject"),
    [
        (["audit", "export"], "export", "audit"),
        (["prices", "export"], "export", "prices"),
        (["purge"], "purge", "all"),
        (["db", "adopt", "--yes"], "adopt", "database"),
    ],
)
def test_a_command_names_its_operator_in_the_audit_log(service, command, action, subject):
    done = service.test_cli_runner().invoke(args=command)

    assert done.exit_code == 0, done.output
    (entry,) = list_entries(service.extensions["clarion"].db, only={}).rows
    assert (entry.actor[:4], entry.action, entry.subject) == ("cli:", action, subject)


def test_a_purge_that_is_only_counted_is_not_in_the_audit_log(service):
    service.test_cli_runner().invoke(args=["purge", "--dry-run"])

    assert list_entries(service.extensions["clarion"].db, only={}).rows == []


def test_evidence_over_the_api_is_in_the_audit_log(service):
    caller = Caller(service)

    assert caller.post("/api/consent/evidence", {"phone": "+46701234567"}).status_code == 200

    (entry,) = list_entries(service.extensions["clarion"].db, only={}).rows
    assert (entry.actor, entry.action) == ("tests", "export")
    assert entry.subject == "consent evidence"
