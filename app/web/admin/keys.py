"""Pages of API keys: list, create, replace, revoke.

A new key is shown by the answer to the form that made it: a cookie would keep it.  A reload of that
answer makes no other key.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any

from flask import flash, render_template, request
from sqlalchemy import Row
from werkzeug.wrappers import Response

from app.accounts.roles import Role
from app.config.scopes import DEFAULT_SCOPES, SCOPE_SENTENCES, KeyScope
from app.errors import BadInput, Conflict, reject_field
from app.http.arguments import collect_errors
from app.keys.restored import end_restored_keys, find_restored_keys, keep_restored_keys
from app.keys.store import KeyOptions, create_key, has_ended, list_keys, revoke_key, rotate_key
from app.web.guard import (
    describe_actor,
    flash_refusal,
    go_to,
    is_sent_again,
    make_page_blueprint,
    page_context,
    require_role,
)
from app.web.words import clock_time

blueprint = make_page_blueprint("keys")

_OVERLAP = timedelta(hours=24)
_MAX_DAYS = 3650
_REVOKE_IT = "revoke it below and make another."
# The form before anything is typed.
_NEW = {"scopes": sorted(DEFAULT_SCOPES)}


@blueprint.get("/keys")
@require_role(Role.ADMIN)
def list_all() -> str:
    """List the keys, those that ended last."""
    return _show(_NEW, {})


@blueprint.post("/keys")
@require_role(Role.ADMIN)
def create() -> str | Response | tuple[str, HTTPStatus]:
    """Create a key, and show it once."""
    ctx, form = page_context(), request.form
    typed: dict[str, Any] = {
        name: form.get(name, "") for name in ("name", "days", "addresses", "countries", "kind")
    }
    typed["scopes"] = form.getlist("scopes")
    try:
        options = _read_options(ctx.now())
        if is_sent_again("The new key was", _REVOKE_IT):
            return go_to("keys.list_all")
        row, key = create_key(
            ctx.db, ctx.clock, typed["name"].strip(), options, actor=describe_actor()
        )
    except (BadInput, Conflict) as e:
        errors = collect_errors(e) if isinstance(e, BadInput) else {"name": e.sentence}
        return _show(typed, errors), e.status
    return _show_key(key, f"The new key of {row.client}")


@blueprint.post("/keys/<int:key_id>/replace")
@require_role(Role.ADMIN)
def replace(key_id: int) -> str | Response:
    """Show a new key like another, which works for a day more."""
    ctx = page_context()
    ends_at = ctx.now() + _OVERLAP
    if is_sent_again("The new key was", _REVOKE_IT):
        return go_to("keys.list_all")
    try:
        row, key = rotate_key(ctx.db, ctx.clock, key_id, ends_at=ends_at, actor=describe_actor())
    except Conflict as e:
        flash_refusal(e)
        return go_to("keys.list_all")
    return _show_key(key, f"The new key of {row.client}; the one before works for 24 hours more")


@blueprint.post("/keys/<int:key_id>/revoke")
@require_role(Role.ADMIN)
def revoke(key_id: int) -> Response:
    """End a key."""
    ctx = page_context()
    try:
        row = revoke_key(ctx.db, ctx.clock, key_id, actor=describe_actor())
    except Conflict as e:
        flash_refusal(e)
        return go_to("keys.list_all")
    flash(f"Key {key_id} of {row.client} is revoked.\nIt is refused within 5 seconds.", "done")
    return go_to("keys.list_all")


@blueprint.post("/keys/restored/revoke")
@require_role(Role.ADMIN)
def revoke_restored() -> Response:
    """End all keys that a restore brought back."""
    ctx = page_context()
    ended = end_restored_keys(ctx.db, ctx.clock, actor=describe_actor())
    detail = f"{_count(ended)} refused within 5 seconds."
    flash(f"The keys that came back are revoked.\n{detail}", "done")
    return go_to("keys.list_all")


@blueprint.post("/keys/restored/keep")
@require_role(Role.ADMIN)
def keep_restored() -> Response:
    """Note that the keys that a restore brought back may go on being used."""
    ctx = page_context()
    kept = keep_restored_keys(ctx.db, ctx.clock, actor=describe_actor())
    flash(f"The keys that came back are kept.\n{_count(kept)} in use as before.", "done")
    return go_to("keys.list_all")


def _count(keys: int) -> str:
    return f"{keys} key is" if keys == 1 else f"{keys} keys are"


def _read_options(now: datetime) -> KeyOptions:
    """Read the options of the form.  Raises BadInput."""
    scopes = frozenset(scope for scope in KeyScope if scope in request.form.getlist("scopes"))
    if not scopes:
        raise reject_field("scopes", "Choose what the key may do")
    days = request.form.get("days", "").strip()
    is_number = days.isascii() and days.isdigit() and len(days) <= len(str(_MAX_DAYS))
    if days and not (is_number and 1 <= int(days) <= _MAX_DAYS):
        raise reject_field(
            "days", f"Give 1 to {_MAX_DAYS:,} days, or nothing for a key without end"
        )
    return KeyOptions(
        scopes,
        networks=_split("addresses"),
        countries=_split("countries"),
        expires_at=now + timedelta(days=int(days)) if days else None,
        is_test=request.form.get("kind") == "test",
    )


def _split(name: str) -> tuple[str, ...]:
    """Return the words of a field of the form, with blanks or commas between them."""
    return tuple(request.form.get(name, "").replace(",", " ").split())


def _show_key(key: str, name: str) -> str:
    once = f"{name}: {key}\nIt is shown only now. Programs send it as X-API-Key."
    return _show(_NEW, {}, shown_once=once)


def _show(typed: Mapping[str, Any], errors: dict[str, str], *, shown_once: str = "") -> str:
    ctx = page_context()
    now = ctx.now()
    rows = [
        {
            "key": key,
            "may": _describe_scopes(key),
            "state": _describe_state(key, now),
            "has_ended": has_ended(key, now),
        }
        for key in list_keys(ctx.db)
    ]
    rows.sort(key=lambda row: bool(row["has_ended"]))
    # Names in the form are those of the fields; errors of the store name the field `scope`.
    names = {"scope": "scopes", "address": "addresses", "expires": "days"}
    errors = {names.get(name, name): sentence for name, sentence in errors.items()}
    return render_template(
        "admin/keys.html",
        rows=rows,
        scopes=SCOPE_SENTENCES,
        typed=typed,
        errors=errors,
        shown_once=shown_once,
        restored=find_restored_keys(ctx.db, ctx.clock),
    )


def _describe_scopes(key: Row[Any]) -> str:
    is_default = set(key.scopes) == DEFAULT_SCOPES
    return f"All but {KeyScope.ALL_CLIENTS.value}" if is_default else ", ".join(key.scopes)


def _describe_state(key: Row[Any], now: datetime) -> str:
    if key.revoked_at:
        return f"Revoked {clock_time(key.revoked_at, now)}"
    kind = "Test key" if key.is_test else "Live"
    if key.expires_at is None:
        return kind
    end = clock_time(key.expires_at, now)
    return f"Ended {end}" if has_ended(key, now) else f"{kind}, until {end}"
