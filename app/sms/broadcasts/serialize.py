"""Broadcasts and messages as the API shows them."""

from typing import Any

from sqlalchemy import Row

from app.logs import mask_numbers
from app.phone.e164 import mask_number
from app.sms.broadcasts.create import describe_refusal, make_url
from app.sms.broadcasts.views import BroadcastView, Page
from app.sms.lifecycle.counts import describe_kind, give_reasons
from app.sms.lifecycle.timeline import draw_timeline
from app.sms.messages.list import MessageView


def show_view(view: BroadcastView, *, production: bool) -> dict[str, Any]:
    """One broadcast; neither its text nor a number."""
    row = view.row
    return {
        "broadcast_id": row.public_id,
        "status": view.status,
        "url": make_url(row.public_id),
        "client": row.client,
        "reference": row.reference,
        "category": row.category,
        "priority": row.priority,
        "sender": row.sender,
        "encoding": row.encoding,
        "parts_per_message": row.parts,
        "created_at": row.created_at,
        "send_at": row.send_at,
        "expires_at": row.expires_at,
        "first_submitted_at": row.first_submitted_at,
        "finished_at": row.finished_at,
        "settled_at": row.settled_at,
        "resend_of": view.resend_of,
        "recipients": row.recipients + row.invalid,
        "duplicates_removed": row.duplicates,
        "parts": row.parts * view.sums.taken,
        "counts": view.counts,
        "reasons": give_reasons(view.kinds),
        "timeline": draw_timeline(row, view.sums),
        "batches": view.batches,
        "withheld": view.withheld,
        "tag": row.tag,
        "audience": row.audience["select"] if row.audience else None,
        "resolving": row.resolving,
        "template": _show_template(row.options.get("template")),
        "stopped_at_sinch": view.stopped_at_sinch,
        "refusal": describe_refusal(row.refusal, production=production) or None,
    }


def _show_template(template: list[Any] | None) -> dict[str, Any] | None:
    return {"name": template[0], "version": template[1]} if template else None


def show_page(page: Page, *, production: bool) -> dict[str, Any]:
    """A page of broadcasts."""
    shown = [show_view(view, production=production) for view in page.rows]
    return {"broadcasts": shown, "cursor": page.cursor}


def show_messages(page: Page) -> dict[str, Any]:
    """A page of messages."""
    return {"messages": [show_message(each) for each in page.rows], "cursor": page.cursor}


def show_inbounds(page: Page, *, masked: bool) -> dict[str, Any]:
    """A page of inbounds; `masked` hides whose they are, also where the text says it."""
    return {
        "inbounds": [_show_inbound(row, masked=masked) for row in page.rows],
        "cursor": page.cursor,
    }


def _show_inbound(row: Row[Any], *, masked: bool) -> dict[str, Any]:
    return {
        "inbound_id": row.id,
        "sinch_id": row.sinch_id,
        "kind": row.kind,
        "sender": mask_number(row.sender) if masked else row.sender,
        "recipient": row.recipient,
        "body": mask_numbers(row.body) if masked else row.body,
        "received_at": row.received_at,
        "noted_at": row.noted_at,
        "client_reference": row.client_reference,
        "broadcast_id": row.public_id,
    }


def show_message(message: MessageView) -> dict[str, Any]:
    """One recipient's copy, and why it stands where it does."""
    return {
        "recipient": message.recipient,
        **describe_kind(message.status, message.code, message.withheld),
        "at": message.at,
        "batch_id": message.batch_id,
        "client_reference": message.client_reference,
    }
