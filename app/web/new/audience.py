"""The second step of a new broadcast: who gets it, counted while it is chosen."""

from dataclasses import replace
from typing import Any

from flask import flash, render_template, request
from marshmallow import ValidationError

from app.accounts.roles import Role
from app.errors import BadInput, ClarionError, Conflict, NotFound
from app.http.arguments import load_fields
from app.phone.country_names import list_countries, name_country
from app.sms.current import current_context
from app.sms.drafts.count import count_draft
from app.sms.drafts.numbers import MAX_NUMBERS, PastedNumbers, read_pasted
from app.sms.drafts.people_file import PeopleFile
from app.sms.drafts.request import list_people, sort_for_body
from app.sms.drafts.some import list_some
from app.subscribers.audiences.known import list_fields
from app.subscribers.audiences.saved import list_saved_names, save_audience, view_saved
from app.subscribers.audiences.schemas import AudienceSchema, SavedAudienceSchema
from app.subscribers.lists.phone_list import SortedPhones
from app.subscribers.lists.reader import ENCODINGS, UnusableFile
from app.subscribers.tags.tags import list_tag_names
from app.web.guard import describe_actor, go_to, make_page_blueprint, require_role, takes_file
from app.web.new.conditions import (
    OPERATIONS,
    REMOVE,
    ConditionRow,
    make_condition,
    name_field,
    read_rows,
    write_rows,
)
from app.web.new.figures import describe_reach, describe_some
from app.web.new.frame import (
    describe_so_far,
    find,
    find_counted_page,
    go_on,
    go_to_broadcast,
    go_to_step,
    read_text,
    save,
    say_error,
    show_step,
)
from app.web.new.list_file import (
    describe_file,
    find_file_errors,
    read_columns,
    read_upload,
    skip_faults,
    subtract_rows,
)
from app.web.words import find_zone, people

blueprint = make_page_blueprint("new_audience")

_MAX_SHOWN, _MAX_TAGS = 20, 300
_GROUPS = {"any": "Has any of these tags", "all": "Has all of these", "none": "Has none of these"}
_EMPTY = ConditionRow("", "eq", "")


@blueprint.get("/new/<draft_id>/audience")
@require_role(Role.AUTHOR)
def show(draft_id: str) -> Any:
    """Show the audience."""
    draft = find(draft_id)
    if draft.broadcast:
        return go_to_broadcast(draft.broadcast)
    stored, file = draft.body.get("audience") or {}, _find_file(draft)
    later = find_counted_page(draft) if file or stored or draft.numbers else None
    if later:
        reach: dict[str, Any] | None = {"later": later}
    elif file:
        reach = _count_file(draft, file)
    else:
        reach = _count(draft, stored, list_people(current_context(), draft))
    return _show(
        draft,
        kind="file" if file else "numbers" if draft.numbers else "people",
        chosen={group: stored.get(group, []) for group in _GROUPS},
        rows=write_rows(stored.get("where", []), find_zone()),
        numbers=draft.numbers or "",
        file=file,
        reach=reach,
    )


@blueprint.post("/new/<draft_id>/audience")
@require_role(Role.AUTHOR)
@takes_file
def change(draft_id: str) -> Any:
    """Save the audience."""
    draft = find(draft_id)
    if read_text("kind") == "file":
        return _change_file(draft)
    if request.form.get("go") == "use":
        return _use(draft)
    audience, pasted, errors = _read_form()
    if errors:
        wrong = pasted.wrong if pasted else ()
        return _show(draft, errors=errors, wrong=wrong, file=_find_file(draft), **_read_typed())
    if request.form.get("go") == "keep" and (errors := _keep(audience)):
        return _show(draft, errors=errors, file=_find_file(draft), **_read_typed())
    numbers = "\n".join(pasted.numbers) if pasted else None
    if sent := save(draft_id, {"audience": audience}, numbers=numbers, file=None):
        return sent
    if request.form.get("go") == "keep":
        return go_to_step(draft_id, "audience")
    go = request.form.get("go", "")
    if go == "condition" or go.startswith(REMOVE):
        return go_to("new_audience.show", draft_id=draft_id, _anchor="conditions")
    return go_on(draft_id, "audience", "when")


