"""Commands of `flask`: their context, their operator, and errors of one line."""

import getpass
from typing import Any

import click
from flask import current_app
from flask.cli import AppGroup

from app.db.schema import WrongDatabase
from app.errors import ClarionError
from app.sms.context import Context, make_context


class ServiceCommand(click.Command):
    """A command that ends with one line when the service refuses it."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ClarionError as e:
            raise click.ClickException(e.sentence) from e
        except WrongDatabase as e:
            raise click.ClickException(str(e)) from e


class ServiceGroup(AppGroup):
    """A group of such commands."""

    command_class = ServiceCommand


def current_context() -> Context:
    """Return the context of the current app, whatever its database is."""
    extensions = current_app.extensions
    if "clarion" not in extensions:
        extensions["clarion"] = make_context(extensions["config"])
    ctx: Context = extensions["clarion"]
    return ctx


def verified_context() -> Context:
    """Return the context.  Raises WrongDatabase unless the database is migrated and ours."""
    ctx = current_context()
    ctx.require_own_database()
    return ctx


def name_operator() -> str:
    """Return the operator's name for the audit log, such as `cli:ann`."""
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):
        return "cli"
