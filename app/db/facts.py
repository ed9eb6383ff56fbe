"""Key-value rows of the installation."""

from sqlalchemy import Connection, bindparam, delete, select

from app.db.base import Metadata, table_of
from app.db.engine import insert_new
from app.db.prepared import Prepared, PreparedUpdate

_METADATA = table_of(Metadata)
_VALUE = Prepared(select(_METADATA.c.value).where(_METADATA.c.name == bindparam("name")))
_UPDATE = PreparedUpdate(_METADATA)


def read_metadata(tx: Connection, name: str) -> str | None:
    """Return a value, or None if it is not set."""
    row = _VALUE.first(tx, {"name": name})
    return row.value if row else None


def set_metadata(tx: Connection, name: str, value: str) -> None:
    """Set a value."""
    if not insert_new(tx, Metadata, name=name, value=value):
        _UPDATE.run(tx, name, {"value": value})


def delete_metadata(tx: Connection, name: str) -> None:
    """Delete a value."""
    tx.execute(delete(Metadata).where(Metadata.name == name))
