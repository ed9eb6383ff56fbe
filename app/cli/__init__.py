"""Commands of `flask --app wsgi …`: thin, over the same functions as the API."""

from flask import Flask

from app.cli.sandbox import run_sandbox
from app.cli.send import send


def register_commands(app: Flask) -> None:
    """Add our commands to `flask`."""
    app.cli.add_command(send)
    app.cli.add_command(run_sandbox)
