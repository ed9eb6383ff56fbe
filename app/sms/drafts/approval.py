"""Approval: a draft of more than APPROVAL_ABOVE people needs a second person.

The approval is of one version, one text and a number of people: a changed draft or template loses
it, and so does a tag that many have joined.  A broadcast keeps the number: if more people are in
its audience when it starts, it is paused before the first text, and a second person has to resume
it.  Users do not approve what they have made, changed or asked for.
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Row, select

from app.config.sending import NO_APPROVAL
from app.db.audit import write_audit
from app.db.base import table_of
from app.errors import Conflict
from app.sms.audience.grown import find_growth
from app.sms.broadcasts.control import resume_broadcast
from app.sms.context import Context
from app.sms.drafts.store import change_version
from app.sms.models.draft import StoredDraft
from app.sms.quotes.quote import pick_figures, read_quoted

_DRAFTS = table_of(StoredDraft)
MAX_WAITING = 20
# People join while a colleague reads: up to a hundredth more are those who were approved.
_MORE = 0.01


class ApprovalMissing(Conflict):
    """The draft needs the approval of a second person: nothing was sent."""


class ApprovalRefused(Conflict):
    """The user may not approve this draft: nothing was done."""


def needs_approval(ctx: Context, draft: Row[Any], quoted: Mapping[str, Any]) -> bool:
    """Return True if a second person has to approve this version of a draft first.

    `quoted` is what read_quoted returns of its quote.
    """
    people = quoted["recipients"]
    if people <= ctx.rules.approval_above:
        return False
    is_of_text = draft.approved_by is not None and draft.approved_text == quoted["text"]
    return not is_of_text or not covers(draft.approved_people, people)


def covers(approved: int, people: int) -> bool:
    """Return True if an approval of this number of people covers another number."""
    return people <= approved * (1 + _MORE)


def limit_people(ctx: Context, draft: Row[Any], quoted: Mapping[str, Any]) -> int | None:
    """Return how many people a draft's audience may have when it is sent; None for any number.

    Its look-up does not know all reasons to leave people out, so the others are counted as quoted.
    """
    if "audience" not in draft.body or ctx.rules.approval_above >= NO_APPROVAL:
        return None
    approved = int(draft.approved_people * (1 + _MORE)) if draft.approved_by else 0
    # The quote may be one of the version before.
    recipients: int = quoted["recipients"]
    looked_up: int = quoted.get("looked_up", recipients)
    return max(ctx.rules.approval_above, approved) + looked_up - recipients


def resume_as_user(ctx: Context, public_id: str, *, user: str, actor: str) -> None:
    """Resume a broadcast.

    Raises ApprovalRefused for one whose audience has grown, if the user has worked on it; and as
    resume_broadcast does.
    """

    def check(tx: Connection, broadcast: Row[Any]) -> None:
        if not find_growth(broadcast):
            return
        draft = tx.execute(select(_DRAFTS).where(_DRAFTS.c.broadcast_id == broadcast.id)).first()
        if user == broadcast.created_by or (draft is not None and is_involved(draft, user)):
            raise ApprovalRefused(
                "More people are in its audience by now than were approved, so a second person has "
                "to resume it: you have worked on it yourself."
            )

    resume_broadcast(ctx, public_id, actor=actor, check=check)


def is_involved(draft: Row[Any], user: str) -> bool:
    """Return True for a user who has made, changed or asked for this draft."""
    return user in (draft.created_by, draft.changed_by, draft.asked_by)


def ask_approval(ctx: Context, public_id: str, version: int, quote: str, *, user: str) -> None:
    """Ask for the approval of a quoted version; an earlier one ends.  Raises DraftChanged."""
    asked = {"asked_at": ctx.now(), "asked_by": user, "approved_at": None, "approved_by": None}
    with ctx.db.write() as tx:
        change_version(tx, public_id, version, **asked, **_read_figures(ctx, quote))


def approve_draft(
    ctx: Context, draft: Row[Any], version: int, quote: str, *, user: str, actor: str
) -> None:
    """Approve a version of a draft as it was quoted.  Raises ApprovalRefused and DraftChanged."""
    if is_involved(draft, user):
        raise ApprovalRefused("A second person approves: you have worked on this draft yourself.")
    approved = _read_figures(ctx, quote)
    if approved["approved_text"] is None:
        raise ApprovalRefused("The figures were too old: look again.")
    now, public_id = ctx.now(), draft.public_id
    with ctx.db.write() as tx:
        change_version(tx, public_id, version, approved_at=now, approved_by=user, **approved)
        write_audit(tx, now, actor, "approve draft", public_id)


def _read_figures(ctx: Context, quote: str) -> dict[str, Any]:
    """Return the columns of a draft that say what an approval is of; None for an old quote."""
    quoted = read_quoted(ctx, quote)
    return {
        "approved_text": quoted["text"] if quoted else None,
        "approved_people": quoted["recipients"] if quoted else None,
        "approved_figures": pick_figures(quoted) if quoted else None,
    }


def list_asked(ctx: Context) -> list[Row[Any]]:
    """List drafts that wait for an approval, or are approved and not sent, the oldest first."""
    shown = (
        "public_id",
        "title",
        "asked_by",
        "approved_by",
        "approved_people",
        "approved_figures",
        "body",
    )
    query = (
        select(*(_DRAFTS.c[name] for name in shown))
        .where(_DRAFTS.c.asked_by.is_not(None), _DRAFTS.c.broadcast_id.is_(None))
        .order_by(_DRAFTS.c.asked_at)
        .limit(MAX_WAITING)
    )
    with ctx.db.read() as tx:
        return list(tx.execute(query))
