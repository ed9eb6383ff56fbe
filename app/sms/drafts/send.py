"""Quote a draft, and send it with its quote: once, however often the button is pressed.

The broadcast is stored in the transaction that marks its draft as sent, and only if the draft has
the version that was quoted.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy import Row

from app.errors import Conflict, KeyMisused, SendFailed
from app.sms.broadcasts.create import create_broadcast
from app.sms.broadcasts.idempotency import make_key
from app.sms.context import Context
from app.sms.drafts.approval import ApprovalMissing, limit_people, needs_approval
from app.sms.drafts.count import MAX_COUNTED, fill_for_first
from app.sms.drafts.request import list_people, make_request
from app.sms.drafts.store import DraftChanged, find_draft, mark_sent
from app.sms.quotes.quote import pick_figures, read_quoted
from app.sms.quotes.serialize import serialize_quote
from app.sms.request.model import BroadcastRequest
from app.sms.request.schemas import BroadcastSchema


def quote_draft(ctx: Context, draft: Row[Any]) -> dict[str, Any]:
    """Return the quote of a draft as the API shows it.  Raises what sending would raise."""
    request = make_request(draft.body, list_people(ctx, draft), now=ctx.now())
    return serialize_quote(ctx, request, dry_run=False)


def send_draft(
    ctx: Context,
    public_id: str,
    version: int,
    quote: str,
    *,
    client: str,
    user: str,
    production: bool,
) -> tuple[str, bool]:
    """Send a draft as it was quoted.  Returns the broadcast's id, and True if work remains.

    A draft that is sent already returns its broadcast.  Raises DraftChanged for another version,
    ApprovalMissing, QuoteChanged when its figures have moved, and the errors of create_broadcast.
    """
    draft = find_draft(ctx, public_id)
    if draft.broadcast:
        return draft.broadcast, False
    if draft.version != version:
        raise DraftChanged("The draft was changed meanwhile: nothing was sent.")
    quoted = read_quoted(ctx, quote)
    if quoted and needs_approval(ctx, draft, quoted):
        raise ApprovalMissing("A second person has to approve it first: nothing was sent.")
    request = make_request(draft.body, list_people(ctx, draft), now=ctx.now())
    tolerance = None if quoted and _is_large(quoted) else 0
    request = replace(
        request,
        quote=quote,
        quote_tolerance=tolerance,
        created_by=user,
        most_people=limit_people(ctx, draft, quoted) if quoted else None,
        quoted=pick_figures(quoted) if quoted else None,
    )
    key = replace(
        make_key(f"draft {public_id} {version}"),
        on_keep=lambda tx, broadcast_id: mark_sent(tx, public_id, version, broadcast_id),
    )
    try:
        answer, _, is_incomplete = create_broadcast(
            ctx, request, client=client, key=key, production=production
        )
    except (Conflict, KeyMisused, SendFailed):
        # Another press was first, or Sinch refused it: its page says so.
        sent = find_draft(ctx, public_id).broadcast
        if sent is None:
            raise
        return sent, True
    return str(answer["broadcast_id"]), is_incomplete


def _is_large(quoted: Mapping[str, Any]) -> bool:
    """Return True for a quote of more people than are counted while a person waits."""
    people: int = quoted["recipients"] + quoted["excluded"]
    return people > MAX_COUNTED


def send_test(
    ctx: Context,
    draft: Row[Any],
    phone: str,
    trial: str,
    *,
    client: str,
    user: str,
    production: bool,
) -> str:
    """Send a draft's text to one number, a user's own, as a notice, now.  Returns the broadcast.

    Placeholders have the values of the audience's first person, else their defaults.  A `trial` is
    sent once.
    """
    body = {
        "recipients": [phone],
        "message": fill_for_first(ctx, draft.body, list_people(ctx, draft)),
        "reference": f"test of {draft.title}",
    }
    body |= {"sender": draft.body["sender"]} if "sender" in draft.body else {}
    request: BroadcastRequest = BroadcastSchema().load(body)
    answer, _, _ = create_broadcast(
        ctx,
        replace(request, created_by=user),
        client=client,
        key=make_key(f"test {draft.public_id} {trial[:40]}"),
        production=production,
    )
    return str(answer["broadcast_id"])
