"""Changes between a quote and the press of the button, in a sentence and in figures."""

from collections.abc import Mapping
from datetime import datetime, tzinfo
from typing import Any

from app.web.new.figures import read_micros, say_about, say_money
from app.web.words import clock_time, count, people, texts

_FIGURES = {"recipients": "Texts", "excluded": "Left out", "parts": "Parts"}
_NOT_KNOWN = "not known"


def say_moved(
    then: Mapping[str, Any],
    now_quoted: Mapping[str, Any],
    *,
    zone: tzinfo,
    now: datetime,
    template: str | None,
) -> str:
    """Return what has moved since a quote, and what it comes to now; both as read_quoted does.

    >>> from datetime import UTC
    >>> at = datetime(2026, 12, 3, 9, 22, tzinfo=UTC)
    >>> then = {"text": "", "quoted_at": at, "recipients": 5, "excluded": 1, "opted_out": 1}
    >>> moved = then | {"recipients": 4, "excluded": 3, "opted_out": 3, "cost": 0, "currency": None}
    >>> say_moved(then, moved, zone=UTC, now=at, template=None)
    'Since 09:22, 2 people opted out and 1 joined: 4 texts.'
    """
    since = clock_time(then["quoted_at"].astimezone(zone), now.astimezone(zone))
    if then["text"] != now_quoted["text"]:
        events = f"the template {template} was changed" if template else "the text was changed"
    else:
        events = " and ".join(_list_events(then, now_quoted)) or _say_other(then, now_quoted)
    sentence = f"Since {since}, {events}: {texts(now_quoted['recipients'])}"
    currency = now_quoted["currency"]
    cost = f", {say_about(read_micros(now_quoted['cost']), currency)}" if currency else ""
    return f"{sentence}{cost}."


def compare_quote(then: Mapping[str, Any], now_quoted: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return each figure that has moved since it was quoted: its name, old and new."""
    changes = [
        {"name": name, "old": count(then[key]), "new": count(now_quoted[key])}
        for key, name in _FIGURES.items()
        if then[key] != now_quoted[key]
    ]
    old, new = _say_cost(then), _say_cost(now_quoted)
    return [*changes, {"name": "Cost", "old": old, "new": new}] if old != new else changes


def _say_other(then: Mapping[str, Any], now_quoted: Mapping[str, Any]) -> str:
    """Return what else has moved: the figures, or only people behind them."""
    if compare_quote(then, now_quoted):
        return "the figures have moved"
    return "people were changed, and the figures are as they were"


def _list_events(then: Mapping[str, Any], now_quoted: Mapping[str, Any]) -> list[str]:
    """Return how many people opted out, joined or left, on balance."""
    asked, asked_before = (q["recipients"] + q["excluded"] for q in (now_quoted, then))
    # A token of an earlier version does not say who opted out.
    opted_out = now_quoted["opted_out"] - then.get("opted_out", now_quoted["opted_out"])
    joined = asked - asked_before
    events = ((opted_out, "opted out"), (joined, "joined"), (-joined, "left"))
    figures = [(number, words) for number, words in events if number > 0]
    return [
        f"{people(number) if not place else f'{number:,}'} {words}"
        for place, (number, words) in enumerate(figures)
    ]


def _say_cost(quoted: Mapping[str, Any]) -> str:
    currency = quoted["currency"]
    return say_money(read_micros(quoted["cost"]), currency) if currency else _NOT_KNOWN
