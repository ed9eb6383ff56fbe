"""Inbound texts as JSON."""

from typing import Any

from sqlalchemy import Row

from app.logs import mask_numbers
from app.pagination import Page
from app.phone.e164 import mask_number


def show_inbounds(page: Page[Row[Any]], *, masked: bool) -> dict[str, Any]:
    """Return a page of inbound texts as JSON; `masked` masks phone numbers, in the text, too."""
    inbounds = [
        {**row._mapping, "inbound_id": row.id, "broadcast_id": row.public_id} for row in page.rows
    ]
    if masked:
        for inbound in inbounds:
            inbound["sender"] = mask_number(inbound["sender"])
            inbound["body"] = mask_numbers(inbound["body"])
    return {"inbounds": inbounds, "cursor": page.cursor}
