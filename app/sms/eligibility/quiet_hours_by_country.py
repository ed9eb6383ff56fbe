"""Open hours for marketing by country, from the table in quiet_hours_by_country.toml.  Pure."""

import tomllib
from collections.abc import Mapping
from datetime import time
from pathlib import Path

# Begin and end by the local clock, None for a day without marketing.  An end of 00:00 is midnight;
# equal times are the whole day.
Hours = tuple[time, time] | None
# Monday first.
Week = tuple[Hours, ...]

ANYWHERE = "*"
_NEVER = "never"


def _parse_hours(text: str) -> Hours:
    if text == _NEVER:
        return None
    opens, closes = text.split("-")
    return time.fromisoformat(opens), time.fromisoformat(closes)


def _make_week(rule: Mapping[str, str]) -> Week:
    hours = rule["hours"]
    days = (*[hours] * 5, rule.get("saturday", hours), rule.get("sunday", hours))
    return tuple(map(_parse_hours, days))


_RULES = tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))["rule"]
WEEKS = {country: _make_week(rule) for rule in _RULES for country in rule["countries"]}
