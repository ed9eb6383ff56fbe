"""Pages of imports: a file, its columns, progress, and where every row went."""

from datetime import datetime, timedelta
from functools import partial
from http import HTTPStatus
from typing import Any

from flask import Response as FlaskResponse
from flask import current_app, flash, make_response, render_template, request
from sqlalchemy import Row
from werkzeug.wrappers import Response

from app.accounts.roles import Role
from app.config.keys import PEOPLE_CLIENT
from app.errors import BadInput, Conflict, NotFound
from app.http.body import read_stream
from app.http.files import make_csv_response
from app.http.reasons import capitalize
from app.phone.country_names import list_countries
from app.subscribers.current import current_subscriber_context
from app.subscribers.imports import service
from app.subscribers.imports.models import ImportOptions, ImportStatus
from app.subscribers.imports.schemas import ImportQuerySchema, list_warnings, show_import
from app.subscribers.imports.upload import FileTooLarge, is_staged, stage_file, start_staged
from app.subscribers.lists.reader import DEFAULT_ENCODING, ENCODINGS, UnusableFile
from app.web.guard import (
    current_user,
    flash_refusal,
    go_to,
    make_page_blueprint,
    require_role,
    takes_file,
)
from app.web.subscribers import columns, row_ledger
from app.web.words import say_duration

blueprint = make_page_blueprint("import_pages")

_LISTED, _REFUSED_SHOWN = 50, 100
_POLL_S = 1
_MAX_NAME = 200
_S = ImportStatus
_RUNNING = (_S.CHECKING, _S.WRITING)
# Kind and word of the mark of an import.
_STATES = {
    _S.WAITING: ("draft", "Waits for its columns"),
    _S.CHECKING: ("sending", "Being checked"),
    _S.WRITING: ("sending", "Being imported"),
    _S.COMPLETE: ("delivered", "Done"),
    _S.REFUSED: ("not-reached", "Refused: a row was bad"),
    _S.CANCELLED: ("stopped", "Cancelled"),
    _S.FAILED: ("not-reached", "Failed"),
}
_TITLES = {
    _S.WAITING: "What is in {}?",
    _S.CHECKING: "{} is being checked",
    _S.WRITING: "{} is being imported",
    _S.COMPLETE: "{} is imported",
    _S.REFUSED: "Nothing of {} was imported",
    _S.CANCELLED: "The import of {} was cancelled",
    _S.FAILED: "The import of {} failed",
}


@blueprint.get("/people/imports")
@require_role(Role.AUTHOR)
def list_all() -> str:
    """List imports, the newest first, and take a file."""
    return _show_list()


@blueprint.post("/people/imports")
@require_role(Role.AUTHOR)
@takes_file
def upload() -> Response | tuple[str, HTTPStatus]:
    """Store a file whose columns are chosen next.  Nothing is imported yet."""
    file = request.files.get("file")
    if file is None or not file.filename:
        return _show_list(error="Choose a file."), HTTPStatus.BAD_REQUEST
    ctx = current_subscriber_context()
    encoding = request.form.get("encoding", "")
    options = ImportOptions(encoding=encoding if encoding in ENCODINGS else DEFAULT_ENCODING)
    row = None
    try:
        row = service.create_import(
            ctx,
            options,
            client=PEOPLE_CLIENT,
            created_by=current_user().name,
            file_name=file.filename.replace("\0", "")[:_MAX_NAME],
        )
        stage_file(ctx, row.public_id, read_stream(file.stream))
    except FileTooLarge:
        return _give_up(row, f"A file may have {ctx.rules.import_max_bytes:,} bytes.", encoding)
    except (UnusableFile, Conflict) as e:
        return _give_up(row, f"{e.sentence}.", encoding)
    return go_to("import_pages.show_one", import_id=row.public_id)


@blueprint.get("/people/imports/<id:import_id>")
@require_role(Role.AUTHOR)
def show_one(import_id: str) -> str:
    """Show an import: its columns, its progress, or where every row went."""
    row = _find(import_id)
    if is_staged(row):
        return _show_columns(row, columns.read_defaults(row))
    return render_template("subscribers/import.html", **_describe(row))


@blueprint.get("/people/imports/<id:import_id>/live")
@require_role(Role.AUTHOR)
def show_progress(import_id: str) -> Response | str:
    """Show the progress of an import; the page is loaded anew once it has ended."""
    row = _find(import_id)
    if row.status not in _RUNNING:
        return make_response("", HTTPStatus.NO_CONTENT, {"HX-Refresh": "true"})
    return render_template("subscribers/import_live.html", **_describe(row))


@blueprint.post("/people/imports/<id:import_id>")
@require_role(Role.AUTHOR)
def start(import_id: str) -> Response | str | tuple[str, HTTPStatus]:
    """Start an import with the chosen columns, or show its first rows by them."""
    row = _find(import_id)
    if not is_staged(row):
        flash("Nothing was done.\nThe import has begun already, or has ended.", "warn")
        return go_to("import_pages.show_one", import_id=import_id)
    form = columns.read_form(current_subscriber_context(), row, request.form)
    if request.form.get("action") == "look" or form.errors:
        page = _show_columns(row, form)
        return (page, HTTPStatus.BAD_REQUEST) if form.errors else page
    try:
        start_staged(current_subscriber_context(), import_id, form.options)
    except Conflict as e:
        flash_refusal(e)
    except BadInput as e:
        form.errors["columns"] = columns.say_unusable(e.sentence)
        return _show_columns(row, form), HTTPStatus.BAD_REQUEST
    current_app.extensions["wake_importer"]()
    return go_to("import_pages.show_one", import_id=import_id)


