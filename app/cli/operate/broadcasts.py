"""`flask broadcasts`: what is going on, and a hand on it."""

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import click
from flask import current_app
from flask.cli import AppGroup

from app.cli.operate.db import name_operator, our_context
from app.errors import ClarionError
from app.logs import configure_logging
from app.sms.broadcasts import control
from app.sms.broadcasts.response_schemas import BroadcastViewSchema
from app.sms.broadcasts.serialize import show_view
from app.sms.broadcasts.views import BroadcastView, list_broadcasts, view_broadcast
from app.sms.context import Context
from app.sms.lifecycle.counts import give_reasons
from app.sms.models.states import BroadcastStatus
from app.sms.models.statuses import MessageStatus

broadcasts = AppGroup("broadcasts", help="Broadcasts: list, show, watch, pause, resume, cancel.")

_WATCH_EVERY_S = 0.5
_PENDING = (MessageStatus.PENDING,)
_AWAITED = (*_PENDING, MessageStatus.SUBMITTED, MessageStatus.HELD, MessageStatus.UNCONFIRMED)


def refuse(error: ClarionError) -> click.ClickException:
    """One line for the terminal."""
    return click.ClickException(error.sentence)


@broadcasts.command("list")
@click.option("--status", type=click.Choice([each.value for each in BroadcastStatus]))
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 200))
def list_them(status: str | None, limit: int) -> None:
    """The newest broadcasts, a line each."""
    wanted = BroadcastStatus(status) if status else None
    page = list_broadcasts(our_context(), limit=limit, status=wanted)
    for view in page.rows:
        row = view.row
        done = row.recipients - view.counts["pending"]
        click.echo(
            f"{row.public_id}  {row.created_at:%Y-%m-%d %H:%M}  {view.status:<24}"
            f"{done:>9}/{row.recipients:<9} {row.client}"
        )


@broadcasts.command("show")
@click.argument("broadcast_id")
def show(broadcast_id: str) -> None:
    """One broadcast with its counts, as JSON."""
    shown = show_view(_view(our_context(), broadcast_id), production=False)
    click.echo(json.dumps(BroadcastViewSchema().dump(shown), indent=2))


@broadcasts.command("watch")
@click.argument("broadcast_id")
@click.option("--reports", is_flag=True, help="Until Sinch has reported on every message.")
def watch(broadcast_id: str, reports: bool) -> None:
    """Follow one broadcast with a progress bar until all of it was sent, and sum it up."""
    follow_it = follow_reports if reports else follow_sending
    for line in tell_reasons(follow_it(our_context(), broadcast_id)):
        click.echo(line)


@broadcasts.command("pause")
@click.argument("broadcast_id")
def pause(broadcast_id: str) -> None:
    """Hand nothing more of it to Sinch."""
    _act(control.pause_broadcast, broadcast_id)


@broadcasts.command("resume")
@click.argument("broadcast_id")
def resume(broadcast_id: str) -> None:
    """Let one that is paused, stopped or late go on."""
    _act(control.resume_broadcast, broadcast_id)


@broadcasts.command("cancel")
@click.argument("broadcast_id")
def cancel(broadcast_id: str) -> None:
    """Send nothing more of it, and have Sinch stop what it can."""
    _act(control.cancel_broadcast, broadcast_id)
    control.cancel_at_sinch(our_context())


def follow_sending(ctx: Context, broadcast_id: str) -> BroadcastView:
    """Show how a broadcast is sent until nothing is left to send."""
    return _follow(ctx, broadcast_id, _PENDING, lambda view: view.row.completed_at is not None)


def follow_reports(ctx: Context, broadcast_id: str) -> BroadcastView:
    """Show how the messages of a broadcast end until every end is known."""
    return _follow(ctx, broadcast_id, _AWAITED, lambda view: view.row.all_reported_at is not None)


def tell_reasons(view: BroadcastView) -> Iterator[str]:
    """How many recipients stand where, and why: a line each."""
    for each in give_reasons(view.kinds):
        code = f" (code {each['code']})" if each["code"] else ""
        yield f"{each['messages']:>9} {each['status']:<10} {each['reason']}{code}"


def _follow(
    ctx: Context,
    broadcast_id: str,
    waiting: Sequence[MessageStatus],
    has_ended: Callable[[BroadcastView], bool],
) -> BroadcastView:
    """Show how many still wait until the end; Ctrl-C leaves it to the background."""
    if sys.stderr.isatty():
        configure_logging("ERROR")  # lines between would tear the bar
    view = _view(ctx, broadcast_id)
    with click.progressbar(
        length=view.row.recipients, label=view.row.public_id, item_show_func=_tell_status
    ) as bar:
        shown = 0
        while True:
            done = view.row.recipients - sum(view.counts[status] for status in waiting)
            bar.update(done - shown, current_item=view)
            shown = done
            if has_ended(view):
                return view
            time.sleep(_WATCH_EVERY_S)
            view = _view(ctx, broadcast_id)


def _tell_status(view: BroadcastView | None) -> str | None:
    return view.status if view else None


def _view(ctx: Context, broadcast_id: str) -> BroadcastView:
    try:
        return view_broadcast(ctx, broadcast_id)
    except ClarionError as e:
        raise refuse(e) from e


def _act(change: Callable[..., Any], broadcast_id: str) -> None:
    ctx = our_context()
    try:
        change(ctx, broadcast_id, actor=name_operator())
    except ClarionError as e:
        raise refuse(e) from e
    current_app.extensions["wake_workers"]()
    click.echo(f"{broadcast_id}: {_view(ctx, broadcast_id).status}")
