"""Figures of a quote in words: money, countries, who is left out, and the words of the button."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from decimal import Decimal
from typing import Any

from sqlalchemy import Row

from app.errors import NotFound
from app.phone.country_names import name_country
from app.sms.drafts.count import CheaperText, DraftCount, ShorterText, TextCount
from app.sms.drafts.some import SomePerson
from app.sms.models.states import ExclusionReason
from app.text.segments import measure_text
from app.web.new.send_times import say_send_times
from app.web.subscribers.wording import show_name, show_number, show_text
from app.web.words import clock_time, people, texts

_SIGNS = {"EUR": "€", "USD": "$", "GBP": "£"}
_WHOLE_FROM = 10
_WORDS = ("No", "One", "Two", "Three", "Four", "Five", "Six")
# More replacements are not named on a button.
_FEW = 3
# More countries, unless it is only one, are one line with their sum, and below it a list.
_MAX_COUNTRIES = 10
_MAX_WAITS = 5
_R = ExclusionReason
_LEFT_OUT = {
    _R.ERASED: "Their data was erased",
    _R.NUMBER_NOT_ALLOWED: "Their numbers are premium, shared-cost or satellite numbers",
    _R.COUNTRY_NOT_ALLOWED: "Texts to their country are not allowed",
    _R.OPTED_OUT: "They opted out",
    _R.NO_CONSENT: "They have not agreed to marketing",
    _R.INACTIVE: "They are inactive",
    _R.NO_VALUE: "A placeholder has no value for them, and no default",
    _R.FREQUENCY_CAP: "They had as much marketing as a day may bring",
    _R.NO_WINDOW: "It is quiet at any time in one of their zones",
    _R.QUIET_HOURS: "Their quiet hours end after it ends",
}
_ORDINALS = {2: "second", 3: "third", 4: "fourth", 5: "fifth"}


@dataclass(frozen=True, slots=True)
class QuoteFacts:
    """A quote in words.

    `countries` are the largest ones, `more` all others, `together` the sum of those; `left_out` are
    reasons with their people; `times` the start and for what some wait, in words; `cost` is None
    without prices; `button` says when the last text is handed over, if that is known.
    """

    countries: list[dict[str, Any]]
    more: list[dict[str, Any]]
    together: dict[str, Any]
    left_out: list[dict[str, Any]]
    left_out_total: int
    asked_for: int
    times: list[tuple[str, str]]
    cost: str | None
    exact_cost: str | None
    button: str


def describe_quote(
    quote: Mapping[str, Any], draft: Row[Any], now: datetime, zone: tzinfo
) -> QuoteFacts:
    """Return a quote in words, with times of this zone."""
    now = now.astimezone(zone)
    cost = quote["cost"]
    currency = cost["currency"] if cost else ""
    left_out = _list_left_out(quote["excluded"], quote["expired_before_window"])
    total = sum(line["figure"] for line in left_out)
    starts_at = _read_start(draft.body, zone)
    about = say_about(Decimal(cost["amount"]), currency) if cost else None
    waits = [(group["at"], group["recipients"]) for group in quote["deferred"]]
    done = _say_done(waits, quote["sending_s"], starts_at or now, now)
    countries = sorted(quote["countries"].items(), key=lambda item: -item[1]["recipients"])
    rows = [
        _describe_country(figures, currency)
        | {
            "country": name_country(country),
            "sent": say_send_times(quote["zones"], country, starts_at or now, zone),
        }
        for country, figures in countries
    ]
    shown = len(rows) if len(rows) == _MAX_COUNTRIES + 1 else _MAX_COUNTRIES
    return QuoteFacts(
        countries=rows[:shown],
        more=rows[shown:],
        together=_add_countries([figures for _, figures in countries[shown:]], currency),
        left_out=left_out,
        left_out_total=total,
        asked_for=total + quote["recipients"],
        times=_list_times(starts_at, waits, now),
        cost=about,
        exact_cost=say_money(Decimal(cost["amount"]), currency) if cost else None,
        button=say_button(
            quote["recipients"], cost=about, at=_say_start(starts_at, now), done=done
        ),
    )


def _list_times(
    starts_at: datetime | None, waits: Sequence[tuple[datetime, int]], now: datetime
) -> list[tuple[str, str]]:
    """Return the start, and how many people wait for which time; the last of many are one line."""
    said = [(clock_time(at.astimezone(now.tzinfo), now), number) for at, number in waits]
    rest = said[_MAX_WAITS - 1 :]
    if len(rest) > 1:
        later = f"up to {rest[-1][0]}", sum(number for _, number in rest)
        said = [*said[: _MAX_WAITS - 1], later]
    start = clock_time(starts_at, now) if starts_at else "As soon as it is confirmed"
    lines = [
        (f"{number:,} {'waits' if number == 1 else 'wait'} for", time) for time, number in said
    ]
    return [("Starts", start), *lines]


def _describe_country(figures: Mapping[str, Any], currency: str) -> dict[str, Any]:
    return {
        "people": figures["recipients"],
        "parts": figures["parts"],
        "cost": say_money(Decimal(figures["cost"]), currency) if figures["cost"] else "",
    }


def _add_countries(countries: Sequence[Mapping[str, Any]], currency: str) -> dict[str, Any]:
    """Return the figures of several countries together; the cost is that of those with a price."""
    sums: dict[str, Any] = {
        name: sum(figures[name] for figures in countries) for name in ("recipients", "parts")
    }
    costs = [Decimal(figures["cost"]) for figures in countries if figures["cost"]]
    return _describe_country(sums | {"cost": str(sum(costs)) if costs else None}, currency)


def describe_count(counted: TextCount) -> dict[str, str]:
    """Return how a text counts: what is bold, what follows, and what is read aloud."""
    each = [
        f"{say_parts(parts)} for {people(number)}" for parts, number in counted.histogram.items()
    ]
    if len(each) == 1 and sum(counted.histogram.values()) > 1:
        each = [each[0].replace(" for ", " for each of ")]
    bold = ", ".join(each) or say_parts(counted.parts)
    sizes = sorted({len(text) for text in counted.texts.values()})
    characters = " to ".join(f"{size:,}" for size in (sizes[0], sizes[-1])[: len(sizes)])
    after = f"{characters} characters, {counted.encoding}."
    if counted.counted < counted.people:
        after += f" A sample: the first {counted.counted:,} of {people(counted.people)}."
    elif counted.cost.currency and counted.histogram:
        after += f" {_say_cost(counted).capitalize()}."
    if counted.is_everybody and counted.people:
        after += f" Counted over all {people(counted.people)} until you choose."
    return {"bold": bold, "after": after, "said": f"{bold}, {counted.encoding}"}


def describe_shorter(counted: TextCount, shorter: ShorterText | None) -> str:
    """Return a sentence about long names and values, and what fewer characters would save."""
    if shorter is None:
        return ""
    following = shorter.parts + 1
    part = _ORDINALS.get(following, f"{following}th")
    said = f"Long names or values push {people(shorter.people)} into a {part} part."
    saved = counted.cost.micros - counted.least_cost.micros
    if shorter.characters and saved > 0 and counted.cost.currency:
        few = "1 character" if shorter.characters == 1 else f"{shorter.characters} characters"
        said += f" {few} less would save {say_about(read_micros(saved), counted.cost.currency)}."
    return said


def find_reason(key: str) -> tuple[ExclusionReason, str]:
    """Return the reason of a line of those who are left out, and its sentence.  Raises NotFound."""
    for reason, sentence in _LEFT_OUT.items():
        if key == reason.value:
            return reason, sentence
    raise NotFound("There is no such reason to leave people out.")


def say_nothing(reason: ExclusionReason | None) -> str:
    """Return why a person gets nothing; None is for one who is not in the audience."""
    return f"gets nothing. {_LEFT_OUT[reason]}." if reason else "is not in the audience."


def describe_reach(counted: DraftCount) -> dict[str, Any]:
    """Return the subtraction from those who fit an audience to those who get the text."""
    estimate = counted.estimate
    left_out = _list_left_out(estimate.excluded, estimate.expired_before_window)
    get_it = estimate.recipients.total()
    fit = get_it + sum(line["figure"] for line in left_out)
    return {"fit": fit, "left_out": left_out, "get_it": get_it, "people": max(counted.people, fit)}


def list_sums(counted: TextCount | DraftCount, *, has_text: bool) -> list[tuple[str, str]]:
    """Return how many people get a draft, with its parts and their cost once it has a text."""
    number = sum(counted.histogram.values())
    if isinstance(counted, TextCount) and counted.is_everybody:
        if not number:
            return []
        said = f"all {number:,}, until you choose"
    else:
        said = f"{number:,}"
    is_sample = counted.counted < counted.people
    rows = [("People", f"{number:,} of the first {counted.counted:,}" if is_sample else said)]
    if has_text:
        rows.append(("Parts", f"{_add_parts(counted):,}"))
    if has_text and not is_sample:
        rows.append(("Cost", _say_cost(counted) if counted.cost.currency else "not known"))
    return rows


def list_times(
    body: Mapping[str, Any], counted: TextCount | DraftCount | None, now: datetime, zone: tzinfo
) -> list[tuple[str, str]]:
    """Return when a draft starts and, once its audience is counted, for what some of it wait."""
    waits = sorted(counted.estimate.deferred.items()) if isinstance(counted, DraftCount) else []
    return _list_times(_read_start(body, zone), waits, now.astimezone(zone))


def say_all_done(
    body: Mapping[str, Any], counted: DraftCount, rate: float | None, now: datetime, zone: tzinfo
) -> str | None:
    """Return when the last text of a draft is handed to Sinch, if that is known."""
    estimate, now = counted.estimate, now.astimezone(zone)
    sending_s = estimate.parts.total() / rate if rate else None
    start = _read_start(body, zone) or now
    return _say_done(sorted(estimate.deferred.items()), sending_s, start, now)


def say_sample(counted: TextCount | DraftCount) -> str:
    """Return of how many people a count is, if that is not all of them."""
    if counted.counted >= counted.people:
        return ""
    sample = f"A sample: the first {counted.counted:,} of {people(counted.people)}."
    return f"{sample} The confirmation counts all of them."


def explain_costly(text: Mapping[str, Any]) -> str:
    """Return which characters of a quoted text give it more parts; "" if none do."""
    if not text["cheaper"]:
        return ""
    parts, least = measure_text(text["text"]).parts, measure_text(text["cheaper"]).parts
    if least >= parts:
        return ""
    shown = [f"“{character['character']}”" for character in text["characters"]]
    named = " and ".join(shown) if len(shown) <= _FEW else f"{len(shown)} characters"
    instead = "makes" if len(shown) == 1 else "make"
    return f"{named} {instead} it {say_parts(parts)} instead of {least}."


def describe_some(persons: Sequence[SomePerson]) -> list[dict[str, Any]]:
    """Return a few people of an audience, as the user may see them."""
    return [
        {
            "name": show_name(person.subscriber),
            "number": show_number(person.phone),
            "values": {
                name: show_text(value, person.subscriber) for name, value in person.values.items()
            },
        }
        for person in persons
    ]


def describe_cheaper(counted: TextCount, cheaper: CheaperText) -> dict[str, str] | None:
    """Return what costly characters add, and the words of the button without them."""
    if not cheaper.characters:
        return None
    kinds = len(cheaper.characters)
    subject = "One character makes" if kinds == 1 else f"{_say_number(kinds)} characters make"
    other = cheaper.count
    if other is None:
        return {"bold": f"{subject} it UCS-2.", "button": ""}
    extra = counted.cost.micros - other.cost.micros
    is_always, extra_parts = other.parts < counted.parts, _add_parts(counted) - _add_parts(other)
    if not is_always and extra_parts <= 0:
        return None
    is_known = bool(counted.cost.currency) and counted.counted == counted.people and extra > 0
    # Where only long names or values push a text into another part, no one number has changed.
    parts = f"{say_parts(counted.parts)} instead of {other.parts}" if is_always else ""
    bold = f"{subject} this text {parts}."
    if not parts:
        bold = f"{subject} it UCS-2: {say_parts(extra_parts)} more."
    others = list(dict.fromkeys(character.look_alike for character in cheaper.characters))
    named = " and ".join(map(str, others)) if all(others) and len(others) <= _FEW else ""
    button = f"Use {f'{named} instead' if named else 'other characters'}: {say_parts(other.parts)}"
    if is_known:
        amount = say_about(read_micros(extra), counted.cost.currency or "")
        bold = f"{subject} this text cost {amount} more{f': {parts}' if parts else ''}."
        button += f", {_say_cost(other)}"
    return {"bold": bold, "button": button}


def say_parts(parts: int) -> str:
    """Return a number of parts.

    >>> say_parts(1), say_parts(3)
    ('1 part', '3 parts')
    """
    return "1 part" if parts == 1 else f"{parts:,} parts"


def add_amounts(
    sentence: str, figures: Mapping[str, Any] | None, *, number: int | None = None
) -> str:
    """Return a sentence about people with their parts and cost, by what pick_figures returns.

    They are estimated for another number of people than was quoted, and left out if there are none.

    >>> figures = {"recipients": 2, "parts": 4, "cost": 180_000, "currency": "EUR"}
    >>> add_amounts("2 people", figures), add_amounts("5 people", figures, number=5)
    ('2 people: 4 parts, about €0.18', '5 people: about 10 parts, about €0.45')
    >>> add_amounts("2 people", figures | {"currency": None}), add_amounts("2 people", None)
    ('2 people: 4 parts, cost not known', '2 people')
    """
    if not figures or not figures["recipients"]:
        return sentence
    asked = figures["recipients"] if number is None else number
    ratio = Decimal(asked) / figures["recipients"]
    about, currency = "" if ratio == 1 else "about ", figures["currency"]
    cost = read_micros(figures["cost"]) * ratio
    said = say_about(cost, currency) if currency else "cost not known"
    return f"{sentence}: {about}{say_parts(round(figures['parts'] * ratio))}, {said}"


def say_button(number: int, *, cost: str | None, at: str | None, done: str | None) -> str:
    """Return the words of the button that sends.

    >>> say_button(12431, cost="about €612", at=None, done="10:42")
    'Send 12,431 texts, about €612, done by 10:42'
    >>> say_button(1, cost=None, at="Fri 4 Dec at 10:00", done="10:42")
    'Send 1 text on Fri 4 Dec at 10:00'
    """
    start = f" on {at}" if at else ""
    parts = [f"Send {texts(number)}{start}", cost, f"done by {done}" if done and not at else None]
    return ", ".join(filter(None, parts))


def say_about(amount: Decimal, currency: str) -> str:
    """Return an amount as people say it.

    >>> say_about(Decimal("611.69"), "EUR"), say_about(Decimal("4.5"), "SEK")
    ('about €612', 'about 4.50 SEK')
    """
    if amount >= _WHOLE_FROM:
        return f"about {_add_currency(f'{amount:,.0f}', currency)}"
    return f"about {say_money(amount, currency)}"


def say_money(amount: Decimal, currency: str) -> str:
    """Return an amount with two decimals.

    >>> say_money(Decimal("1611.694"), "EUR")
    '€1,611.69'
    """
    return _add_currency(f"{amount:,.2f}", currency)


def read_micros(micros: int) -> Decimal:
    """Return an amount that is given in millionths."""
    return Decimal(micros) / 1_000_000


def _add_parts(counted: TextCount | DraftCount) -> int:
    return sum(parts * people_of for parts, people_of in counted.histogram.items())


def _say_number(number: int) -> str:
    return _WORDS[number] if number < len(_WORDS) else f"{number:,}"


def _say_cost(counted: TextCount | DraftCount) -> str:
    return say_about(read_micros(counted.cost.micros), counted.cost.currency or "")


def _list_left_out(excluded: Mapping[Any, int], late: int) -> list[dict[str, Any]]:
    """Return why people are left out, the most frequent reason first."""
    ordered = sorted(excluded.items(), key=lambda item: -item[1])
    lines = [*((_R(reason), figure) for reason, figure in ordered), (_R.QUIET_HOURS, late)]
    return [
        {"key": reason.value, "sentence": _LEFT_OUT[reason], "figure": figure}
        for reason, figure in lines
        if figure
    ]


def _add_currency(amount: str, currency: str) -> str:
    sign = _SIGNS.get(currency)
    return f"{sign}{amount}" if sign else f"{amount} {currency}".strip()


def _read_start(body: Mapping[str, Any], zone: tzinfo) -> datetime | None:
    written = body.get("send_at")
    return datetime.fromisoformat(written).astimezone(zone) if written else None


def _say_start(starts_at: datetime | None, now: datetime) -> str | None:
    return f"{starts_at:%a %-d %b at %H:%M}" if starts_at and starts_at > now else None


def _say_done(
    waits: Sequence[tuple[datetime, int]], sending_s: float | None, start: datetime, now: datetime
) -> str | None:
    """Return when the last text is handed to Sinch, quiet hours included, if that is known."""
    last = max((at.astimezone(now.tzinfo) for at, _ in waits), default=None)
    if sending_s is not None:
        finish = start + timedelta(seconds=sending_s)
        return clock_time(max(finish, last) if last else finish, now)
    return clock_time(last, now) if last else None
