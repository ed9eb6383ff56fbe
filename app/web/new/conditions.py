"""Conditions of an audience as fields of a form, without SQL and without JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Any

from app.subscribers.attributes import ATTRIBUTE

# Comparisons by their words; the last two are `exists`.
OPERATIONS = {
    "eq": "is",
    "ne": "is not",
    "in": "is one of",
    "starts_with": "begins with",
    "gte": "is at least",
    "gt": "is above",
    "lte": "is at most",
    "lt": "is below",
    "exists": "is known",
    "missing": "is not known",
}
# Begins the value of a button that removes a row, before the row's number.
REMOVE = "remove-"
_GROUPS = ("any", "all", "none")
_KNOWN = {"exists": True, "missing": False}
_TRUTHS = {"yes": True, "true": True, "no": False, "false": False}


@dataclass(frozen=True, slots=True)
class ConditionRow:
    """A condition as it is typed: a row of the form."""

    field: str
    op: str
    value: str

    @property
    def is_empty(self) -> bool:
        """True for a row without a field: no condition."""
        return not self.field


def read_rows(form: Any) -> list[ConditionRow]:
    """Return the rows of a form that are not empty, without the one whose button was pressed."""
    typed = zip(form.getlist("field"), form.getlist("op"), form.getlist("value"), strict=False)
    rows = [ConditionRow(field, op, value.strip()) for field, op, value in typed]
    removed = form.get("go", "").removeprefix(REMOVE)
    return [
        row for number, row in enumerate(rows, 1) if not row.is_empty and str(number) != removed
    ]


def write_rows(where: Sequence[Mapping[str, Any]], zone: tzinfo) -> list[ConditionRow]:
    """Return stored conditions as rows."""
    rows = []
    for test in where:
        op, value = test["op"], test["value"]
        if op == "exists":
            rows.append(ConditionRow(test["field"], "exists" if value else "missing", ""))
            continue
        if test["field"] == "subscribed_at":
            text = f"{datetime.fromisoformat(value).astimezone(zone):%Y-%m-%d}"
        elif isinstance(value, list):
            text = ", ".join(map(_write, value))
        else:
            text = _write(value)
        rows.append(ConditionRow(test["field"], op, text))
    return rows


def say_audience(stored: Mapping[str, Any], zone: tzinfo) -> str:
    """Return a stored audience in words.

    >>> from datetime import UTC
    >>> where = [{"field": "attributes.city", "op": "in", "value": ["Lund", "Umeå"]}]
    >>> say_audience({"any": ["vip"], "all": [], "none": ["staff"], "where": where}, UTC)
    'any of vip; none of staff; city is one of Lund, Umeå'
    """
    tags = [f"{group} of {', '.join(stored[group])}" for group in _GROUPS if stored[group]]
    rows = write_rows(stored["where"], zone)
    tests = [f"{name_field(row.field)} {OPERATIONS[row.op]} {row.value}".strip() for row in rows]
    return "; ".join((*tags, *tests))


def make_condition(row: ConditionRow, kind: str, zone: tzinfo) -> dict[str, Any]:
    """Return a condition as JSON of the API.  Raises ValueError with what is wrong."""
    if row.op in _KNOWN:
        return {"field": row.field, "op": "exists", "value": _KNOWN[row.op]}
    if not row.value:
        raise ValueError("Give a value, or take this condition away. It is not counted yet.")
    if row.op == "in":
        values = filter(None, map(str.strip, row.value.split(",")))
        return {"field": row.field, "op": "in", "value": [_read(v, kind, zone) for v in values]}
    return {"field": row.field, "op": row.op, "value": _read(row.value, kind, zone)}


def name_field(field: str) -> str:
    """Return the name of a field as people know it.

    >>> name_field("attributes.city"), name_field("first_name")
    ('city', 'first name')
    """
    return field.removeprefix(ATTRIBUTE) if field.startswith(ATTRIBUTE) else field.replace("_", " ")


def _write(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def _read(text: str, kind: str, zone: tzinfo) -> Any:
    if kind == "number":
        try:
            return int(text)
        except ValueError:
            return _read_decimal(text)
    if kind == "truth":
        if text.lower() not in _TRUTHS:
            raise ValueError("Write yes or no.")
        return _TRUTHS[text.lower()]
    if kind == "time":
        try:
            return datetime.fromisoformat(text).replace(tzinfo=zone).isoformat()
        except ValueError:
            raise ValueError("Write the day like 2026-12-31.") from None
    return text


def _read_decimal(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError("Write a number.") from None
