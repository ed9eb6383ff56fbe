"""Commands of `flask --app wsgi …`: thin, over the same functions as the API."""

from flask import Flask

from app.cli.batches import batches, circuit
from app.cli.broadcasts import broadcasts
from app.cli.consent import consent
from app.cli.db import db
from app.cli.prices import prices
from app.cli.sandbox import run_sandbox
from app.cli.send import send
from app.cli.subscribers import subscribers
from app.cli.suppressions import suppressions
from app.cli.webhooks import webhooks


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
