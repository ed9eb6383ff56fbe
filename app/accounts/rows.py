"""The row of a user: lock it, change it, note what its user did."""

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, select, update

from app.accounts.models import User
from app.config.keys import PEOPLE_CLIENT
from app.db.audit import write_audit
from app.db.base import table_of

_USERS = table_of(User)


def lock_user(tx: Connection, user_id: int) -> Row[Any]:
    """Lock a user's row; waits are locked after it."""
    return tx.execute(select(_USERS).where(_USERS.c.id == user_id).with_for_update()).one()


def change_user(tx: Connection, user_id: int, **values: Any) -> None:
    """Change columns of a user's row."""
    tx.execute(update(_USERS).where(_USERS.c.id == user_id).values(values))


def audit_own(tx: Connection, user: Row[Any], action: str, now: datetime) -> None:
    """Note what a user has changed in their own account."""
    write_audit(tx, now, f"{PEOPLE_CLIENT}:{user.name}", action, user.name)
