"""Preparation of a validated request: check its times, load its template, measure its texts.

The schema cannot do this: it has neither the clock, nor the database, nor the settings.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from app.errors import reject_field
from app.keywords.instructions import names_other_way
from app.phone.e164 import can_be_answered
from app.rate_limit import reserve_capacity
from app.sms.content.footers import add_footer
from app.sms.content.languages import match_language
from app.sms.content.measure import MAX_FILLED, count_filled, measure_messages
from app.sms.content.placeholders import (
    MAX_TEXT_CHARACTERS,
    PlaceholderError,
    check_placeholders,
    check_syntax,
    fill_text,
    find_foreign_placeholders,
    find_placeholders,
    select_used,
)
from app.sms.content.templates import load_template
from app.sms.context import Context
from app.sms.models.states import Category
from app.sms.request.model import (
    MAX_AHEAD_DAYS,
    MAX_LIFE,
    BroadcastRequest,
    TemplateName,
    collect_defaults,
)
from app.text.segments import TextSize, find_largest, measure_text

# A text of more parts is rarely meant, and each part of each recipient is paid for.
MANY_PARTS = 5
# Values that are filled in within some 0.3 s.
_FILLED_PER_UNIT = 500_000
_MAX_SHOWN = 5


def check_times(request: BroadcastRequest, now: datetime) -> None:
    """Raise BadInput for a start in the past or too far ahead, or an end too far behind the start.

    A request that is repeated to get its answer may name a time that has passed since.
    """
    send_at, expire_at = request.send_at, request.expire_at
    if send_at is not None and send_at <= now:
        raise reject_field("send_at", "Not in the future: give a later time")
    latest = now + timedelta(days=MAX_AHEAD_DAYS)
    if send_at is not None and send_at > latest:
        reason = f"More than {MAX_AHEAD_DAYS} days ahead: the latest start is {latest:%Y-%m-%d}"
        raise reject_field("send_at", reason)
    start = send_at or now
    if expire_at is not None and expire_at <= start:
        raise reject_field("expire_at", "Not after the start")
    if expire_at is not None and expire_at - start > MAX_LIFE:
        raise reject_field("expire_at", "More than 3 days after the start")


def prepare_request(ctx: Context, request: BroadcastRequest) -> BroadcastRequest:
    """Return the request with its texts as they are sent, and their size.

    Raises NotFound for an unknown template, BadInput for a text that cannot be filled, is too long,
    or has more parts than allowed, and for a sender that the client may not use.
    """
    require_allowed_sender(ctx, request.sender)
    if request.template is not None:
        request = _use_template(ctx, request, request.template)
    if request.category is Category.MARKETING and ctx.subscriber_rules.opt_out_footer:
        request = _add_footers(ctx, request)
    return _measure(request)


def require_allowed_sender(ctx: Context, sender: str | None) -> None:
    """Raise BadInput for a sender that ALLOWED_SENDERS does not give the calling client."""
    allowed = ctx.allowed_senders.get(ctx.viewer.client or "")
    if allowed is None or sender in (None, ctx.default_sender) or sender in allowed:
        return
    known = ", ".join(sorted(allowed))
    raise reject_field(
        "sender",
        f"{ctx.viewer.client} may not send as {sender}: use {known}, or leave the sender out for "
        f"{ctx.default_sender}; the setting ALLOWED_SENDERS decides",
    )


def _use_template(ctx: Context, request: BroadcastRequest, name: TemplateName) -> BroadcastRequest:
    with ctx.db.read() as tx:
        template = load_template(tx, ctx.viewer, name.name, name.version)
    wanted = request.language or template.default_language
    language = match_language(wanted, template.texts)
    if language is None:
        known = ", ".join(sorted(template.texts))
        raise reject_field("language", f"The template has no such text: it has {known}")
    several = len(template.texts) > 1
    return replace(
        request,
        text=template.texts[language],
        texts=dict(template.texts) if several else {},
        language=language,
        template=TemplateName(template.name, template.version),
    )


def _add_footers(ctx: Context, request: BroadcastRequest) -> BroadcastRequest:
    """Append the opt-out footer to every text.

    Raises BadInput for a sender that takes no replies and a text that names no other way out.
    """
    sender = request.sender or ctx.default_sender
    if not can_be_answered(sender):
        if not all(map(names_other_way, request.texts.values() or [request.text])):
            raise reject_field(
                "template" if request.template else "message",
                f"{sender} takes no replies, and the text names no other way to opt out: add a "
                "link or a number, such as 'Opt out: acme.example/out', or send from a number",
            )
        return request
    own = ctx.subscriber_rules.opt_out_footers
    language = request.language or ctx.subscriber_rules.default_language
    return replace(
        request,
        text=add_footer(request.text, language, own),
        texts={key: add_footer(text, key, own) for key, text in request.texts.items()},
    )


def _measure(request: BroadcastRequest) -> BroadcastRequest:
    """Return the request with the parameters that its texts use, and the largest size."""
    texts = list(request.texts.values()) or [request.text]
    try:
        for text in texts:
            _check(text, request)
        used = {
            name: values
            for text in texts
            for name, values in select_used(text, request.parameters).items()
        }
        if request.parameters:
            request = replace(request, parameters=used)
            _limit_work(texts, request)
        sizes = [_measure_text(text, request) for text in texts]
    except PlaceholderError as e:
        raise reject_field("template" if request.template else "message", str(e)) from e
    size = find_largest(sizes)
    if request.max_parts is not None and size.parts > request.max_parts:
        raise reject_field("max_parts", f"The text takes {size.parts} parts")
    return replace(request, size=size)


def _check(text: str, request: BroadcastRequest) -> None:
    if len(text) > MAX_TEXT_CHARACTERS:
        raise PlaceholderError(
            f"with the opt-out footer it is longer than {MAX_TEXT_CHARACTERS} characters"
        )
    if request.audience is None:
        check_placeholders(text, request.parameters, request.recipients)
    else:
        check_syntax(text)


def _limit_work(texts: Sequence[str], request: BroadcastRequest) -> None:
    """Reserve capacity for filling in all texts.  Raises PlaceholderError if it takes too long."""
    filled = count_filled(texts, request.parameters)
    if filled > MAX_FILLED:
        raise PlaceholderError(
            f"recipients times placeholders are {filled:,}, more than {MAX_FILLED:,}: use fewer "
            "placeholders, or send to fewer recipients at once"
        )
    reserve_capacity(filled // _FILLED_PER_UNIT)


def _measure_text(text: str, request: BroadcastRequest) -> TextSize:
    names = find_placeholders(text)
    if names and request.audience is None:
        used = select_used(text, request.parameters)
        return measure_messages(text, used, request.recipients)
    # The subscribers are not looked up yet: measure the default values, and "" for the others.
    values = dict.fromkeys(names, "") | collect_defaults(request)
    return measure_text(fill_text(text, values))


def list_text_warnings(texts: Iterable[str], parts: int) -> list[str]:
    """Warn of what is sent otherwise than it was probably meant, and of the number of parts."""
    warnings = []
    if found := find_foreign_placeholders(texts):
        warnings.append(
            "Not a placeholder, so it is sent to every recipient as it is: "
            f"{', '.join(found[:_MAX_SHOWN])}. A placeholder is written ${{name}}."
        )
    if parts > MANY_PARTS:
        warnings.append(
            f"The text takes {parts} parts for a recipient, and each part is paid for. Shorten it, "
            "or set max_parts to reject longer texts."
        )
    return warnings
