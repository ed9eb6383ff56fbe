"""Commands of `flask --app wsgi …`, over the same functions as the API.

send/       flask send, its quote, its recipients and its report
operate/    commands of operators, such as flask broadcasts, batches, keys, backup, db
data/       flask subscribers, suppressions, consent, prices
command.py  context, operator, options, tables and one-line errors of all commands
interrupts.py  Ctrl-C and SIGTERM while a command works
up.py       `make run`
demo.py     `make demo`

Each command is imported when it runs: `flask --help` needs none of the service.
"""

from importlib import import_module
from typing import Any

import click
from flask import Flask

from app.config import Config
from app.failpoints import failpoints
from app.http.security import App

# Name of the command: where it is, and its help.
_COMMANDS = {
    "send": ("send.send", "Send a text to numbers, a CSV file or a tag."),
    "broadcasts": ("operate.broadcasts", "List, watch, pause, resume, cancel broadcasts."),
    "batches": ("operate.batches", "Decide about batches of unknown outcome."),
    "circuit": ("operate.batches", "The circuit breaker: open while Sinch refuses all calls."),
    "webhooks": ("operate.webhooks", "Webhooks of clients: list, enable, disable, replay."),
    "keys": ("operate.keys", "API keys: create, rotate, revoke, list."),
    "caps": ("operate.caps", "Limits on what clients send in an hour or a day."),
    "audit": ("operate.audit", "The audit log: list, verify, export."),
    "users": ("operate.users", "Users of the pages: create, invite, role, reset, list."),
    "backup": ("operate.backups", "Backups of the database: create, verify, list, restore."),
    "purge": ("operate.purge", "Delete texts, numbers and files whose time is over."),
    "db": ("operate.db", "The database: migrate, check, adopt, restore."),
    "sandbox": ("operate.sandbox", "Serve Sinch's API on loopback; no SMS is sent."),
    "subscribers": ("data.subscribers", "Subscribers: import and export them as CSV."),
    "suppressions": ("data.suppressions", "Opt-outs: add, release, erase, import, export."),
    "consent": ("data.consent", "The consent ledger: verify it, export evidence."),
    "prices": ("data.prices", "Prices of a part by country: import, export."),
}


class _ImportedWhenRun(click.Command):
    """A command of `app.cli` that is imported when it runs."""

    def make_context(self, *args: Any, **options: Any) -> click.Context:
        module = import_module(f"app.cli.{_COMMANDS[str(self.name)][0]}")
        command: click.Command = getattr(module, str(self.name))
        command.help = command.help or self.help
        return command.make_context(*args, **options)


def make_command_app(config: Config) -> Flask:
    """Make the app of the commands: the settings, without routes.  Opens no connection."""
    if config.failpoint:
        failpoints.arm(*config.failpoint)
    app = App("app", static_folder=None)
    app.extensions["config"] = config
    for name, (_, text) in _COMMANDS.items():
        app.cli.add_command(_ImportedWhenRun(name, help=text))
    return app
