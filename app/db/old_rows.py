"""Rows whose time is over: count them, or delete them in small transactions."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    Table,
    bindparam,
    delete,
    func,
    select,
    tuple_,
)

from app.db.engine import Database

# Rows in one transaction: it lasts about a hundredth of a second, and others wait no longer.
GROUP = 500

Stop = Callable[[], bool]


def never() -> bool:
    """Do not stop."""
    return False


def stop_after(seconds: float) -> Stop:
    """Return a function that returns True once that time has passed."""
    deadline = time.monotonic() + seconds
    return lambda: time.monotonic() > deadline


@dataclass(frozen=True, slots=True)
class OldRows:
    """Rows of a table that meet a condition."""

    table: Table
    condition: ColumnElement[bool]

    def count(self, db: Database) -> int:
        """Return how many there are."""
        with db.read() as tx:
            query = select(func.count()).select_from(self.table).where(self.condition)
            return int(tx.execute(query).scalar_one())

    def delete(self, db: Database, *, stop: Stop = never) -> int:
        """Delete them, until `stop` returns True.  Returns how many."""
        with db.read() as tx:
            if tx.execute(self._select_keys().limit(1)).first() is None:
                return 0  # a write would wait for its turn
        deleted = 0
        while True:
            with db.write() as tx:
                rows = self._delete_group(tx)
            deleted += rows
            if rows < GROUP or stop():
                return deleted
            db.give_way()

    def _select_keys(self) -> Select[Any]:
        return select(*self.table.primary_key).where(self.condition)

    def _delete_group(self, tx: Connection) -> int:
        """Delete at most GROUP of them.  Returns how many."""
        some = self._select_keys().limit(GROUP)
        key = list(self.table.primary_key)
        if tx.dialect.name != "sqlite":
            return tx.execute(delete(self.table).where(tuple_(*key).in_(some))).rowcount
        # One by one: SQLite would read the whole table to find a list of composite keys.
        rows = tx.execute(some).all()
        this = (column == bindparam(f"old_{column.name}") for column in key)
        if rows:
            keys = [{f"old_{name}": v for name, v in row._mapping.items()} for row in rows]
            tx.execute(delete(self.table).where(*this), keys)
        return len(rows)
