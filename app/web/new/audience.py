"""The second step of a new broadcast: who gets it."""

from typing import Any

from flask import request

from app.accounts.roles import Role
from app.sms.current import current_context
from app.sms.drafts.numbers import MAX_PASTED, PastedNumbers, read_pasted
from app.subscribers.audiences.audience import Audience, plain_tag
from app.subscribers.tags.tags import list_tag_names
from app.web.guard import make_page_blueprint, require_role
from app.web.new.frame import find, go_on, go_to_broadcast, read_text, save, show_step
from app.web.words import people

blueprint = make_page_blueprint("new_audience")

_MAX_SHOWN = 20


@blueprint.get("/new/<draft_id>/audience")
@require_role(Role.AUTHOR)
def show(draft_id: str) -> Any:
    """Show the audience."""
    draft = find(draft_id)
    if draft.broadcast:
        return go_to_broadcast(draft.broadcast)
    stored = draft.body.get("audience")
    return _show(
        draft,
        kind="numbers" if draft.numbers else "tag" if stored else "",
        tag=Audience.from_json(stored).only_tag if stored else "",
        numbers=draft.numbers or "",
    )


@blueprint.post("/new/<draft_id>/audience")
@require_role(Role.AUTHOR)
def change(draft_id: str) -> Any:
    """Save the audience."""
    draft = find(draft_id)
    kind, tag, numbers = read_text("kind"), read_text("tag"), read_text("numbers")
    typed = {"kind": kind, "tag": tag, "numbers": numbers}
    if kind == "tag":
        if not tag:
            return _show(draft, errors={"tag": "Choose a tag."}, **typed)
        audience = plain_tag(tag).to_json()
        saved = save(draft_id, {"audience": audience}, numbers=None)
        return saved or go_on(draft_id, "audience", "when")
    if kind == "numbers":
        pasted = read_pasted(numbers, country=_find_country())
        if error := _find_error(pasted, skips="skip" in request.form):
            return _show(draft, errors={"numbers": error}, wrong=pasted.wrong, **typed)
        saved = save(draft_id, {"audience": None}, numbers="\n".join(pasted.numbers))
        return saved or go_on(draft_id, "audience", "when")
    return _show(draft, errors={"kind": "Choose who gets it."}, **typed)


def _show(draft: Any, *, wrong: Any = (), **facts: Any) -> Any:
    names = list_tag_names(current_context().subscriber_context)
    return show_step(
        "audience",
        draft,
        draft.public_id,
        tags=names,
        wrong=wrong[:_MAX_SHOWN],
        wrong_more=max(0, len(wrong) - _MAX_SHOWN),
        country=_find_country(),
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
