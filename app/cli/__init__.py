"""Commands of `flask --app wsgi …`, over the same functions as the API.

send/       flask send, its quote, its recipients and its report
operate/    flask broadcasts, batches, circuit, webhooks, db, sandbox
data/       flask subscribers, suppressions, consent, prices
command.py  context, operator and one-line errors of all commands
up.py       `make run`
"""

from flask import Flask

from app.cli.data.consent import consent
from app.cli.data.prices import prices
from app.cli.data.subscribers import subscribers
from app.cli.data.suppressions import suppressions
from app.cli.operate.batches import batches, circuit
from app.cli.operate.broadcasts import broadcasts
from app.cli.operate.db import db
from app.cli.operate.sandbox import run_sandbox
from app.cli.operate.webhooks import webhooks
from app.cli.send.send import send


def register_commands(app: Flask) -> None:
    """Add our commands to `flask`."""
    for command in (
        send,
        run_sandbox,
        db,
        broadcasts,
        batches,
        circuit,
        webhooks,
        prices,
        subscribers,
        suppressions,
        consent,
    ):
        app.cli.add_command(command)
