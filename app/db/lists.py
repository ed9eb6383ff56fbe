"""Many values in one statement: handed over as one, which neither has to be compiled for each
number of them nor meets a database's limit of parameters."""

import json
from collections.abc import Callable, Collection, Mapping
from typing import Any

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Connection,
    Select,
    String,
    Text,
    any_,
    bindparam,
    func,
    select,
)

Among = Callable[[ColumnElement[Any], str], ColumnElement[bool]]


def _among_sqlite(column: ColumnElement[Any], name: str) -> ColumnElement[bool]:
    values = func.json_each(bindparam(name, type_=Text)).table_valued("value")
    return column.in_(select(values.c.value))


def _among_postgres(column: ColumnElement[Any], name: str) -> ColumnElement[bool]:
    return column == any_(bindparam(name, type_=ARRAY(String)))


def make_for_each(build: Callable[[Among], Select[Any]]) -> Mapping[str, Select[Any]]:
    """A statement for either database, by its dialect's name.

    `build` is given a function that makes the condition that a column of texts is among the texts
    that `pack` makes the named parameter of.
    """
    return {"sqlite": build(_among_sqlite), "postgresql": build(_among_postgres)}


def pack(tx: Connection, values: Collection[str]) -> Any:
    """Texts as the parameter of such a statement."""
    return json.dumps(list(values)) if tx.dialect.name == "sqlite" else list(values)
