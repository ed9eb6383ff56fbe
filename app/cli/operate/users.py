"""`flask users`: the people who sign in to the pages, by one-time links."""

from datetime import datetime

import click
from flask import current_app

from app.accounts.roles import ROLE_SENTENCES, Role
from app.accounts.users import (
    INVITATION_DAYS,
    change_role,
    create_user,
    invite_user,
    list_users,
    make_link,
    remove_user,
    reset_user,
)
from app.cli.command import TIME, ServiceGroup, name_operator, print_table, verified_context
from app.config import Config

users = ServiceGroup("users")

_ROLE = click.Choice([role.value for role in Role])


@users.command("create")
@click.argument("name")
@click.option("--role", required=True, type=_ROLE, help="Each may do all that the one before may.")
def create(name: str, role: str) -> None:
    """Create a user and print a link by which they choose a password."""
    ctx = verified_context()
    token = create_user(ctx.db, ctx.clock, name, Role(role), actor=name_operator())
    click.echo(f"{name} may sign in once they have chosen a password. {ROLE_SENTENCES[Role(role)]}")
    _print_link(token)


@users.command("invite")
@click.argument("name")
def invite(name: str) -> None:
    """Print a new link for a user who has no password yet.

    The old link ends.
    """
    ctx = verified_context()
    _print_link(invite_user(ctx.db, ctx.clock, name, actor=name_operator()))


@users.command("role")
@click.argument("name")
@click.argument("role", type=_ROLE)
def set_role(name: str, role: str) -> None:
    """Give a user another role and end their sessions."""
    ctx = verified_context()
    if change_role(ctx.db, ctx.clock, name, Role(role), actor=name_operator()):
        click.echo(f"{name} has the role {role} now and has to sign in again.")
    else:
        click.echo(f"{name} has the role {role} already; nothing was changed.")


@users.command("reset")
@click.argument("name")
def reset(name: str) -> None:
    """Take a user's password away and print a new link.

    Their sessions and second factor end.  For a user who leaves: keep the link to yourself.
    """
    ctx = verified_context()
    token = reset_user(ctx.db, ctx.clock, name, actor=name_operator())
    click.echo(f"{name} is signed out everywhere, and the password is void.")
    _print_link(token)


@users.command("remove")
@click.argument("name")
def remove(name: str) -> None:
    """Remove a user for good.

    Their sessions end.  Their drafts stay, and so does their name on what they did.
    """
    ctx = verified_context()
    remove_user(ctx.db, ctx.clock, name, actor=name_operator())
    click.echo(f"{name} is removed and signed out everywhere.")


@users.command("list")
def list_them() -> None:
    """List the users, their roles, and how far they have come."""
    ctx = verified_context()
    now = ctx.now()
    rows = (
        (
            user.name,
            user.role.value,
            user.describe_state(now, _show_time),
            _show_time(user.created_at),
        )
        for user in list_users(ctx.db)
    )
    empty = "There are no users: flask users create NAME --role admin makes the first one."
    print_table(("USER", "ROLE", "STATE", "CREATED"), rows, empty=empty)


def _print_link(token: str) -> None:
    config: Config = current_app.extensions["config"]
    click.echo(f"This link works once, within {INVITATION_DAYS} days:")
    click.echo(make_link(config.page_url, token))


def _show_time(at: datetime) -> str:
    return f"{at:{TIME}}"
