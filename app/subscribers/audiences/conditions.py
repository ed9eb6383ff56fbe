"""Conditions on a subscriber, and their SQL with one meaning in both databases."""

import json
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Dialect,
    Double,
    Text,
    case,
    cast,
    false,
    func,
    not_,
    null,
    or_,
    true,
)

from app.db.base import table_of
from app.subscribers.attributes import ATTRIBUTE
from app.subscribers.models import Subscriber

TIME_FIELD = "subscribed_at"
TEXT_FIELDS = ("first_name", "last_name", "language", "time_zone")

_SUBSCRIBERS = table_of(Subscriber)


class Op(StrEnum):
    """Comparison of a subscriber's value with that of a condition.

    A missing value matches only `ne` and `exists` false.
    """

    EQ = "eq"
    NE = "ne"  # exactly those that eq does not match
    LT = "lt"
    LTE = "lte"
    GT = "gt"
    GTE = "gte"
    IN = "in"  # equal to one of a list
    EXISTS = "exists"  # has a value (true) or none (false)
    STARTS_WITH = "starts_with"


ORDERING = frozenset((Op.LT, Op.LTE, Op.GT, Op.GTE))


@dataclass(frozen=True, slots=True)
class Condition:
    """A test of one field: a column, or `attributes.` and a name.

    Text, numbers and truth values are never equal to or less than each other.
    Text is compared by Unicode code points.
    """

    field: str
    op: Op
    value: Any


_COMPARE: dict[Op, Callable[[Any, Any], ColumnElement[Any]]] = {
    Op.EQ: operator.eq,
    Op.LT: operator.lt,
    Op.LTE: operator.le,
    Op.GT: operator.gt,
    Op.GTE: operator.ge,
}


def make_test(condition: Condition, dialect: Dialect) -> ColumnElement[bool]:
    """Return the SQL test of a row of `subscribers`: true or false, never NULL."""
    if condition.op is Op.NE:
        return not_(make_test(Condition(condition.field, Op.EQ, condition.value), dialect))
    name = condition.field
    if name.startswith(ATTRIBUTE):
        attribute = _Attribute(name.removeprefix(ATTRIBUTE), dialect)
        return _test_attribute(attribute, condition.op, condition.value)
    column: ColumnElement[Any] = _SUBSCRIBERS.c[name]
    if condition.op is Op.EXISTS:
        return column.is_not(None) if condition.value else column.is_(None)
    if name != TIME_FIELD:
        column = _by_code_points(column, dialect)
    if condition.op is Op.IN:
        return func.coalesce(column.in_(condition.value), false())
    return func.coalesce(_compare(column, condition.op, condition.value), false())


class _Attribute:
    """SQL of one attribute as text, number or truth value: NULL if missing or of another type."""

    def __init__(self, name: str, dialect: Dialect) -> None:
        self._dialect = dialect
        self._sqlite = dialect.name == "sqlite"
        column = _SUBSCRIBERS.c.attributes
        if self._sqlite:
            # Quoted, because a dot outside of quotes would separate two names.
            path = f'$."{name}"'
            self._type = func.json_type(column, path)
            self._value: ColumnElement[Any] = func.json_extract(column, path)
        else:
            self._type = func.json_typeof(func.json_extract_path(column, name))
            self._value = func.json_extract_path_text(column, name)

    @property
    def exists(self) -> ColumnElement[bool]:
        return func.coalesce(self._type != "null", false())

    @property
    def text(self) -> ColumnElement[Any]:
        type_name = "text" if self._sqlite else "string"
        return _by_code_points(
            case((self._type == type_name, cast(self._value, Text))), self._dialect
        )

    @property
    def number(self) -> ColumnElement[Any]:
        if self._sqlite:
            return case((self._type.in_(("integer", "real")), self._value))
        return case((self._type == "number", cast(self._value, Double)))

    def as_number(self, value: int | float) -> ColumnElement[Any]:
        """Return a number as the database parses one: SQLite rounds the last bit differently."""
        if self._sqlite:
            return func.json_extract(json.dumps([value]), "$[0]")
        return cast(float(value), Double)

    @property
    def truth(self) -> ColumnElement[Any]:
        if self._sqlite:
            return case((self._type == "true", true()), (self._type == "false", false()))
        return case((self._type == "boolean", self._value == "true"), else_=null())


def _test_attribute(attribute: _Attribute, op: Op, value: Any) -> ColumnElement[bool]:
    if op is Op.EXISTS:
        return attribute.exists if value else not_(attribute.exists)
    if op is Op.IN:
        return _is_one_of(attribute, value)
    if isinstance(value, str):
        test = _compare(attribute.text, op, value)
    elif isinstance(value, bool):
        test = attribute.truth.is_(true() if value else false())
    else:
        test = _compare(attribute.number, op, attribute.as_number(value))
    return func.coalesce(test, false())


def _is_one_of(attribute: _Attribute, values: Sequence[Any]) -> ColumnElement[bool]:
    """Test for any of these values with one look-up a type, however many values there are."""
    texts = [value for value in values if isinstance(value, str)]
    truths = {value for value in values if isinstance(value, bool)}
    numbers = [attribute.as_number(value) for value in values if not isinstance(value, (str, bool))]
    tests = [_test_attribute(attribute, Op.EQ, value) for value in truths]
    if texts:
        tests.append(func.coalesce(attribute.text.in_(texts), false()))
    if numbers:
        tests.append(func.coalesce(attribute.number.in_(numbers), false()))
    return or_(*tests)


def _compare(column: ColumnElement[Any], op: Op, value: Any) -> ColumnElement[Any]:
    if op is Op.STARTS_WITH:
        begins: ColumnElement[bool] = func.substr(column, 1, len(value)) == value
        return begins
    return _COMPARE[op](column, value)


def _by_code_points(column: ColumnElement[Any], dialect: Dialect) -> ColumnElement[Any]:
    """Compare text by code points, as SQLite does by default."""
    return column if dialect.name == "sqlite" else column.collate("C")
