"""Fields that conditions can ask for, as people choose them from a list."""

from typing import Any

from sqlalchemy import select

from app.db.base import table_of
from app.subscribers.attributes import ATTRIBUTE
from app.subscribers.audiences.conditions import TEXT_FIELDS, TIME_FIELD
from app.subscribers.context import SubscriberContext
from app.subscribers.models import Subscriber

# The newest subscribers, whose attributes stand for those of all.
_LOOKED_AT = 1_000
_MAX_LISTED = 100
_SUBSCRIBERS = table_of(Subscriber)


def list_fields(ctx: SubscriberContext) -> dict[str, str]:
    """Return the fields for conditions with the kind of their values: text, number, truth, time.

    Attributes are those of the newest subscribers.
    """
    query = select(_SUBSCRIBERS.c.attributes).where(_SUBSCRIBERS.c.attributes.is_not(None))
    with ctx.db.read() as tx:
        rows = tx.execute(query.order_by(_SUBSCRIBERS.c.id.desc()).limit(_LOOKED_AT)).scalars()
        kinds: dict[str, str] = {}
        for attributes in rows:
            for name, value in (attributes or {}).items():
                kinds.setdefault(ATTRIBUTE + name, _find_kind(value))
    attributes = dict(sorted(kinds.items())[:_MAX_LISTED])
    return {**dict.fromkeys(TEXT_FIELDS, "text"), TIME_FIELD: "time", **attributes}


def _find_kind(value: Any) -> str:
    if isinstance(value, bool):
        return "truth"
    return "number" if isinstance(value, int | float) else "text"
