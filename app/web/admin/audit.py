"""The page of the audit log: who did what, and whether the log is as it was written."""

import json
from typing import Any

from flask import render_template, request

from app.accounts.roles import Role
from app.operate.audit import list_entries, verify_entries
from app.web.guard import make_page_blueprint, page_context, require_role

blueprint = make_page_blueprint("audit")

_FILTERS = ("actor", "action", "subject")
_LONGEST_ID = 18


@blueprint.get("/audit")
@require_role(Role.ADMIN)
def list_all() -> str:
    """List the entries, the newest first, those of an actor, action or subject if asked."""
    db, cursor = page_context().db, request.args.get("cursor", "")
    is_id = cursor.isascii() and cursor.isdigit() and len(cursor) <= _LONGEST_ID
    only = {name: request.args[name] for name in _FILTERS if request.args.get(name)}
    page = list_entries(db, only=only, cursor=int(cursor) if is_id else None)
    return render_template(
        "admin/audit.html",
        rows=[{"entry": entry, "facts": _describe(entry.facts)} for entry in page.rows],
        cursor=page.cursor,
        only=only,
        verdict=verify_entries(db) if "check" in request.args else None,
    )


def _describe(facts: dict[str, Any] | None) -> str:
    """Return facts as words: names and values, without the signs of JSON."""
    return "; ".join(
        f"{name.replace('_', ' ')}: {_write(value)}"
        for name, value in (facts or {}).items()
        if value not in (None, "", [])
    )


def _write(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_write, value))
    return value if isinstance(value, str) else json.dumps(value)
