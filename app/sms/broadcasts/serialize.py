"""Broadcasts as JSON."""

from typing import Any

from app.pagination import Page
from app.sms.broadcasts.create import describe_refusal
from app.sms.broadcasts.views import BroadcastView
from app.sms.lifecycle.counts import build_timeline, give_reasons
from app.sms.models.broadcast import BROADCAST_URL


def show_view(view: BroadcastView, *, production: bool) -> dict[str, Any]:
    """Return a broadcast for BroadcastViewSchema, which leaves out its text."""
    row = view.row
    template = row.options.get("template")
    return row._asdict() | {
        "broadcast_id": row.public_id,
        "status": view.status,
        "url": BROADCAST_URL.format(row.public_id),
        "parts_per_message": row.parts,
        "kept_until": view.kept_until,
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
        "audience": row.audience["select"] if row.audience else None,
        "template": {"name": template[0], "version": template[1]} if template else None,
        "canary": row.options.get("canary"),
        "stopped_at_sinch": view.stopped_at_sinch,
        "refusal": describe_refusal(row.refusal, production=production) or None,
    }


def show_page(page: Page[BroadcastView], *, production: bool) -> dict[str, Any]:
    shown = [show_view(view, production=production) for view in page.rows]
    return {"broadcasts": shown, "cursor": page.cursor}