@blueprint.post("/people/imports/<id:import_id>/cancel")
@require_role(Role.AUTHOR)
def cancel(import_id: str) -> Response:
    """Cancel an import; what is written stays."""
    try:
        service.cancel_import(current_subscriber_context(), import_id)
        flash("Cancelled.\nWhat is written stays.", "done")
    except Conflict as e:
        flash_refusal(e)
    return go_to("import_pages.show_one", import_id=import_id)


@blueprint.get("/people/imports/<id:import_id>/refused.csv", defaults={"warnings": False})
@blueprint.get("/people/imports/<id:import_id>/warnings.csv", defaults={"warnings": True})
@require_role(Role.AUTHOR)
def export_cells(import_id: str, *, warnings: bool) -> FlaskResponse:
    """Export the refused cells, or those of rows with a warning, as a file for a spreadsheet."""
    ctx = current_subscriber_context()
    export = partial(service.export_refusals, ctx, import_id, warnings=warnings)
    csv_format = {"delimiter": ",", "spreadsheet": True}
    name = "warnings" if warnings else "refused"
    return make_csv_response(export, f"{name}-{import_id}.csv", csv_format)


def _find(import_id: str) -> Row[Any]:
    try:
        return service.view_import(current_subscriber_context(), import_id)
    except NotFound:
        raise NotFound("There is no such import.") from None


def _give_up(row: Row[Any] | None, error: str, encoding: str) -> tuple[str, HTTPStatus]:
    """Show what is wrong with a file, of which nothing is kept."""
    if row is not None:
        service.cancel_import(current_subscriber_context(), row.public_id)
    return _show_list(error=error, encoding=encoding), HTTPStatus.BAD_REQUEST


def _show_list(*, error: str = "", encoding: str = "") -> str:
    ctx = current_subscriber_context()
    query = ImportQuerySchema(only=("cursor",)).load(request.args.to_dict())
    page = service.list_imports(ctx, limit=_LISTED, **query)
    return render_template(
        "subscribers/imports.html",
        imports=[_summarize(row, ctx.now()) for row in page.rows],
        cursor=page.cursor,
        error=error,
        encoding=encoding,
        encodings=ENCODINGS,
    )


def _summarize(row: Row[Any], now: datetime) -> dict[str, Any]:
    kind, word = _STATES[row.status]
    if row.status is _S.WAITING and not is_staged(row):
        word = "Waits for its file"
    return {
        "id": row.public_id,
        "name": _name(row),
        "state": {"kind": kind, "word": word},
        "rows": row.rows,
        "refused": row.refused,
        "created_at": row.created_at,
        "by": row.created_by or row.client,
    }


def _name(row: Row[Any]) -> str:
    return row.file_name or "the file of a program"


def _show_columns(row: Row[Any], form: columns.ColumnForm) -> str:
    ctx = current_subscriber_context()
    return render_template(
        "subscribers/import_columns.html",
        id=row.public_id,
        title=_TITLES[_S.WAITING].format(_name(row)),
        form=form,
        table=columns.make_table(ctx, row, form),
        countries=list_countries(),
    )


def _describe(row: Row[Any]) -> dict[str, Any]:
    ctx = current_subscriber_context()
    now, shown = ctx.now(), show_import(row, ctx.now())
    is_running = row.status in _RUNNING
    facts = _summarize(row, now) | {
        "title": _title(row),
        "is_running": is_running,
        "can_cancel": row.completed_at is None,
        "poll_s": _POLL_S,
        "seen_at": now,
        "error": row.error,
        "warnings": [] if is_running else list_warnings(row, where=_say_where(row)),
        "has_cells": row.purged_at is None,
        "took": _say_took(row),
        "ended_at": row.completed_at,
        "progress": _measure(row, shown, now) if is_running else None,
        "ledger": None if is_running or not row.rows else row_ledger.account_for_rows(row, shown),
    }
    if row.refused and not is_running and row.purged_at is None:
        refusals = service.list_refusals(ctx, row.public_id, limit=_REFUSED_SHOWN)
        kept = timedelta(days=ctx.rules.import_kept_days)
        facts |= {"refusals": refusals, "list_kept_until": row.completed_at + kept}
    return facts


def _title(row: Row[Any]) -> str:
    if row.status is _S.WAITING:
        return "The file of this import is not here"
    title = _TITLES[row.status].format(_name(row))
    return title if row.file_name else capitalize(title)


def _say_where(row: Row[Any]) -> str:
    return "look at their lines" if row.purged_at is None else "the list of them is deleted"


def _say_took(row: Row[Any]) -> str:
    if row.completed_at is None or row.phase_at is None:
        return ""
    return say_duration(max(row.completed_at - row.phase_at, timedelta(seconds=1)))


def _measure(row: Row[Any], shown: dict[str, Any], now: datetime) -> dict[str, Any]:
    """Return rows done, lines of the file, speed, and when it is done."""
    taken_s = max((now - row.phase_at).total_seconds(), 1.0)
    left_s = shown["seconds_left"]
    return {
        "rows": row.rows,
        "lines": row.lines,
        "lines_left": max(row.lines - row.lines_done, 0),
        "lines_done": row.lines_done,
        "per_second": round(row.rows / taken_s),
        "done_at": None if left_s is None else now + timedelta(seconds=left_s),
    }
