"""`flask webhooks`: how telling clients goes, and a hand on it."""

from datetime import UTC, datetime
from urllib.parse import urlsplit

import click
from flask.cli import AppGroup

from app.cli.operate.broadcasts import refuse
from app.cli.operate.db import name_operator, our_context
from app.errors import ClarionError
from app.webhooks.outgoing.deliveries import list_deliveries, replay_since
from app.webhooks.outgoing.endpoints import list_endpoints, switch_endpoint
from app.webhooks.outgoing.models import DeliveryStatus

webhooks = AppGroup("webhooks", help="Webhooks of clients: list, look at, switch, tell again.")

_FORMATS = ["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"]


@webhooks.command("list")
@click.option("--client", help="Only this client's.")
def list_them(client: str | None) -> None:
    """Every webhook, a line each; of its URL only the host, the rest may be a secret."""
    for row in list_endpoints(our_context(), client=client):
        failing = f"failing since {row.failing_since:%Y-%m-%d %H:%M}" if row.failing_since else ""
        click.echo(
            f"{row.public_id}  {row.status.value:<7} {row.client:<16} "
            f"{urlsplit(row.url).netloc}  {failing} {row.problem or ''}".rstrip()
        )


@webhooks.command("deliveries")
@click.argument("webhook_id")
@click.option("--status", type=click.Choice([each.value for each in DeliveryStatus]))
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 200))
def deliveries(webhook_id: str, status: str | None, limit: int) -> None:
    """What was told to a webhook, the newest first, without the contents."""
    wanted = DeliveryStatus(status) if status else None
    try:
        page = list_deliveries(our_context(), webhook_id, client=None, status=wanted, limit=limit)
    except ClarionError as e:
        raise refuse(e) from e
    for row in page.rows:
        click.echo(
            f"{row.public_id}  {row.at:%Y-%m-%d %H:%M}  {row.event_type:<18} {row.status.value:<9} "
            f"{row.tries:>2} tries  {row.problem or ''}".rstrip()
        )


@webhooks.command("enable")
@click.argument("webhook_id")
def enable(webhook_id: str) -> None:
    """Switch a webhook on and give it every chance again."""
    _switch(webhook_id, enabled=True)


@webhooks.command("disable")
@click.argument("webhook_id")
def disable(webhook_id: str) -> None:
    """Post nothing to a webhook until it is enabled."""
    _switch(webhook_id, enabled=False)


@webhooks.command("replay")
@click.argument("webhook_id")
@click.option(
    "--since", required=True, type=click.DateTime(_FORMATS), help="Events from then on, in UTC."
)
@click.option("--delivered", is_flag=True, help="Also those that were delivered.")
def replay(webhook_id: str, since: datetime, delivered: bool) -> None:
    """Post again what was given up since a time."""
    try:
        count = replay_since(
            our_context(),
            webhook_id,
            client=None,
            since=since.replace(tzinfo=UTC),
            delivered=delivered,
        )
    except ClarionError as e:
        raise refuse(e) from e
    click.echo(f"{count} events are posted again.")


def _switch(webhook_id: str, *, enabled: bool) -> None:
    try:
        switch_endpoint(our_context(), webhook_id, enabled=enabled, actor=name_operator())
    except ClarionError as e:
        raise refuse(e) from e
    click.echo(f"{webhook_id}: {'on' if enabled else 'off'}")
