"""Single facts kept in the database: by name, as text."""

from sqlalchemy import Connection, delete, select, update

from app.db.base import Fact
from app.db.engine import insert_new


def read_fact(tx: Connection, name: str) -> str | None:
    """A fact; None when it was never kept."""
    return tx.execute(select(Fact.value).where(Fact.name == name)).scalar()


def keep_fact(tx: Connection, name: str, value: str) -> None:
    """Keep a fact in place of the one of this name."""
    if not insert_new(tx, Fact, name=name, value=value):
        tx.execute(update(Fact).where(Fact.name == name).values(value=value))


def forget_fact(tx: Connection, name: str) -> None:
    """Keep this fact no longer."""
    tx.execute(delete(Fact).where(Fact.name == name))
