"""`flask batches` and `flask circuit`: decisions of an operator."""

from collections.abc import Mapping
from typing import Any

import click

from app.cli.command import (
    TIME,
    Note,
    ServiceGroup,
    count_of,
    name_operator,
    print_table,
    verified_context,
)
from app.sms.dispatch.circuit_breaker import close_circuit_by_hand, find_held_alone
from app.sms.lifecycle.gates import read_gates
from app.sms.recovery.attention import MAX_NOTE_CHARACTERS, Decision, find_attention, resolve_batch

batches = ServiceGroup("batches")
circuit = ServiceGroup("circuit")


@batches.command("attention")
def attention() -> None:
    """List the batches that need a decision, one per line."""
    rows = find_attention(verified_context())
    cells = (
        (
            row.client_reference,
            row.attention.value,
            row.size,
            f"{row.unknown_at:{TIME}}",
            row.public_id,
        )
        for row in rows
    )
    headers = ("BATCH", "REASON", "RECIPIENTS", "SINCE", "BROADCAST")
    print_table(headers, cells, empty="Nothing needs a decision.")
    if not rows:
        return
    waiting = rows[0].waiting
    more = f"; these are the oldest {len(rows)}" if waiting > len(rows) else ""
    verb = "needs" if waiting == 1 else "need"
    click.echo(f"{count_of(waiting, 'batch')} {verb} a decision{more}.")


@batches.command("resolve")
@click.argument("reference")
@click.option(
    "--as",
    "decision",
    required=True,
    type=click.Choice([decision.value for decision in Decision]),
    help="mark_sent: Sinch has it. resend: post it again; its recipients may get the text twice. "
    "give_up: do not send it again.",
)
@click.option(
    "--note", required=True, type=Note(MAX_NOTE_CHARACTERS), help="Reason, for the audit log."
)
def resolve(reference: str, decision: str, note: str) -> None:
    """Decide about the batch with this REFERENCE.

    `attention` shows the references.
    """
    state = resolve_batch(
        verified_context(), reference, Decision(decision), actor=name_operator(), note=note
    )
    click.echo(f"{reference}: {state.value}")


@circuit.command("show")
def show_circuit() -> None:
    """Show whether the circuit breaker is open, and why.

    Also shows since when, and what is held alone.
    """
    ctx = verified_context()
    with ctx.db.read() as tx:
        gates = read_gates(tx, ctx.rules, ctx.now())
    for held in find_held_alone(ctx):
        click.echo(
            f"held alone: broadcast {held.public_id} of {held.client}, sender {held.sender}: "
            f"{_show_refusal(held.refusal or {})}; tried again at {held.retry_at:%H:%M:%S} UTC"
        )
    if gates.circuit is None:
        click.echo("closed: sending goes on, Sinch accepts our calls")
        return
    facts = gates.circuit
    click.echo(f"open since {facts['since']}: {_show_refusal(facts)}; nothing is sent meanwhile")


def _show_refusal(facts: Mapping[str, Any]) -> str:
    return f"HTTP {facts.get('status')} {facts.get('code', '')}".rstrip()


@circuit.command("close")
def close_circuit() -> None:
    """Close it after a correction: sending continues at once."""
    closed = close_circuit_by_hand(verified_context(), actor=name_operator())
    click.echo("closed" if closed else "was closed already")
