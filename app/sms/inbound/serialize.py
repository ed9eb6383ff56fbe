"""Inbound texts as JSON."""

from typing import Any

from sqlalchemy import Row

from app.logs import mask_numbers
from app.pagination import Page
from app.phone.e164 import mask_number


def show_inbounds(page: Page[Row[Any]], *, masked: bool) -> dict[str, Any]:
    """Return a page of inbound texts as JSON; `masked` masks phone numbers, in the text, too."""
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
        "recorded_at": row.recorded_at,
        "client_reference": row.client_reference,
        "broadcast_id": row.public_id,
    }
