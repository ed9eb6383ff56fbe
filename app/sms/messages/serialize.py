"""Messages as JSON."""

from typing import Any

from app.pagination import Page
from app.sms.lifecycle.counts import explain_status
from app.sms.messages.list import MessageView


def show_messages(page: Page[MessageView]) -> dict[str, Any]:
    """Return a page of messages as JSON."""
    return {"messages": [show_message(message) for message in page.rows], "cursor": page.cursor}


def show_message(message: MessageView) -> dict[str, Any]:
    """Return a message as JSON, with the reason for its status."""
    return {
        "recipient": message.recipient,
        **explain_status(message.status, message.code, message.exclusion_reason),
        "at": message.at,
        "batch_id": message.batch_id,
        "client_reference": message.client_reference,
    }
