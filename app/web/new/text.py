"""The first step of a new broadcast: what they read, counted while it is written.

The text is written in the box, or it is a template; what was written before stays in the draft.
"""

from collections.abc import Mapping
from typing import Any

from flask import current_app, flash, render_template, request
from marshmallow import ValidationError
from sqlalchemy import Row
from werkzeug.wrappers import Response

from app.accounts.roles import Role
from app.accounts.users import find_phone, set_phone
from app.config.keys import PEOPLE_CLIENT
from app.errors import BadInput, ClarionError, Conflict, NotFound
from app.http.arguments import collect_errors
from app.ids import make_id
from app.phone.e164 import mask_number
from app.sms.content.placeholders import DEFAULT, MAX_VALUE_CHARACTERS, find_placeholders
from app.sms.content.templates import list_templates, view_usable_template
from app.sms.current import current_context
from app.sms.drafts.count import (
    PersonCopy,
    TextCount,
    count_text,
    fill_for_person,
    find_cheaper,
    find_shorter,
)
from app.sms.drafts.request import TEXT_KEYS, list_people, select_text
from app.sms.drafts.send import send_test
from app.sms.drafts.some import find_copies
from app.sms.models.states import ExclusionReason
from app.sms.request.schemas import BroadcastRequestSchema
from app.subscribers.lists.phone_list import SortedPhones
from app.subscribers.profiles.queries import look_up_subscribers
from app.subscribers.profiles.search import find_by_name
from app.text.lookalikes import suggest_gsm_text
from app.web.guard import current_user, describe_actor, go_to, make_page_blueprint, require_role
from app.web.new.figures import describe_cheaper, describe_count, describe_shorter, say_nothing
from app.web.new.frame import (
    describe_so_far,
    find,
    find_counted_page,
    go_on,
    go_to_broadcast,
    read_text,
    save,
    say_error,
    say_unfilled,
    show_step,
)
from app.web.new.reading import mark_texts
from app.web.searches import MAX_SEARCH, find_search, go_to_search
from app.web.subscribers.wording import has_digit, read_number, show_name

blueprint = make_page_blueprint("new_text")

_MAX_TEMPLATES = 500
# People with a name, among whom one who gets the text is looked for.
_MAX_NAMESAKES = 50
# Begins the names of fields with the default of a placeholder.
_DEFAULT_FIELD = "default-"


@blueprint.get("/new/<draft_id>/text")
@require_role(Role.AUTHOR)
def show(draft_id: str) -> Any:
    """Show the text, and how a person of the audience gets it."""
    draft = find(draft_id)
    if draft.broadcast:
        return go_to_broadcast(draft.broadcast)
    person = max(0, request.args.get("person", 1, int))
    return show_text(draft, draft_id, select_typed(draft), person=person)


@blueprint.post("/new/<draft_id>/text")
@require_role(Role.AUTHOR)
def change(draft_id: str) -> Response | Any:
    """Save the text, in its cheaper spelling if that is asked for."""
    typed, go = _read_typed(), request.form.get("go", "")
    if errors := _find_errors(typed):
        return show_text(_find_saved(draft_id), draft_id, typed, errors=errors)
    if go == "cheaper":
        typed["message"] = suggest_gsm_text(typed["message"]) or typed["message"]
    if saved := save(draft_id, typed):
        return saved
    if go == "test":
        return _send_test(draft_id, typed)
    if go == "seek" and (sought := _read_sought()):
        return go_to_search("new_text.show", sought, draft_id=draft_id, _anchor="preview")
    if go == "cheaper" or go.startswith("person-"):
        person = go.removeprefix("person-") if go != "cheaper" else None
        return go_to("new_text.show", draft_id=draft_id, person=person)
    return go_on(draft_id, "text", "audience")


@blueprint.post("/new/<draft_id>/text/count")
@require_role(Role.AUTHOR)
def show_count(draft_id: str) -> str:
    """Count the text as it is in the form now; nothing is saved.

    Answers the box as well when another template was chosen.
    """
    region = "written" if request.headers.get("HX-Target") == "written" else "count"
    return render_template(
        f"new/{region}.html",
        **_describe(_find_saved(draft_id), _read_typed()),
        errors={},
        draft_id=draft_id,
        is_answer=True,
        said=request.form.get("said", ""),
    )


