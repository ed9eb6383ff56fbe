"""The page of caps: limits on what a client, or all clients, may send."""

from datetime import datetime
from http import HTTPStatus
from typing import Any

from flask import flash, render_template, request
from werkzeug.wrappers import Response

from app.accounts.roles import Role
from app.errors import BadInput, NotFound, reject_field
from app.http.arguments import collect_errors
from app.sms.caps.budget import find_key
from app.sms.caps.caps import CapName, list_caps, list_used_caps, read_amount, remove_cap, set_cap
from app.sms.caps.prices import format_price, read_prices
from app.sms.context import Context
from app.sms.models.cap import ALL, KEY, CapPeriod, CapUnit
from app.web.guard import (
    describe_actor,
    go_to,
    make_page_blueprint,
    page_context,
    read_once,
    require_role,
)
from app.web.words import clock_time

blueprint = make_page_blueprint("caps")

# The caps that there can be: period and unit, by the words of the page.
_KINDS = {
    "day parts": "Parts in a day",
    "hour parts": "Parts in an hour",
    "day cost": "Cost of a day",
    "hour cost": "Cost of an hour",
    "broadcast recipients": "People of one broadcast",
}


@blueprint.get("/caps")
@require_role(Role.ADMIN)
def list_all() -> str:
    """List the caps with what is left of them."""
    return _show({}, {})


@blueprint.post("/caps")
@require_role(Role.ADMIN)
def set_one() -> Response | tuple[str, HTTPStatus]:
    """Set a cap."""
    typed = {name: request.form.get(name, "").strip() for name in ("client", "kind", "amount")}
    try:
        cap = _read_cap(typed["client"], typed["kind"])
        amount = read_amount(cap.unit, typed["amount"].replace(",", ""))
        set_cap(page_context(), cap, amount, actor=describe_actor())
    except BadInput as e:
        # The unit is chosen together with the period.
        names = {"unit": "kind"}
        errors = {names.get(name, name): reason for name, reason in collect_errors(e).items()}
        return _show(typed, errors), e.status
    flash(
        f"{_name_owner(cap.client)}: {_KINDS[typed['kind']].lower()}, at most {typed['amount']}.\n"
        "What waited for it and fits goes on within seconds.",
        "done",
    )
    return go_to("caps.list_all")


@blueprint.post("/caps/remove")
@require_role(Role.ADMIN)
def remove() -> Response:
    """Remove a cap."""
    try:
        cap = _read_cap(request.form.get("client", ""), request.form.get("kind", ""))
        remove_cap(page_context(), cap, actor=describe_actor())
    except (BadInput, NotFound):
        flash("Nothing was done.\nThere is no such cap any more.", "warn")
    else:
        flash("The cap is removed.\nWhat waited for it goes on within seconds.", "done")
    return go_to("caps.list_all")


def _read_cap(client: str, kind: str) -> CapName:
    """Return the cap that a form names; no client is all of them.  Raises BadInput."""
    if kind not in _KINDS:
        raise reject_field("kind", "Choose what the cap limits")
    period, unit = kind.split()
    return CapName(client or ALL, CapPeriod(period), CapUnit(unit))


def _name_owner(owner: str) -> str:
    """Return the words for a client, a key, or all clients."""
    key_id = find_key(owner)
    return f"Key {key_id}" if key_id else owner if owner not in ("", ALL) else "All clients"


def _show(typed: dict[str, str], errors: dict[str, str]) -> str:
    ctx = page_context()
    with ctx.db.read() as tx:
        currency = read_prices(tx).currency
    rows = [_describe(cap, currency or "") for cap in list_caps(ctx)]
    return render_template(
        "admin/caps.html", rows=rows, kinds=_KINDS, typed=typed, errors=errors, currency=currency
    )


def say_used_caps(ctx: Context) -> list[str]:
    """Return a sentence on each cap that is reached or nearly so."""
    used = read_once(list_used_caps, ctx)
    if not used:
        return []
    with ctx.db.read() as tx:
        currency = read_prices(tx).currency or ""
    return [_say_used(cap, _describe(cap, currency), ctx.now()) for cap in used]


def _say_used(cap: dict[str, Any], shown: dict[str, Any], now: datetime) -> str:
    until = clock_time(shown["resets_at"], now)
    what = f"{shown['name']}, {shown['word'].lower()}"
    if cap["is_reached"]:
        waits = f"What exceeds it waits until {until}, or until the cap is raised."
        return f"The cap of {shown['amount']} is reached ({what}).\n{waits}"
    left = f"{shown['left']} of {shown['amount']} are left until {until}"
    return f"A cap is nearly reached ({what}).\n{left}; what exceeds it waits."


def _describe(cap: dict[str, Any], currency: str) -> dict[str, Any]:
    """Return a cap in the words of the page."""

    def show(amount: int) -> str:
        is_cost = cap["unit"] == CapUnit.COST.value
        return f"{format_price(amount)} {currency}" if is_cost else f"{amount:,}"

    kind = f"{cap['period']} {cap['unit']}"
    owner = f"{KEY}{cap['key']}" if cap["key"] else cap["client"] or ""
    resets_at = cap.get("resets_at")
    return {
        "client": owner,
        "name": _name_owner(owner),
        "kind": kind,
        "word": _KINDS[kind],
        "amount": show(cap["amount"]),
        "left": show(cap["left"]) if "left" in cap else "",
        "resets_at": datetime.fromisoformat(resets_at) if resets_at else None,
    }
