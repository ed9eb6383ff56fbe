"""`flask sandbox`: the sandbox in place of Sinch, on this machine."""

from pathlib import Path

import click
from flask import current_app
from flask.cli import with_appcontext

from app.config import Config
from app.logs import configure_logging
from app.sandbox.control.settings import Settings
from app.sandbox.server import serve


@click.command("sandbox")
@click.option("--port", default=8089, show_default=True, help="Port on 127.0.0.1.")
@click.option(
    "--ledger",
    "ledger_path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File to which each accepted batch is written before it is answered.",
)
@with_appcontext
def sandbox(port: int, ledger_path: Path | None) -> None:
    """Serve Sinch's API on loopback; no SMS is sent.

    Its callbacks follow the settings of this service: PUBLIC_URL, SINCH_WEBHOOK_SECRET or
    SINCH_WEBHOOK_BASIC.
    """
    config: Config = current_app.extensions["config"]
    if config.production:
        raise click.ClickException("the sandbox is not for production: set APP_ENV=development")
    configure_logging(config.log_level)
    settings = Settings(
        inbound_url=config.callback_url,
        hmac_secret=next(iter(config.webhook_auth.secrets), None),
        callback_basic=config.webhook_auth.basic,
    )
    serve(port=port, ledger_path=ledger_path, settings=settings)