@blueprint.post("/new/<draft_id>/audience/count")
@require_role(Role.AUTHOR)
def show_count(draft_id: str) -> str:
    """Count what is chosen now; nothing is saved."""
    draft = find(draft_id)
    if read_text("kind") == "file":
        file = _find_file(draft)
        return _answer(draft, _count_file(draft, read_columns(file)) if file else None)
    audience, pasted, errors = _read_form()
    # Numbers and conditions that are right are counted; a half-filled condition says so.
    listed = SortedPhones(pasted.numbers) if pasted and pasted.numbers else None
    half = "" if pasted else next(iter(errors.values()), "")
    reach = _count(draft, audience, listed)
    if half and reach:
        reach |= {"half": half}
    return _answer(draft, reach or ({"wrong": half} if half else None))


def _answer(draft: Any, reach: dict[str, Any] | None) -> str:
    """Answer a change of the form with whom it reaches."""
    counted = (reach or {}).get("whole")
    so_far = describe_so_far(draft, counted, audience=counted is not None)
    return render_template("new/reach.html", reach=reach, so_far=so_far, is_answer=True)


def _use(draft: Any) -> Any:
    """Copy a saved audience into the draft."""
    try:
        row = view_saved(current_context().subscriber_context, read_text("saved"))
    except NotFound:
        errors = {"saved": "Choose one of the saved audiences."}
        return _show(draft, errors=errors, file=_find_file(draft), **_read_typed())
    sent = save(draft.public_id, {"audience": row.audience}, numbers=None, file=None)
    return sent or go_to_step(draft.public_id, "audience")


def _keep(audience: dict[str, Any] | None) -> dict[str, str]:
    """Save an audience by the name of the form.  Returns what is wrong with it."""
    body = {"name": read_text("audience_name"), "audience": audience}
    if audience is None:
        return {"audience_name": "Numbers are not saved by name: import them with a tag."}
    ctx = current_context().subscriber_context
    try:
        row = save_audience(ctx, actor=describe_actor(), **load_fields(SavedAudienceSchema(), body))
    except (BadInput, Conflict) as e:
        return {"audience_name": say_error(e)}
    flash(f"Saved as {row.name}.\nOther broadcasts can copy it.", "done")
    return {}


def _change_file(draft: Any) -> Any:
    """Save a file that the form brings, or the columns of the one that the draft has."""
    go, file = request.form.get("go"), _find_file(draft)
    try:
        brought = read_upload()
    except UnusableFile as e:
        return _show(draft, errors={"file": f"{e.sentence}."}, file=file, **_read_typed())
    if file and not brought:
        file = read_columns(file)
        file = replace(file, skipped=()) if go == "look" else file
    file = brought or file
    if file is None:
        return _show(draft, errors={"file": "Choose a file."}, **_read_typed())
    if go == "skip":
        file = skip_faults(file, draft.body)
    looks = bool(brought) or go == "look"
    errors = {} if looks else find_file_errors(file, draft.body)
    file = replace(file, is_chosen=not looks and not errors)
    kept = {"numbers": None, "file": file.to_json()}
    if sent := save(draft.public_id, {"audience": None}, **kept):
        return sent
    if errors:
        facts = _read_typed() | {"reach": _count_file(draft, file)}
        return _show(find(draft.public_id), errors=errors, file=file, **facts)
    return (
        go_to_step(draft.public_id, "audience")
        if looks
        else go_on(draft.public_id, "audience", "when")
    )


def _read_form() -> tuple[dict[str, Any] | None, PastedNumbers | None, dict[str, str]]:
    """Return the audience or the pasted numbers of the form, and what is wrong by field."""
    kind = read_text("kind")
    if kind == "numbers":
        pasted = read_pasted(read_text("numbers"), country=_find_country())
        error = _find_error(pasted, skips="skip" in request.form)
        return None, pasted, {"numbers": error} if error else {}
    if kind != "people":
        return None, None, {"kind": "Choose who gets it."}
    audience: dict[str, Any] = {group: request.form.getlist(group) for group in _GROUPS}
    audience["where"], errors = _read_conditions()
    if not (audience["any"] or audience["all"] or audience["where"]):
        return None, None, errors or {"any": "Choose at least one tag, or a condition."}
    try:
        return AudienceSchema().load(audience).to_json(), None, errors
    except ValidationError as e:
        return None, None, {"any": say_error(e)}


