"""Audiences that are saved by a name: list, save, change, delete.  Broadcasts copy them."""

from typing import Any

from loguru import logger
from sqlalchemy import Connection, Row, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from app.db.audit import write_audit
from app.db.base import table_of
from app.errors import BadInput, Conflict, NotFound
from app.pagination import Page, make_page
from app.subscribers.audiences.audience import Audience
from app.subscribers.context import SubscriberContext
from app.subscribers.models import SavedAudience

MAX_SAVED = 1_000
_SAVED = table_of(SavedAudience)


def list_saved(ctx: SubscriberContext, *, cursor: int = 0, limit: int = 100) -> Page[Row[Any]]:
    """Return a page of saved audiences, the oldest first."""
    query = select(_SAVED).where(_SAVED.c.id > cursor).order_by(_SAVED.c.id).limit(limit + 1)
    with ctx.db.read() as tx:
        return make_page(tx.execute(query).all(), limit)


def list_saved_names(ctx: SubscriberContext) -> list[str]:
    """Return the names of all saved audiences, sorted."""
    with ctx.db.read() as tx:
        return list(tx.execute(select(_SAVED.c.name).order_by(_SAVED.c.name)).scalars())


def view_saved(ctx: SubscriberContext, name: str) -> Row[Any]:
    """Return one saved audience.  Raises NotFound."""
    with ctx.db.read() as tx:
        return _find(tx, name)


def save_audience(ctx: SubscriberContext, name: str, audience: Audience, *, actor: str) -> Row[Any]:
    """Save an audience by a new name.  Raises Conflict if it exists, BadInput for too many."""
    row = {"name": name, "audience": audience.to_json(), "created_at": ctx.now()}
    try:
        with ctx.db.write() as tx:
            if tx.execute(select(func.count()).select_from(_SAVED)).scalar_one() >= MAX_SAVED:
                raise BadInput(f"There may be {MAX_SAVED:,} saved audiences: delete some.")
            tx.execute(insert(_SAVED), {**row, "created_by": actor})
            _audit(tx, ctx, name, actor, "save audience")
            return _find(tx, name)
    except IntegrityError as e:
        raise _name_exists(name) from e


def change_saved(
    ctx: SubscriberContext,
    old_name: str,
    *,
    actor: str,
    name: str | None = None,
    audience: Audience | None = None,
) -> Row[Any]:
    """Change what is given.  Raises NotFound, and Conflict if the new name exists."""
    values: dict[str, Any] = {} if name is None else {"name": name}
    values |= {} if audience is None else {"audience": audience.to_json()}
    try:
        with ctx.db.write() as tx:
            row = _find(tx, old_name, lock=True)
            if values:
                tx.execute(update(_SAVED).where(_SAVED.c.id == row.id).values(values))
                facts = {"name": name} if name else {}
                _audit(tx, ctx, old_name, actor, "change audience", **facts)
            return _find(tx, name or old_name)
    except IntegrityError as e:
        raise _name_exists(name or old_name) from e


def delete_saved(ctx: SubscriberContext, name: str, *, actor: str) -> None:
    """Delete a saved audience; broadcasts and drafts that copied it stay.  Raises NotFound."""
    with ctx.db.write() as tx:
        row = _find(tx, name, lock=True)
        tx.execute(delete(_SAVED).where(_SAVED.c.id == row.id))
        _audit(tx, ctx, name, actor, "delete audience")


def _find(tx: Connection, name: str, *, lock: bool = False) -> Row[Any]:
    query = select(_SAVED).where(_SAVED.c.name == name)
    row = tx.execute(query.with_for_update() if lock else query).first()
    if row is None:
        raise NotFound("There is no such audience.")
    return row


def _name_exists(name: str) -> Conflict:
    return Conflict(f"There is an audience {name} already.")


def _audit(
    tx: Connection, ctx: SubscriberContext, audience: str, actor: str, action: str, /, **facts: str
) -> None:
    write_audit(tx, ctx.now(), actor, action, audience, **facts)
    logger.bind(audience=audience, client=actor, action=action).info("saved audience changed")
