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
from app.sms.request.model import BroadcastRequest, TemplateName, collect_defaults
from app.text.segments import Encoding, TextSize, measure_text


def prepare_request(ctx: Context, request: BroadcastRequest) -> BroadcastRequest:
    """The order with its texts as they leave, and their size.

    Raises NotFound for a template that there is not, BadInput for a text that cannot be filled, is
    too long, or takes more parts than allowed.
    """
    if request.template is not None:
        request = _use_template(ctx, request, request.template)
    if request.category is Category.MARKETING and ctx.subscriber_rules.opt_out_footer:
        request = _add_footers(ctx, request)
    elif request.template is None and request.audience is None:
        return request  # the schema has looked at it
    return _measure(request)


def _use_template(ctx: Context, request: BroadcastRequest, name: TemplateName) -> BroadcastRequest:
    with ctx.db.read() as tx:
        template = load_template(tx, name.name, name.version)
    language = request.language or template.default_language
    if language not in template.texts:
        known = ", ".join(sorted(template.texts))
        raise _refuse("language", f"The template has no such text: it has {known}")
    several = len(template.texts) > 1
    return replace(
        request,
        text=template.texts[language],
        texts=dict(template.texts) if several else {},
        language=language,
        template=TemplateName(template.name, template.version),
    )


def _add_footers(ctx: Context, request: BroadcastRequest) -> BroadcastRequest:
    """With a way out in every text that names none, where the sender can be answered."""
    sender = request.sender or ctx.default_sender
    if not can_be_answered(sender):
        return request
    own = ctx.subscriber_rules.opt_out_footers
    language = request.language or ctx.subscriber_rules.default_language
    return replace(
        request,
        text=add_footer(request.text, language, own),
        texts={each: add_footer(text, each, own) for each, text in request.texts.items()},
    )


def _measure(request: BroadcastRequest) -> BroadcastRequest:
    """With the values that its texts need, and the size of the largest."""
    try:
        texts = list(_list_texts(request))
        for text in texts:
            _check(text, request)
        used = {
            name: values
            for text in texts
            for name, values in select_used(text, request.parameters).items()
        }
        request = replace(request, parameters=used)
        sizes = [_measure_one(text, request) for text in texts]
    except PlaceholderError as e:
        raise _refuse("template" if request.template else "message", str(e)) from e
    parts = max(size.parts for size in sizes)
    if request.max_parts is not None and parts > request.max_parts:
        raise _refuse("max_parts", f"The text takes {parts} parts")
    any_ucs2 = any(size.encoding is Encoding.UCS_2 for size in sizes)
    encoding = Encoding.UCS_2 if any_ucs2 else Encoding.GSM_7
    return replace(request, size=TextSize(encoding, parts))


def _refuse(field: str, reason: str) -> BadInput:
    return BadInput(f"{field}: {reason}", fields={field: [f"{reason}."]})


def _list_texts(request: BroadcastRequest) -> Iterator[str]:
    if request.texts:
        yield from request.texts.values()
    else:
        yield request.text


def _check(text: str, request: BroadcastRequest) -> None:
    if len(text) > MAX_TEXT_CHARACTERS:
        raise PlaceholderError(
            f"with the way to unsubscribe it is longer than {MAX_TEXT_CHARACTERS} characters"
        )
    if request.audience is None:
        check_placeholders(text, request.parameters, request.recipients)
    else:
        check_syntax(text)


def _measure_one(text: str, request: BroadcastRequest) -> TextSize:
    if request.audience is None:
        used = select_used(text, request.parameters)
        return measure_messages(text, used, request.recipients)
    # Whoever is meant is not known yet: with the values by default, the others left out.
    blank: Sequence[str] = find_placeholders(text)
    return measure_text(fill_text(text, dict.fromkeys(blank, "") | collect_defaults(request)))