def _read_conditions() -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Return the conditions of the form that are whole, and what is wrong with others."""
    fields = list_fields(current_context().subscriber_context)
    conditions, errors = [], {}
    for number, row in enumerate(read_rows(request.form), 1):
        try:
            condition = make_condition(row, fields.get(row.field, "text"), find_zone())
            AudienceSchema().load({"where": [condition]})
            conditions.append(condition)
        except (ValueError, ValidationError) as e:
            sentence = say_error(e) if isinstance(e, ValidationError) else str(e)
            errors[f"condition-{number}"] = f"{name_field(row.field)}: {sentence}"
    return conditions, errors


def _read_typed() -> dict[str, Any]:
    """Return the form as it was typed, which is not right yet."""
    return {
        "kind": read_text("kind"),
        "chosen": {group: request.form.getlist(group) for group in _GROUPS},
        "rows": read_rows(request.form),
        "numbers": read_text("numbers"),
        "encoding": read_text("encoding"),
        "audience_name": read_text("audience_name"),
        "reach": {"wrong": "It is counted again once this is right."},
    }


def _find_file(draft: Any) -> PeopleFile | None:
    """Return the file of a draft, whether its columns are chosen yet or not."""
    return PeopleFile.from_json(draft.file) if draft.file else None


def _count(draft: Any, audience: Any, listed: SortedPhones | None) -> dict[str, Any] | None:
    """Return whom an audience reaches, in figures; None without one."""
    if not audience and not listed:
        return None
    body = {name: value for name, value in draft.body.items() if name != "audience"}
    body |= {"audience": audience} if audience else {}
    ctx = current_context()
    try:
        whole = count_draft(ctx, body, listed)
        some = describe_some(list_some(ctx, body, listed))
        return describe_reach(whole) | {"some": some, "whole": whole}
    except (ValidationError, ClarionError) as e:
        return {"wrong": say_error(e)}


def _count_file(draft: Any, file: PeopleFile) -> dict[str, Any]:
    """Return whom a file reaches without the rows that cannot be sent to, in figures."""
    file = skip_faults(file, draft.body)
    if errors := find_file_errors(file, draft.body):
        return {"wrong": next(iter(errors.values()))}
    listed = sort_for_body(current_context(), file, draft.body)
    reach = _count(draft, None, listed) or {}
    if "wrong" in reach:
        return reach
    rows = subtract_rows(file, listed)
    fit = reach["fit"] + sum(line["figure"] for line in rows)
    whole = {"fit": fit, "people": fit, "first": "Rows of the file"}
    whole["landlines"] = len(listed.landlines)
    return reach | whole | {"left_out": rows + reach["left_out"]}


def _show(
    draft: Any,
    *,
    wrong: Any = (),
    rows: list[ConditionRow],
    file: PeopleFile | None = None,
    **facts: Any,
) -> Any:
    ctx = current_context().subscriber_context
    known = list_tag_names(ctx)[:_MAX_TAGS]
    # What was chosen is shown even if it is deleted since.
    tags = {group: sorted({*known, *facts["chosen"][group]}) for group in _GROUPS}
    return show_step(
        "audience",
        draft,
        draft.public_id,
        so_far=describe_so_far(draft, (facts.get("reach") or {}).get("whole")),
        groups=_GROUPS,
        tags=tags,
        saved=list_saved_names(ctx),
        rows=[*rows, _EMPTY],
        fields={field: name_field(field) for field in list_fields(ctx)},
        operations=OPERATIONS,
        wrong=wrong[:_MAX_SHOWN],
        wrong_more=max(0, len(wrong) - _MAX_SHOWN),
        country=name_country(country) if (country := _find_country()) else None,
        countries=list_countries(),
        file_country=read_text("country") or _find_country() or "",
        most=MAX_NUMBERS,
        encodings=ENCODINGS,
        file=describe_file(file, draft.body) if file else None,
        **facts,
    )


def _find_country() -> str | None:
    return current_context().subscriber_rules.default_country


def _find_error(pasted: PastedNumbers, *, skips: bool) -> str | None:
    """Return what is wrong with pasted numbers as a whole."""
    if not pasted.numbers and not pasted.wrong:
        return "Paste at least one number."
    if len(pasted.numbers) > MAX_NUMBERS:
        return f"At most {people(MAX_NUMBERS)} fit in here; import more as a file, and give a tag."
    if pasted.wrong and not (skips and pasted.numbers):
        several = "1 entry is" if len(pasted.wrong) == 1 else f"{len(pasted.wrong):,} entries are"
        return f"{several} no phone number."
    return None
