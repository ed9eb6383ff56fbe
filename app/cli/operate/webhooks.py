"""`flask webhooks`: endpoints of clients, their deliveries, and replay."""

from datetime import UTC, datetime
from urllib.parse import urlsplit

import click

from app.cli.command import (
    TIME,
    ServiceGroup,
    count_of,
    name_operator,
    print_table,
    verified_context,
)
from app.webhooks.outgoing.deliveries import list_deliveries, replay_since
from app.webhooks.outgoing.endpoints import list_endpoints, switch_endpoint
from app.webhooks.outgoing.models import DeliveryStatus

webhooks = ServiceGroup("webhooks")

_FORMATS = ["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"]


@webhooks.command("list")
@click.option("--client", help="Only webhooks of this client.")
def list_them(client: str | None) -> None:
    """List the webhooks, each with the host of its URL only."""
    rows = (
        (
            row.public_id,
            row.status.value,
            row.client,
            urlsplit(row.url).netloc,
            f"{row.failing_since:{TIME}}" if row.failing_since else "",
            row.problem or "",
        )
        for row in list_endpoints(verified_context(), client=client)
    )
    headers = ("WEBHOOK", "STATUS", "CLIENT", "HOST", "FAILING SINCE", "PROBLEM")
    print_table(headers, rows, empty="There are no webhooks.")


@webhooks.command("deliveries")
@click.argument("webhook_id")
@click.option("--status", type=click.Choice([status.value for status in DeliveryStatus]))
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 200))
def deliveries(webhook_id: str, status: str | None, limit: int) -> None:
    """List the deliveries of a webhook, newest first.

    Their data is not shown.
    """
    wanted = DeliveryStatus(status) if status else None
    ctx = verified_context()
    page = list_deliveries(ctx, webhook_id, status=wanted, limit=limit)
    rows = (
        (
            row.public_id,
            f"{row.at:{TIME}}",
            row.event_type,
            row.status.value,
            row.tries,
            row.problem or "",
        )
        for row in page.rows
    )
    headers = ("DELIVERY", "EVENT AT", "EVENT", "STATUS", "TRIES", "PROBLEM")
    print_table(headers, rows, empty="There are no deliveries.")


@webhooks.command("enable")
@click.argument("webhook_id")
def enable(webhook_id: str) -> None:
    """Switch a webhook on and reset its failures."""
    _switch(webhook_id, enabled=True)


@webhooks.command("disable")
@click.argument("webhook_id")
def disable(webhook_id: str) -> None:
    """Post nothing to a webhook until it is enabled."""
    _switch(webhook_id, enabled=False)


@webhooks.command("replay")
@click.argument("webhook_id")
@click.option("--since", required=True, type=click.DateTime(_FORMATS), help="Start time in UTC.")
@click.option("--delivered", is_flag=True, help="Include events that were delivered.")
def replay(webhook_id: str, since: datetime, delivered: bool) -> None:
    """Post the events abandoned since a time again."""
    since = since.replace(tzinfo=UTC)
    ctx = verified_context()
    count = replay_since(ctx, webhook_id, since=since, delivered=delivered, actor=name_operator())
    click.echo(f"{count_of(count, 'event')} will be posted again.")


def _switch(webhook_id: str, *, enabled: bool) -> None:
    switch_endpoint(verified_context(), webhook_id, enabled=enabled, actor=name_operator())
    click.echo(f"{webhook_id}: {'on' if enabled else 'off'}")
