"""Rules for the fields of settings and faults."""

from collections.abc import Callable, Mapping
from typing import Any

from app.sandbox.errors import bad_order

# Tells if a value is valid, and what it must be.
Rule = tuple[Callable[[Any], bool], str]

TEXT: Rule = (lambda value: isinstance(value, str) and value != "", "a text")


def check_fields(values: Mapping[str, object], rules: Mapping[str, Rule]) -> None:
    """Raise ApiError 400 with the name of the first field that is unknown or against its rule."""
    for name, value in values.items():
        if name not in rules:
            raise bad_order(f"{name}: must be one of {', '.join(rules)}")
        is_valid, expected = rules[name]
        if not is_valid(value):
            raise bad_order(f"{name}: must be {expected}")


def number(minimum: float, maximum: float) -> Rule:
    expected = f"a number from {minimum:g} to {maximum:g}"
    return lambda value: is_number(value) and minimum <= value <= maximum, expected


# At most ten years: sums of times and waits of the operating system have limits.
SECONDS: Rule = number(0, 3650 * 24 * 3600)


def integer(minimum: int, maximum: int) -> Rule:
    expected = f"a whole number from {minimum} to {maximum}"
    return lambda value: type(value) is int and minimum <= value <= maximum, expected


def choice(*choices: str) -> Rule:
    return lambda value: value in choices, f"one of {', '.join(choices)}"


def optional(rule: Rule) -> Rule:
    is_valid, expected = rule
    return lambda value: value is None or is_valid(value), f"{expected}, or null"


def is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
