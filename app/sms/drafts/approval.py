"""Approval: a draft of more than APPROVAL_ABOVE people needs a second person.

The approval is of one version: a changed draft loses it.  Users do not approve what they have made,
changed or asked for.
"""

from typing import Any

from sqlalchemy import Row, select

from app.db.audit import write_audit
from app.db.base import table_of
from app.errors import Conflict
from app.sms.context import Context
from app.sms.drafts.store import change_version
from app.sms.models.draft import StoredDraft

_DRAFTS = table_of(StoredDraft)
_MAX_WAITING = 20


class ApprovalMissing(Conflict):
    """The draft needs the approval of a second person: nothing was sent."""


class ApprovalRefused(Conflict):
    """The user may not approve this draft: nothing was done."""


def needs_approval(ctx: Context, draft: Row[Any], recipients: int) -> bool:
    """Return True if a second person has to approve this version of a draft first."""
    return recipients > ctx.rules.approval_above and draft.approved_by is None


def is_involved(draft: Row[Any], user: str) -> bool:
    """Return True for a user who has made, changed or asked for this draft."""
    return user in (draft.created_by, draft.changed_by, draft.asked_by)


def ask_approval(ctx: Context, public_id: str, version: int, *, user: str) -> None:
    """Ask for the approval of a version of a draft.  Raises DraftChanged."""
    with ctx.db.write() as tx:
        change_version(tx, public_id, version, asked_at=ctx.now(), asked_by=user)


def approve_draft(ctx: Context, draft: Row[Any], version: int, *, user: str, actor: str) -> None:
    """Approve a version of a draft.  Raises ApprovalRefused and DraftChanged."""
    if is_involved(draft, user):
        raise ApprovalRefused("A second person approves: you have worked on this draft yourself.")
    now, public_id = ctx.now(), draft.public_id
    with ctx.db.write() as tx:
        change_version(tx, public_id, version, approved_at=now, approved_by=user)
        write_audit(tx, now=now, actor=actor, action="approve draft", subject=public_id)


def list_asked(ctx: Context) -> list[Row[Any]]:
    """List drafts that wait for an approval, the oldest first."""
    query = (
        select(_DRAFTS.c.public_id, _DRAFTS.c.title, _DRAFTS.c.asked_by)
        .where(
            _DRAFTS.c.asked_by.is_not(None),
            _DRAFTS.c.approved_by.is_(None),
            _DRAFTS.c.broadcast_id.is_(None),
        )
        .order_by(_DRAFTS.c.asked_at)
        .limit(_MAX_WAITING)
    )
    with ctx.db.read() as tx:
        return list(tx.execute(query))
