"""Payload: a batch as Sinch's API takes it, and the attempt to post it."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from typing import Any

from sqlalchemy import Row

from app.sinch.schemas import OutgoingBatch
from app.sms.audience.chunks import BatchRecipients
from app.sms.context import Context


def make_outgoing(
    ctx: Context,
    broadcast: Any,
    content: BatchRecipients,
    recipients: Sequence[str],
    *,
    reference: str,
    expires_at: datetime,
) -> OutgoingBatch:
    """Return the batch; `broadcast` has the columns of its table."""
    options = broadcast.options
    report = ctx.report_mode(options)
    return OutgoingBatch(
        recipients=recipients,
        text=choose_text(broadcast, content.language),
        sender=broadcast.sender,
        client_reference=reference,
        parameters=merge_parameters(options.get("defaults") or {}, content.parameters, recipients),
        expire_at=expires_at,
        delivery_report=report,
        callback_url=ctx.callback_url if report else None,
        flash=bool(options.get("flash")),
        max_parts=options.get("max_parts"),
    )


def choose_text(broadcast: Row[Any], language: str | None) -> str:
    """Return the text in this language, or the broadcast's own text without translations."""
    texts: Mapping[str, str] = broadcast.texts or {}
    return texts.get(language or "", broadcast.text)


def merge_parameters(
    defaults: Mapping[str, str], own: Mapping[str, Mapping[str, str]], recipients: Sequence[str]
) -> Mapping[str, Mapping[str, str]]:
    """Build Sinch's `parameters`: by name, the values of these recipients and the default."""
    wanted = set(recipients)
    merged: dict[str, dict[str, str]] = {
        name: {phone: value for phone, value in values.items() if phone in wanted}
        for name, values in own.items()
    }
    for name, value in defaults.items():
        merged.setdefault(name, {})["default"] = value
    return merged


def make_attempt(
    ctx: Context, batch_id: int, *, number: int, body: bytes, now: datetime
) -> dict[str, Any]:
    """Return the table row of an attempt, which is stored before its first byte leaves."""
    return {
        "batch_id": batch_id,
        "number": number,
        "started_at": now,
        "payload_hash": sha256(body).digest(),
        "worker": ctx.worker,
        "overridden": False,
    }
