"""`flask broadcasts`: list, show, watch, pause, resume and cancel broadcasts."""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import click

from app.cli.command import (
    TIME,
    ServiceGroup,
    count_of,
    name_operator,
    print_table,
    say_refusal,
    verified_context,
)
from app.sms.broadcasts import control
from app.sms.broadcasts.response_schemas import BroadcastViewSchema
from app.sms.broadcasts.serialize import show_view
from app.sms.broadcasts.views import BroadcastView, list_broadcasts, view_broadcast
from app.sms.lifecycle.counts import give_reasons
from app.sms.models.states import BroadcastStatus
from app.sms.models.statuses import MessageStatus

broadcasts = ServiceGroup("broadcasts")

_WATCH_EVERY_S = 0.5
_SHOWN_CHARACTERS = 40
_UNSENT = (MessageStatus.PENDING,)
_UNREPORTED = (*_UNSENT, MessageStatus.SUBMITTED, MessageStatus.HELD, MessageStatus.UNCONFIRMED)
_HEADERS = ("BROADCAST", "CREATED", "STATUS", "SENT", "OF", "CLIENT", "REFERENCE OR TEXT")


@broadcasts.command("list")
@click.option("--status", type=click.Choice([status.value for status in BroadcastStatus]))
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 200))
def list_them(status: str | None, limit: int) -> None:
    """List the newest broadcasts, one per line."""
    wanted = BroadcastStatus(status) if status else None
    page = list_broadcasts(verified_context(), limit=limit, status=wanted)
    rows = (
        (
            view.row.public_id,
            f"{view.row.created_at:{TIME}}",
            view.status,
            view.totals.at_sinch,
            view.row.recipients,
            view.row.client,
            name_broadcast(view),
        )
        for view in page.rows
    )
    print_table(_HEADERS, rows, empty="There are no broadcasts.")


@broadcasts.command("show")
@click.argument("broadcast_id")
@click.option("--json", "as_json", is_flag=True, help="As JSON, as the API shows it.")
def show(broadcast_id: str, as_json: bool) -> None:
    """Show one broadcast with its counts."""
    view = view_broadcast(verified_context(), broadcast_id)
    if as_json:
        shown = show_view(view, production=False)
        click.echo(json.dumps(BroadcastViewSchema().dump(shown), indent=2))
        return
    row = view.row
    facts = {
        "broadcast": row.public_id,
        "reference or text": name_broadcast(view),
        "status": view.status,
        "client": row.client,
        "category": f"{row.category.value}, priority {row.priority}",
        "text": f"{row.encoding}, {count_of(row.parts, 'part')} a message",
        "created": row.created_at,
        "starts": row.send_at,
        "first sent": row.first_submitted_at,
        "completed": row.completed_at,
        "expires": row.expires_at,
        "recipients": row.recipients,
        "accepted by Sinch": view.totals.at_sinch,
    }
    for name, fact in facts.items():
        if fact is not None:
            click.echo(
                f"{name + ':':<20}{fact if isinstance(fact, str | int) else f'{fact:{TIME}}'}"
            )
    for line in describe_counts(view):
        click.echo(line)
    if row.refusal:
        click.echo(say_refusal(row.refusal))


@broadcasts.command("watch")
@click.argument("broadcast_id")
@click.option("--reports", is_flag=True, help="Until Sinch has reported on every message.")
def watch(broadcast_id: str, reports: bool) -> None:
    """Show the progress of a broadcast until it is sent.

    Also ends when all that remains waits for the end of quiet hours.  Then prints the counts.
    """
    for line in describe_counts(_follow(broadcast_id, reports=reports)):
        click.echo(line)


@broadcasts.command("pause")
@click.argument("broadcast_id")
def pause(broadcast_id: str) -> None:
    """Send no more until the broadcast is resumed."""
    _act(control.pause_broadcast, broadcast_id)


@broadcasts.command("resume")
@click.argument("broadcast_id")
def resume(broadcast_id: str) -> None:
    """Continue a broadcast that paused, halted or missed its start."""
    _act(control.resume_broadcast, broadcast_id)


@broadcasts.command("cancel")
@click.argument("broadcast_id")
def cancel(broadcast_id: str) -> None:
    """Send no more; stop at Sinch what it has not handed on."""
    _act(control.cancel_broadcast, broadcast_id)
    control.cancel_at_sinch(verified_context())


def name_broadcast(view: BroadcastView) -> str:
    """Return the reference of a broadcast, else the beginning of its text in one line."""
    text = view.row.reference or view.row.text or "(its text was deleted)"
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= _SHOWN_CHARACTERS else f"{line[: _SHOWN_CHARACTERS - 1]}…"


def describe_counts(view: BroadcastView) -> Iterator[str]:
    """Yield a line per status and reason with its number of messages, and who is left out why."""
    for reason in give_reasons(view.by_status_code):
        code = f" (code {reason['code']})" if reason["code"] else ""
        yield f"{reason['messages']:>9} {reason['status']:<10} {reason['reason']}{code}"
    yield from describe_exclusions(view)


def describe_exclusions(view: BroadcastView) -> Iterator[str]:
    """Yield a line for each reason for which recipients are excluded, or wait until a time."""
    for exclusion in view.exclusions:
        yield exclusion["sentence"]


def _follow(broadcast_id: str, *, reports: bool) -> BroadcastView:
    """Show how many messages are sent, or reported, until all are or the rest is deferred."""
    ctx, remaining = verified_context(), _UNREPORTED if reports else _UNSENT
    view = view_broadcast(ctx, broadcast_id)
    with click.progressbar(
        length=view.row.recipients, label=view.row.public_id, item_show_func=_show_status
    ) as bar:
        shown = 0
        while True:
            left = sum(view.counts[status] for status in remaining)
            bar.update(view.row.recipients - left - shown, current_item=view)
            shown = view.row.recipients - left
            ended = view.row.all_reported_at if reports else view.row.completed_at
            deferred, _ = view.deferred
            if ended or (deferred and deferred == left and not reports):
                return view
            time.sleep(_WATCH_EVERY_S)
            view = view_broadcast(ctx, broadcast_id)


def _show_status(view: BroadcastView | None) -> str | None:
    return view.status if view else None


def _act(change: Callable[..., Any], broadcast_id: str) -> None:
    ctx = verified_context()
    change(ctx, broadcast_id, actor=name_operator())
    click.echo(f"{broadcast_id}: {view_broadcast(ctx, broadcast_id).status}")
