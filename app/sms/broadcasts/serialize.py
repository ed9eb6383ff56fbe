"""Broadcasts as JSON."""

from typing import Any

from app.pagination import Page
from app.sms.broadcasts.create import describe_refusal
from app.sms.broadcasts.views import BroadcastView
from app.sms.lifecycle.counts import build_timeline, give_reasons
from app.sms.models.broadcast import BROADCAST_URL


def show_view(view: BroadcastView, *, production: bool) -> dict[str, Any]:
    """Return a broadcast as JSON, without its text and phone numbers."""
    row = view.row
    return {
        "broadcast_id": row.public_id,
        "status": view.status,
        "url": BROADCAST_URL.format(row.public_id),
        "client": row.client,
        "created_by": row.created_by,
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
        "completed_at": row.completed_at,
        "all_reported_at": row.all_reported_at,
        "kept_until": view.kept_until,
        "purged_at": row.purged_at,
        "resend_of": view.resend_of,
        "recipients": row.recipients + row.invalid,
        "duplicates_removed": row.duplicates,
        "parts": row.parts * view.totals.at_sinch,
        "counts": view.counts,
        "reasons": give_reasons(view.by_status_code),
        "timeline": build_timeline(row, view.totals, view.seen_at),
        "progress": view.progress,
        "batches": view.batches,
        "excluded": view.excluded,
        "exclusions": view.exclusions,
        "tag": row.tag,
        "audience": row.audience["select"] if row.audience else None,
        "resolving": row.resolving,
        "template": _show_template(row.options.get("template")),
        "canary": row.options.get("canary"),
        "stopped_at_sinch": view.stopped_at_sinch,
        "refusal": describe_refusal(row.refusal, production=production) or None,
    }


def _show_template(template: list[Any] | None) -> dict[str, Any] | None:
    return {"name": template[0], "version": template[1]} if template else None


def show_page(page: Page[BroadcastView], *, production: bool) -> dict[str, Any]:
    shown = [show_view(view, production=production) for view in page.rows]
    return {"broadcasts": shown, "cursor": page.cursor}