def show_text(
    draft: Row[Any] | None,
    draft_id: str,
    typed: Mapping[str, Any],
    *,
    person: int = 1,
    errors: Mapping[str, str] | None = None,
) -> Any:
    """Show the step with a text; what is wrong with it is not counted."""
    ctx, is_new = current_context(), not (typed["message"] or typed["template"])
    is_right = not errors or "phone" in errors
    later = find_counted_page(draft) if is_right and not is_new else None
    return show_step(
        "text",
        draft,
        draft_id,
        errors=errors,
        templates=sorted({row.name for row in list_templates(ctx, limit=_MAX_TEMPLATES).rows}),
        phone=request.form.get("phone") or find_phone(ctx.db, current_user().user_id),
        trial=make_id(ctx.now()),
        **_describe(draft, typed, person=person, counts=is_right and not later),
        later=later,
    )


def select_typed(draft: Row[Any] | None) -> dict[str, Any]:
    """Return the keys of a draft's body that make its text, None for those that it lacks."""
    return {name: draft.body.get(name) if draft else None for name in TEXT_KEYS}


def _read_typed() -> dict[str, Any]:
    """Return the text of the form, as the keys of a draft's body."""
    template = read_text("template")
    given = {name: read_text(name) for name in request.form if name.startswith(_DEFAULT_FIELD)}
    defaults = {
        name.removeprefix(_DEFAULT_FIELD): {DEFAULT: value}
        for name, value in given.items()
        if value
    }
    return {
        "message": read_text("message") or None,
        "template": {"name": template} if template else None,
        "language": _find_language(template, read_text("language")),
        "parameters": defaults or None,
    }


def _find_language(template: str, language: str) -> str | None:
    """Return a language that was chosen, if the template has it."""
    chosen = _find_template(template)
    return language if chosen and language in chosen.texts else None


def _find_template(name: str) -> Row[Any] | None:
    """Return a template that a new broadcast can have; None without one."""
    try:
        return view_usable_template(current_context(), name) if name else None
    except (NotFound, Conflict):
        return None


def _describe(
    draft: Row[Any] | None, typed: Mapping[str, Any], *, person: int = 1, counts: bool = True
) -> dict[str, Any]:
    """Return what the step shows of a text: its fields, its count, and how it is read."""
    chosen = (typed["template"] or {}).get("name", "")
    template = _find_template(chosen)
    text = template.texts[template.default_language] if template else typed["message"] or ""
    names = [] if chosen and not template else find_placeholders(text)
    defaults = {
        name: values.get(DEFAULT, "") for name, values in (typed["parameters"] or {}).items()
    }
    counted = _count(draft, typed, person=person) if counts else None
    has_text = bool(typed["message"] or chosen)
    return {
        "message": typed["message"] or "",
        "chosen": chosen,
        "template": template,
        "language": typed["language"],
        "defaults": {name: defaults.get(name, "") for name in names},
        # Of placeholders that another text has; they come back with it.
        "other_defaults": {name: defaults[name] for name in defaults if name not in names},
        "max_default": MAX_VALUE_CHARACTERS,
        "counted": counted,
        "sought": _read_sought(),
        "so_far": describe_so_far(draft, (counted or {}).get("whole"), text=has_text),
    }


