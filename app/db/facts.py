"""Single facts kept in the database: by name, as text."""

from sqlalchemy import Connection, delete, select, update

from app.db.base import Metadata
from app.db.engine import insert_new


def read_metadata(tx: Connection, name: str) -> str | None:
    """A fact; None when it was never kept."""
    return tx.execute(select(Metadata.value).where(Metadata.name == name)).scalar()


def set_metadata(tx: Connection, name: str, value: str) -> None:
    """Keep a fact in place of the one of this name."""
    if not insert_new(tx, Metadata, name=name, value=value):
        tx.execute(update(Metadata).where(Metadata.name == name).values(value=value))


def delete_metadata(tx: Connection, name: str) -> None:
    """Keep this fact no longer."""
    tx.execute(delete(Metadata).where(Metadata.name == name))
