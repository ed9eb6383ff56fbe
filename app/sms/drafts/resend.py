"""Sending a broadcast again by a user: more than APPROVAL_ABOVE people need a second person, too.

The approval is of a number of people; the text cannot change.  Users do not approve their own
question.
"""

from typing import Any

from sqlalchemy import Row, exists, select

from app.db.audit import write_audit
from app.db.base import table_of
from app.db.engine import make_upserts
from app.errors import Conflict
from app.sms.broadcasts.idempotency import make_key
from app.sms.broadcasts.resend import count_unreached, quote_resend, resend_undelivered
from app.sms.context import Context
from app.sms.drafts.approval import MAX_WAITING, ApprovalMissing, ApprovalRefused, covers
from app.sms.lifecycle.find import find_broadcast
from app.sms.models.broadcast import Broadcast
from app.sms.models.draft import ResendApproval
from app.sms.quotes.quote import pick_figures, read_quoted

_APPROVALS, _BROADCASTS = table_of(ResendApproval), table_of(Broadcast)
_ASK = make_upserts(
    _APPROVALS, replace=("people", "figures", "asked_at", "asked_by", "approved_at", "approved_by")
)
_AGAIN = _BROADCASTS.alias()
# Made once: every page counts them.
_ASKED = (
    select(
        _BROADCASTS.c.public_id,
        _BROADCASTS.c.reference,
        _BROADCASTS.c.text,
        _APPROVALS.c.asked_by,
        _APPROVALS.c.people,
        _APPROVALS.c.figures,
    )
    .join(_APPROVALS, _APPROVALS.c.broadcast_id == _BROADCASTS.c.id)
    .where(
        _APPROVALS.c.approved_by.is_(None),
        _BROADCASTS.c.purged_at.is_(None),
        ~exists().where(_AGAIN.c.resend_of == _BROADCASTS.c.id),
    )
    .order_by(_APPROVALS.c.asked_at)
    .limit(MAX_WAITING)
)


def find_resend_approval(ctx: Context, broadcast_id: int) -> Row[Any] | None:
    """Return the last question to send a broadcast again, and its approval; None without one."""
    with ctx.db.read() as tx:
        query = select(_APPROVALS).where(_APPROVALS.c.broadcast_id == broadcast_id)
        return tx.execute(query).first()


def needs_resend_approval(ctx: Context, asked: Row[Any] | None, people: int) -> bool:
    """Return True if a second person has to approve first that these people get it again.

    `asked` is what find_resend_approval returns.
    """
    if people <= ctx.rules.approval_above:
        return False
    return not (asked and asked.approved_by and covers(asked.people, people))


def ask_resend(ctx: Context, public_id: str, *, user: str) -> None:
    """Ask a second person to approve that a broadcast is sent again.

    An earlier approval ends.  Raises as resend_undelivered does.
    """
    broadcast_id, people = count_unreached(ctx, public_id)
    quoted = read_quoted(ctx, quote_resend(ctx, public_id).token)
    figures = pick_figures(quoted) if quoted else None
    asked = {"broadcast_id": broadcast_id, "people": people, "figures": figures, "asked_by": user}
    with ctx.db.write() as tx:
        values = {**asked, "asked_at": ctx.now(), "approved_at": None, "approved_by": None}
        tx.execute(_ASK[tx.dialect.name], values)


def approve_resend(ctx: Context, public_id: str, people: int, *, user: str, actor: str) -> None:
    """Approve what a colleague asked for, as it was shown.  Raises ApprovalRefused."""
    now = ctx.now()
    with ctx.db.write() as tx:
        broadcast_id = find_broadcast(tx, ctx, public_id).id
        query = select(_APPROVALS).where(_APPROVALS.c.broadcast_id == broadcast_id)
        asked = tx.execute(query.with_for_update()).first()
        if asked is None or asked.people != people:
            raise ApprovalRefused("The number of people has changed: look again.")
        if asked.asked_by == user:
            raise ApprovalRefused("A second person approves: you have asked for it yourself.")
        ours = _APPROVALS.update().where(_APPROVALS.c.broadcast_id == broadcast_id)
        tx.execute(ours.values(approved_at=now, approved_by=user))
        write_audit(tx, now, actor, "approve resend", public_id, recipients=people)


def resend_as_user(
    ctx: Context, public_id: str, shown: int, *, client: str, user: str
) -> dict[str, Any]:
    """Send a broadcast again to those not reached, once.  Returns the answer of the API.

    It leaves out those whom a stop kept the text from.  Raises Conflict if more people would get it
    than the user was shown; ApprovalMissing; and as resend_undelivered does.
    """

    def check(broadcast_id: int, people: int) -> None:
        if people > shown:
            raise Conflict("More people were not reached by now: look again. Nothing was sent.")
        if needs_resend_approval(ctx, find_resend_approval(ctx, broadcast_id), people):
            raise ApprovalMissing("A second person has to approve it first: nothing was sent.")

    return resend_undelivered(
        ctx,
        public_id,
        client=client,
        key=make_key(f"resend {public_id}"),
        include_cancelled=False,
        created_by=user,
        check=check,
    )


def list_asked_resends(ctx: Context) -> list[Row[Any]]:
    """List broadcasts that wait for an approval to be sent again, the oldest question first."""
    with ctx.db.read() as tx:
        return list(tx.execute(_ASKED))
