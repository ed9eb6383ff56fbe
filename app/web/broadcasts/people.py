"""People of a broadcast by where their text is and why: a list, and the same as a file."""

from functools import partial
from typing import Any

from flask import render_template, request, url_for
from werkzeug.wrappers import Response

from app.accounts.roles import Role
from app.http.files import make_csv_response
from app.sms.broadcasts.views import BroadcastView, view_messages
from app.sms.current import current_context
from app.sms.lifecycle.counts import explain_status
from app.sms.messages.export import export_messages
from app.sms.messages.list import MessageView
from app.sms.messages.queries import MessageFilter
from app.sms.messages.schemas import MessageChoiceSchema, MessageQuerySchema
from app.sms.models.statuses import MessageStatus
from app.web.broadcasts.accounting import MARKS, Accounting, AccountingLine, account_for
from app.web.broadcasts.states import name_row
from app.web.guard import make_page_blueprint, require_role
from app.web.subscribers.wording import show_number, shows_numbers

blueprint = make_page_blueprint("broadcast_people")

_ROWS = 50


@blueprint.get("/broadcasts/<broadcast_id>/people")
@require_role(Role.VIEWER)
def list_people(broadcast_id: str) -> str:
    """List the people of a broadcast, filtered by where they are and why."""
    query = {"cursor": None, "limit": str(_ROWS)} | request.args.to_dict()
    query = MessageQuerySchema().load({name: value for name, value in query.items() if value})
    wanted: MessageFilter = query["wanted"]
    view, page = view_messages(current_context(), broadcast_id, **{"cursor": None} | query)
    accounting = account_for(view)
    link_lines(view, accounting)
    statuses = set(wanted.statuses)
    chosen = [line for line in accounting.lines if statuses and statuses <= set(line.statuses)]
    return render_template(
        "broadcasts/people.html",
        id=broadcast_id,
        name=name_row(view.row),
        title=f"People: {chosen[0].word.lower()}" if chosen else "Everybody who was asked for",
        rows=[_show_person(message) for message in page.rows],
        cursor=page.cursor,
        filters=_name_filters(wanted),
        address=_link(broadcast_id, wanted),
        chosen=chosen[0] if chosen else None,
        accounting=accounting,
        shows_numbers=shows_numbers(),
    )


@blueprint.get("/broadcasts/<broadcast_id>/people.csv")
@require_role(Role.SENDER)
def export_people(broadcast_id: str) -> Response:
    """Export the people that a filter of the list finds, as a file for spreadsheets."""
    choice = MessageChoiceSchema().load(request.args.to_dict())
    csv_format = {"delimiter": ",", "spreadsheet": True}
    export = partial(
        export_messages, current_context(), broadcast_id, masked=False, wanted=choice["wanted"]
    )
    return make_csv_response(export, f"{broadcast_id}.csv", csv_format)


def link_lines(view: BroadcastView, accounting: Accounting) -> None:
    """Link each line to the list of its people, where a filter finds just them."""
    for line in accounting.lines:
        for linked in (line, *line.subs):
            linked.href = _find_page(view, linked)


def _find_page(view: BroadcastView, line: AccountingLine) -> str | None:
    """Return the page of exactly the people of a line; None if no filter finds just them."""
    if view.row.purged_at is not None:
        return None
    wanted = MessageFilter(line.statuses, line.code, line.exclusion_reason)
    return _link(view.row.public_id, wanted) if _count(view, wanted) == line.figure else None


def _count(view: BroadcastView, wanted: MessageFilter) -> int:
    """Return how many people a filter finds.  Invalid entries are in no list."""
    if wanted.exclusion_reason is not None:
        reason = wanted.exclusion_reason.value
        return sum(group["recipients"] for group in view.exclusions if group["reason"] == reason)
    return sum(
        figure
        for (status, code), figure in view.by_status_code.items()
        if status in wanted.statuses and status is not MessageStatus.INVALID
        if wanted.code in (None, code)
    )


def _link(broadcast_id: str, wanted: MessageFilter) -> str:
    names = _name_filters(wanted)
    return url_for("broadcast_people.list_people", broadcast_id=broadcast_id, **names)


def _name_filters(wanted: MessageFilter) -> dict[str, Any]:
    """Return the parameters of an address."""
    reason = wanted.exclusion_reason
    named = {
        "status": ",".join(status.value for status in wanted.statuses),
        "code": wanted.code,
        "exclusion_reason": reason.value if reason else None,
    }
    return {name: value for name, value in named.items() if value not in ("", None)}


def _show_person(message: MessageView) -> dict[str, Any]:
    kind, word = MARKS[message.status]
    why = explain_status(message.status, message.code, message.exclusion_reason)["reason"]
    number = show_number(message.recipient)
    return {"number": number, "kind": kind, "word": word, "reason": why, "at": message.at}