def _count(
    draft: Row[Any] | None, typed: Mapping[str, Any], *, person: int
) -> dict[str, Any] | None:
    """Return the count of a text in words, or what is wrong with it; None without a text."""
    body = dict(draft.body) if draft else {}
    body = {name: value for name, value in {**body, **typed}.items() if value is not None}
    if not select_text(body).keys() & {"message", "template"}:
        return None
    ctx = current_context()
    try:
        listed = list_people(ctx, draft, body) if draft else None
        if unfilled := say_unfilled(body, listed):
            return {"wrong": unfilled}
        counted = count_text(ctx, body, listed)
        cheaper = find_cheaper(ctx, body, listed)
        shorter = find_shorter(ctx, body, listed, counted)
        if sought := _read_sought():
            seen = _find_sought(body, listed, counted, sought)
        else:
            seen = _show_copy(fill_for_person(ctx, body, listed, number=person))
    except (ValidationError, BadInput, NotFound, Conflict) as e:
        return {"wrong": say_error(e)}
    return {
        "whole": counted,
        "count": describe_count(counted),
        "cheaper": describe_cheaper(counted, cheaper),
        "characters": cheaper.characters,
        "shorter": describe_shorter(counted, shorter),
        "texts": mark_texts(counted.texts),
        "people": counted.people,
        **seen,
    }


def _send_test(draft_id: str, typed: Mapping[str, Any]) -> Response | Any:
    """Send the text to the user's own number, and say what came of it."""
    ctx, user = current_context(), current_user()
    back = go_to("new_text.show", draft_id=draft_id)
    try:
        phone = read_number(read_text("phone"))
        set_phone(ctx.db, ctx.clock, user.user_id, phone, actor=describe_actor())
    except (ValueError, Conflict) as e:
        return show_text(find(draft_id), draft_id, typed, errors={"phone": str(e)})
    try:
        send_test(
            ctx,
            find(draft_id),
            phone,
            read_text("trial"),
            client=PEOPLE_CLIENT,
            user=user.name,
            production=current_app.config["PRODUCTION"],
        )
    except (ClarionError, ValidationError) as e:
        flash(f"No test was sent.\n{say_error(e)}", "warn")
        return back
    # The note is in a cookie.
    to = mask_number(phone)
    flash(f"A test is on its way to {to}.\nBroadcasts shows what becomes of it.", "done")
    return back


def _read_sought() -> str:
    """Return the number or the beginning of a name whose copy is asked for; "" for any."""
    return read_text("seek")[:MAX_SEARCH] or find_search()


def _find_sought(
    body: Mapping[str, Any], listed: SortedPhones | None, counted: TextCount, sought: str
) -> dict[str, Any]:
    """Return the copy of the person with a number or a name, or a note why there is none."""
    ctx = current_context()
    if has_digit(sought):
        try:
            phones = [read_number(sought)]
        except ValueError as e:
            return {"note": str(e)}
    else:
        named = find_by_name(ctx.subscriber_context, sought, limit=_MAX_NAMESAKES)
        phones = [person["phone"] for person in named.rows]
    copies, excluded = find_copies(ctx, body, listed, phones)
    if copies:
        more = "Others have such a name, too: write more of it, or the number."
        return _show_copy(copies[0]) | {"note": more if len(phones) > 1 else ""}
    known = look_up_subscribers(ctx.subscriber_context, phones)
    phone = next(iter(excluded or known), "")
    if not phone:
        return {"note": "No one has this number or name."}
    reason = excluded.get(phone, ExclusionReason.INACTIVE if counted.is_everybody else None)
    return {"note": f"{show_name(known.get(phone), phone)} {say_nothing(reason)}"}


def _show_copy(copy: PersonCopy | None) -> dict[str, Any]:
    """Return the copy of a person, and their name."""
    if copy is None:
        return {}
    known = look_up_subscribers(current_context().subscriber_context, [copy.phone])
    return {"example": copy, "name": show_name(known.get(copy.phone), copy.phone)}


def _find_errors(typed: Mapping[str, Any]) -> dict[str, str]:
    text = select_text({name: value for name, value in typed.items() if value is not None})
    if not text.keys() & {"message", "template"}:
        return {"message": "Write the text."}
    try:
        BroadcastRequestSchema(only=TEXT_KEYS).load(text)
        if typed["template"]:
            view_usable_template(current_context(), typed["template"]["name"])
    except ValidationError as e:
        return collect_errors(e)
    except (NotFound, Conflict) as e:
        return {"template": e.sentence}
    return {}


def _find_saved(draft_id: str) -> Row[Any] | None:
    """Return the draft; None for a new one."""
    try:
        return find(draft_id)
    except NotFound:
        return None
