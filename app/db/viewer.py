"""The wall between clients: which rows the caller of a function may see."""

from dataclasses import dataclass

from sqlalchemy import ColumnElement, true
from sqlalchemy.orm import InstrumentedAttribute


@dataclass(frozen=True, slots=True)
class Viewer:
    """The client that rows are read or changed for.

    `sees_all` lifts the wall: the key has the scope `clients:all`, or the caller is the command
    line or a background job, which have no client.
    """

    client: str | None = None
    sees_all: bool = True

    def sees(self, client: ColumnElement[str] | InstrumentedAttribute[str]) -> ColumnElement[bool]:
        """Return the condition that a row, with this column of its client, is not hidden."""
        return true() if self.sees_all else client == self.client


# The command line and background jobs.
NO_WALL = Viewer()
