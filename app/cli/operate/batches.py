"""`flask batches`: what an operator has to look at.  `flask circuit`: when all is refused."""

import click
from flask.cli import AppGroup

from app.cli.operate.broadcasts import refuse
from app.cli.operate.db import name_operator, our_context
from app.errors import ClarionError
from app.http.fields import is_unicode
from app.sms.dispatch.circuit_breaker import close_circuit_by_hand
from app.sms.lifecycle.gates import read_gates
from app.sms.recovery.attention import MAX_NOTE_CHARACTERS, Decision, find_attention, resolve_batch

batches = AppGroup("batches", help="Batches of which nobody knows whether they were sent.")
circuit = AppGroup("circuit", help="The circuit that opens when Sinch refuses everything.")


def _read_note(_: click.Context, __: click.Parameter, value: str) -> str:
    note = value.strip()
    if not 1 <= len(note) <= MAX_NOTE_CHARACTERS or not is_unicode(note):
        raise click.BadParameter(f"give 1 to {MAX_NOTE_CHARACTERS} characters")
    return note


@batches.command("attention")
def attention() -> None:
    """The batches that wait for a decision, a line each."""
    rows = find_attention(our_context())
    for row in rows:
        click.echo(
            f"{row.client_reference}  {row.attention.value:<10} {row.size:>5} recipients  since "
            f"{row.unknown_at:%Y-%m-%d %H:%M} UTC  broadcast {row.public_id}"
        )
    if not rows:
        click.echo("Nothing needs a decision.")
        return
    waiting = rows[0].waiting
    more = f", of which these are the oldest {len(rows)}" if waiting > len(rows) else ""
    click.echo(f"{waiting} batches need a decision{more}.")


@batches.command("resolve")
@click.argument("reference")
@click.option(
    "--as",
    "decision",
    required=True,
    type=click.Choice([each.value for each in Decision]),
    help="mark_sent: it went out. resend: post it again, accepting that its recipients may get "
    "the text twice. give_up: leave it.",
)
@click.option("--note", required=True, callback=_read_note, help="Why; kept in the audit log.")
def resolve(reference: str, decision: str, note: str) -> None:
    """Decide about a batch; REFERENCE is what `attention` shows."""
    ctx = our_context()
    try:
        state = resolve_batch(ctx, reference, Decision(decision), actor=name_operator(), note=note)
    except ClarionError as e:
        raise refuse(e) from e
    click.echo(f"{reference}: {state.value}")


@circuit.command("show")
def show_circuit() -> None:
    """Whether sending is stopped, since when and why."""
    ctx = our_context()
    with ctx.db.read() as tx:
        gates = read_gates(tx, ctx.rules, ctx.now())
    if gates.circuit is None:
        click.echo("closed: Sinch takes our calls")
        return
    facts = gates.circuit
    click.echo(
        f"open since {facts.get('since')}: HTTP {facts.get('status')} {facts.get('code', '')}"
    )


@circuit.command("close")
def close_circuit() -> None:
    """Tell that what Sinch refused is mended: sending goes on at once."""
    closed = close_circuit_by_hand(our_context(), actor=name_operator())
    click.echo("closed" if closed else "was closed already")
