"""`flask broadcasts`: list, show, watch, pause, resume and cancel broadcasts."""

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import click

from app.cli.command import ServiceGroup, name_operator, verified_context
from app.logs import configure_logging
from app.sms.broadcasts import control
from app.sms.broadcasts.response_schemas import BroadcastViewSchema
from app.sms.broadcasts.serialize import show_view
from app.sms.broadcasts.views import BroadcastView, list_broadcasts, view_broadcast
from app.sms.context import Context
from app.sms.lifecycle.counts import give_reasons
from app.sms.models.states import BroadcastStatus
from app.sms.models.statuses import MessageStatus

broadcasts = ServiceGroup("broadcasts")

_WATCH_EVERY_S = 0.5
_UNSENT = (MessageStatus.PENDING,)
_UNREPORTED = (*_UNSENT, MessageStatus.SUBMITTED, MessageStatus.HELD, MessageStatus.UNCONFIRMED)


@broadcasts.command("list")
@click.option("--status", type=click.Choice([status.value for status in BroadcastStatus]))
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 200))
def list_them(status: str | None, limit: int) -> None:
    """List the newest broadcasts, one per line."""
    wanted = BroadcastStatus(status) if status else None
    page = list_broadcasts(verified_context(), limit=limit, status=wanted)
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
    """Show one broadcast with its counts, as JSON."""
    view = show_view(view_broadcast(verified_context(), broadcast_id), production=False)
    click.echo(json.dumps(BroadcastViewSchema().dump(view), indent=2))


@broadcasts.command("watch")
@click.argument("broadcast_id")
@click.option("--reports", is_flag=True, help="Until Sinch has reported on every message.")
def watch(broadcast_id: str, reports: bool) -> None:
    """Follow a broadcast with a progress bar until all of it is sent, then print its counts."""
    follow = follow_reports if reports else follow_sending
    for line in describe_counts(follow(verified_context(), broadcast_id)):
        click.echo(line)


@broadcasts.command("pause")
@click.argument("broadcast_id")
def pause(broadcast_id: str) -> None:
    """Hand no further batch to Sinch until the broadcast is resumed."""
    _act(control.pause_broadcast, broadcast_id)


@broadcasts.command("resume")
@click.argument("broadcast_id")
def resume(broadcast_id: str) -> None:
    """Continue a broadcast that is paused, halted or missed its start."""
    _act(control.resume_broadcast, broadcast_id)


@broadcasts.command("cancel")
@click.argument("broadcast_id")
def cancel(broadcast_id: str) -> None:
    """Send nothing more, and stop at Sinch what it has not handed on."""
    _act(control.cancel_broadcast, broadcast_id)
    control.cancel_at_sinch(verified_context())


def follow_sending(ctx: Context, broadcast_id: str) -> BroadcastView:
    """Show the progress of a broadcast until nothing is left to send."""
    return _follow(ctx, broadcast_id, _UNSENT, lambda view: view.row.completed_at is not None)


def follow_reports(ctx: Context, broadcast_id: str) -> BroadcastView:
    """Show the progress of a broadcast until the final status of every message is known."""
    return _follow(
        ctx, broadcast_id, _UNREPORTED, lambda view: view.row.all_reported_at is not None
    )


def describe_counts(view: BroadcastView) -> Iterator[str]:
    """Yield a line per status and reason with its number of messages."""
    for reason in give_reasons(view.by_status_code):
        code = f" (code {reason['code']})" if reason["code"] else ""
        yield f"{reason['messages']:>9} {reason['status']:<10} {reason['reason']}{code}"


def _follow(
    ctx: Context,
    broadcast_id: str,
    remaining: Sequence[MessageStatus],
    has_ended: Callable[[BroadcastView], bool],
) -> BroadcastView:
    """Show how many messages have left the `remaining` statuses, until `has_ended`."""
    if sys.stderr.isatty():
        configure_logging("ERROR")  # log lines would break the progress bar
    view = view_broadcast(ctx, broadcast_id)
    with click.progressbar(
        length=view.row.recipients, label=view.row.public_id, item_show_func=_show_status
    ) as bar:
        shown = 0
        while True:
            done = view.row.recipients - sum(view.counts[status] for status in remaining)
            bar.update(done - shown, current_item=view)
            shown = done
            if has_ended(view):
                return view
            time.sleep(_WATCH_EVERY_S)
            view = view_broadcast(ctx, broadcast_id)


def _show_status(view: BroadcastView | None) -> str | None:
    return view.status if view else None


def _act(change: Callable[..., Any], broadcast_id: str) -> None:
    ctx = verified_context()
    change(ctx, broadcast_id, actor=name_operator())
    click.echo(f"{broadcast_id}: {view_broadcast(ctx, broadcast_id).status}")
