"""The wall between clients: which rows the caller of a function may see."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Table, select, true


@dataclass(frozen=True, slots=True)
class Viewer:
    """The client that rows are read or changed for, and the limits of the key that it came with.

    `sees_all` lifts the wall: the key has the scope `clients:all`, or the caller is the command
    line or a background job, which have no client.  `key_id` is that of a key of the database,
    whose caps and `countries` limit what the caller sends; None for all countries.
    """

    client: str | None = None
    sees_all: bool = True
    key_id: int | None = None
    countries: frozenset[str] | None = None

    def sees(self, client: ColumnElement[str]) -> ColumnElement[bool]:
        """Return the condition that a row, with this column of its client, is not hidden."""
        return true() if self.sees_all else client == self.client

    def find(self, tx: Connection, table: Table, public_id: str, *, lock: bool) -> Row[Any] | None:
        """Return the row of this id; `lock` locks it until the transaction ends.

        Returns None for an unknown id and for a row of another client alike.
        """
        query = select(table).where(table.c.public_id == public_id, self.sees(table.c.client))
        return tx.execute(query.with_for_update() if lock else query).first()


# The command line and background jobs.
NO_WALL = Viewer()
