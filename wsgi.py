"""The WSGI application: `gunicorn wsgi:app`, `flask --app wsgi run`."""

import sys

import click
from flask.cli import FlaskGroup

from app.cli import make_command_app
from app.config import load_config_or_exit
from app.logs import configure_logging

_config = load_config_or_exit()
# None for gunicorn; the group of all commands for ours, else the command itself, such as `run`.
_command = click.get_current_context(silent=True)
if _command and isinstance(_command.command, FlaskGroup) and "openapi" not in sys.argv:
    # A person reads them between the lines of the command.
    configure_logging("DEBUG" if _config.log_level == "DEBUG" else "ERROR", readable=True)
    app = make_command_app(_config)
    # Flask's own: `flask --help` shows what operators use.
    for _other in _command.command.commands.values():
        _other.hidden = True
else:
    from app.factory import create_app
    from app.worker.start import start_background

    app = create_app(_config)
    if _command is None or _command.info_name == "run":
        start_background(app, _config)
