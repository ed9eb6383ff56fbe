"""An order as it is sent: its stored text looked up, the way out added, everything measured.

Apart from the schema, which knows neither the database nor the settings.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from app.errors import BadInput
from app.phone.e164 import can_be_answered
from app.sms.content.footers import add_footer
from app.sms.content.placeholders import (
    MAX_TEXT_CHARACTERS,
    PlaceholderError,
    check_placeholders,
    check_syntax,
    fill_text,
    find_placeholders,
    measure_messages,
    select_used,
)
from app.sms.content.templates import load_template
from app.sms.context import Context
from app.sms.models.states import Category
from app.sms.request.model import Order, TemplateName, collect_defaults
from app.text.segments import Encoding, TextSize, measure_text


def complete_order(ctx: Context, order: Order) -> Order:
    """The order with its texts as they leave, and their size.

    Raises NotFound for a template that there is not, BadInput for a text that cannot be filled, is
    too long, or takes more parts than allowed.
    """
    if order.template is not None:
        order = _use_template(ctx, order, order.template)
    if order.category is Category.MARKETING and ctx.people_rules.opt_out_footer:
        order = _add_footers(ctx, order)
    elif order.template is None and order.audience is None:
        return order  # the schema has looked at it
    return _measure(order)


def _use_template(ctx: Context, order: Order, name: TemplateName) -> Order:
    with ctx.db.read() as tx:
        template = load_template(tx, name.name, name.version)
    language = order.language or template.default_language
    if language not in template.texts:
        known = ", ".join(sorted(template.texts))
        raise _refuse("language", f"The template has no such text: it has {known}")
    several = len(template.texts) > 1
    return replace(
        order,
        text=template.texts[language],
        texts=dict(template.texts) if several else {},
        language=language,
        template=TemplateName(template.name, template.version),
    )


def _add_footers(ctx: Context, order: Order) -> Order:
    """With a way out in every text that names none, where the sender can be answered."""
    sender = order.sender or ctx.default_sender
    if not can_be_answered(sender):
        return order
    own = ctx.people_rules.opt_out_footers
    language = order.language or ctx.people_rules.default_language
    return replace(
        order,
        text=add_footer(order.text, language, own),
        texts={each: add_footer(text, each, own) for each, text in order.texts.items()},
    )


def _measure(order: Order) -> Order:
    """With the values that its texts need, and the size of the largest."""
    try:
        texts = list(_list_texts(order))
        for text in texts:
            _check(text, order)
        used = {
            name: values
            for text in texts
            for name, values in select_used(text, order.parameters).items()
        }
        order = replace(order, parameters=used)
        sizes = [_measure_one(text, order) for text in texts]
    except PlaceholderError as e:
        raise _refuse("template" if order.template else "message", str(e)) from e
    parts = max(size.parts for size in sizes)
    if order.max_parts is not None and parts > order.max_parts:
        raise _refuse("max_parts", f"The text takes {parts} parts")
    any_ucs2 = any(size.encoding is Encoding.UCS_2 for size in sizes)
    encoding = Encoding.UCS_2 if any_ucs2 else Encoding.GSM_7
    return replace(order, size=TextSize(encoding, parts))


def _refuse(field: str, reason: str) -> BadInput:
    return BadInput(f"{field}: {reason}", fields={field: [f"{reason}."]})


def _list_texts(order: Order) -> Iterator[str]:
    if order.texts:
        yield from order.texts.values()
    else:
        yield order.text


def _check(text: str, order: Order) -> None:
    if len(text) > MAX_TEXT_CHARACTERS:
        raise PlaceholderError(
            f"with the way to unsubscribe it is longer than {MAX_TEXT_CHARACTERS} characters"
        )
    if order.audience is None:
        check_placeholders(text, order.parameters, order.recipients)
    else:
        check_syntax(text)


def _measure_one(text: str, order: Order) -> TextSize:
    if order.audience is None:
        used = select_used(text, order.parameters)
        return measure_messages(text, used, order.recipients)
    # Whoever is meant is not known yet: with the values by default, the others left out.
    blank: Sequence[str] = find_placeholders(text)
    return measure_text(fill_text(text, dict.fromkeys(blank, "") | collect_defaults(order)))
