"""Fields of what a test orders, and the error of a wrong one."""

from collections.abc import Mapping
from typing import Any

from marshmallow import Schema, ValidationError, fields, validate

from app.sandbox.errors import bad_order


class Number(fields.Float):
    """A JSON number from `minimum` to `maximum`."""

    def __init__(self, minimum: float, maximum: float, **options: Any) -> None:
        super().__init__(validate=validate.Range(minimum, maximum), **options)

    def _validated(self, value: Any) -> float:
        if isinstance(value, str):
            raise self.make_error("invalid", input=value)
        return super()._validated(value)


class Seconds(Number):
    """At most ten years: sums of times and waits of the operating system have limits."""

    def __init__(self, **options: Any) -> None:
        super().__init__(0, 3650 * 24 * 3600, **options)


class Text(fields.String):
    """A text that is not empty."""

    def __init__(self, **options: Any) -> None:
        super().__init__(validate=validate.Length(1), **options)


def load_order(schema: Schema, order: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of an order.  Raises ApiError 400 with the name of the first wrong one."""
    try:
        loaded: dict[str, Any] = schema.load(order)
    except ValidationError as e:
        name, reasons = next(iter(e.messages_dict.items()))
        if name not in schema.fields:
            reasons = [f"must be one of {', '.join(schema.fields)}"]
        text = " ".join(reasons) if isinstance(reasons, list) else reasons
        raise bad_order(f"{name}: {text}") from e
    return loaded
