"""Key-value rows of the installation."""

from sqlalchemy import Connection, delete, select, update

from app.db.base import Metadata
from app.db.engine import insert_new


def read_metadata(tx: Connection, name: str) -> str | None:
    """Return a value, or None if it is not set."""
    return tx.execute(select(Metadata.value).where(Metadata.name == name)).scalar()


def set_metadata(tx: Connection, name: str, value: str) -> None:
    """Set a value."""
    if not insert_new(tx, Metadata, name=name, value=value):
        tx.execute(update(Metadata).where(Metadata.name == name).values(value=value))


def delete_metadata(tx: Connection, name: str) -> None:
    """Delete a value."""
    tx.execute(delete(Metadata).where(Metadata.name == name))
