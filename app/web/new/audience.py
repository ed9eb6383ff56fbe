"""The second step of a new broadcast: who gets it, counted while it is chosen."""

from typing import Any

from flask import redirect, render_template, request, url_for
from marshmallow import ValidationError

from app.accounts.roles import Role
from app.errors import ClarionError
from app.phone.country_names import name_country
from app.sms.current import current_context
from app.sms.drafts.count import count_draft
from app.sms.drafts.numbers import MAX_PASTED, PastedNumbers, read_pasted
from app.subscribers.audiences.known import list_fields
from app.subscribers.audiences.schemas import AudienceSchema
from app.subscribers.tags.tags import list_tag_names
from app.web.guard import make_page_blueprint, require_role
from app.web.new.conditions import (
    OPERATIONS,
    ConditionRow,
    make_condition,
    name_field,
    read_rows,
    write_rows,
)
from app.web.new.figures import describe_reach
from app.web.new.frame import (
    find,
    find_zone,
    go_on,
    go_to_broadcast,
    read_text,
    save,
    say_error,
    show_step,
)
from app.web.words import people

blueprint = make_page_blueprint("new_audience")

_MAX_SHOWN = 20
_GROUPS = {"any": "Has any of these tags", "all": "Has all of these", "none": "Has none of these"}
_EMPTY = ConditionRow("", "eq", "")


@blueprint.get("/new/<draft_id>/audience")
@require_role(Role.AUTHOR)
def show(draft_id: str) -> Any:
    """Show the audience."""
    draft = find(draft_id)
    if draft.broadcast:
        return go_to_broadcast(draft.broadcast)
    stored = draft.body.get("audience") or {}
    return _show(
        draft,
        kind="numbers" if draft.numbers else "people" if stored else "",
        chosen={group: stored.get(group, []) for group in _GROUPS},
        rows=write_rows(stored.get("where", []), find_zone()),
        numbers=draft.numbers or "",
        reach=_count(draft, stored, draft.numbers),
    )


@blueprint.post("/new/<draft_id>/audience")
@require_role(Role.AUTHOR)
def change(draft_id: str) -> Any:
    """Save the audience."""
    draft = find(draft_id)
    audience, pasted, errors = _read_form()
    if errors:
        return _show(draft, errors=errors, wrong=pasted.wrong if pasted else (), **_read_typed())
    numbers = "\n".join(pasted.numbers) if pasted else None
    if saved := save(draft_id, {"audience": audience}, numbers=numbers):
        return saved
    if request.form.get("go") == "condition":
        return redirect(url_for("new_audience.show", draft_id=draft_id, _anchor="conditions"), 303)
    return go_on(draft_id, "audience", "when")


@blueprint.post("/new/<draft_id>/audience/count")
@require_role(Role.AUTHOR)
def show_count(draft_id: str) -> str:
    """Count what is chosen now; nothing is saved."""
    draft = find(draft_id)
    audience, pasted, errors = _read_form()
    numbers = "\n".join(pasted.numbers) if pasted else None
    # Of pasted numbers those that are right are counted.
    is_half = errors and pasted is None
    reach = {"wrong": next(iter(errors.values()))} if is_half else _count(draft, audience, numbers)
    return render_template("new/reach.html", reach=reach)


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
    audience["where"] = []
    fields = list_fields(current_context().subscriber_context)
    for row in read_rows(request.form):
        try:
            condition = make_condition(row, fields.get(row.field, "text"), find_zone())
            AudienceSchema().load({"where": [condition]})
        except (ValueError, ValidationError) as e:
            sentence = say_error(e) if isinstance(e, ValidationError) else str(e)
            return None, None, {"conditions": f"{name_field(row.field)}: {sentence}"}
        audience["where"].append(condition)
    if not (audience["any"] or audience["all"] or audience["where"]):
        return None, None, {"any": "Choose at least one tag, or a condition."}
    try:
        return AudienceSchema().load(audience).to_json(), None, {}
    except ValidationError as e:
        return None, None, {"any": say_error(e)}


def _read_typed() -> dict[str, Any]:
    """Return the form as it was typed."""
    return {
        "kind": read_text("kind"),
        "chosen": {group: request.form.getlist(group) for group in _GROUPS},
        "rows": read_rows(request.form),
        "numbers": read_text("numbers"),
    }


def _count(draft: Any, audience: Any, numbers: str | None) -> dict[str, Any] | None:
    """Return whom an audience reaches, in figures; None without one."""
    if not audience and not numbers:
        return None
    body = {name: value for name, value in draft.body.items() if name != "audience"}
    body |= {"audience": audience} if audience else {}
    try:
        counted = count_draft(current_context(), body, numbers)
    except (ValidationError, ClarionError) as e:
        return {"wrong": say_error(e)}
    return describe_reach(counted)


def _show(draft: Any, *, wrong: Any = (), rows: list[ConditionRow], **facts: Any) -> Any:
    ctx = current_context().subscriber_context
    return show_step(
        "audience",
        draft,
        draft.public_id,
        groups=_GROUPS,
        tags=list_tag_names(ctx),
        rows=[*rows, _EMPTY],
        fields={field: name_field(field) for field in list_fields(ctx)},
        operations=OPERATIONS,
        wrong=wrong[:_MAX_SHOWN],
        wrong_more=max(0, len(wrong) - _MAX_SHOWN),
        country=name_country(country) if (country := _find_country()) else None,
        **facts,
    )


def _find_country() -> str | None:
    return current_context().subscriber_rules.default_country


def _find_error(pasted: PastedNumbers, *, skips: bool) -> str | None:
    """Return what is wrong with pasted numbers as a whole."""
    if not pasted.numbers and not pasted.wrong:
        return "Paste at least one number."
    if len(pasted.numbers) > MAX_PASTED:
        return f"At most {people(MAX_PASTED)} fit in here; import more as a file, and give a tag."
    if pasted.wrong and not (skips and pasted.numbers):
        several = "1 entry is" if len(pasted.wrong) == 1 else f"{len(pasted.wrong):,} entries are"
        return f"{several} no phone number."
    return None
