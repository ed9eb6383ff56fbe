"""The page of the audit log: who did what, and whether the log is as it was written."""

import json
from typing import Any

from flask import render_template, request
from marshmallow import Schema, fields

from app.accounts.roles import Role
from app.http.fields import Cursor, reject_untransportable
from app.operate.audit import list_entries, verify_entries
from app.web.guard import make_page_blueprint, page_context, require_role

blueprint = make_page_blueprint("audit")


class AuditQuerySchema(Schema):
    """Filters of the audit log, its page, and the wish to check the seals."""

    actor = fields.String(validate=reject_untransportable)
    action = fields.String(validate=reject_untransportable)
    subject = fields.String(validate=reject_untransportable)
    cursor = Cursor(load_default=None)
    check = fields.String(load_default="")


@blueprint.get("/audit")
@require_role(Role.ADMIN)
def list_all() -> str:
    """List the entries, the newest first, those of an actor, action or subject if asked."""
    db, query = page_context().db, AuditQuerySchema().load(request.args.to_dict())
    cursor, check = query.pop("cursor"), query.pop("check")
    only = {name: value for name, value in query.items() if value}
    page = list_entries(db, only=only, cursor=cursor)
    return render_template(
        "admin/audit.html",
        rows=[{"entry": entry, "facts": _describe(entry.facts)} for entry in page.rows],
        cursor=page.cursor,
        only=only,
        verdict=verify_entries(db) if check else None,
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
