"""Many texts in one statement: handed over as one value, for as a list of values they would have
to be compiled for each number of them, at twice the cost of the look-up, and have a limit."""

import json
from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import ARRAY, Connection, Select, String, Text, bindparam, func, select

# The texts of the parameter `these`, as a subquery, by the dialect's name.
THESE: Mapping[str, Select[tuple[Any]]] = {
    "sqlite": select(func.json_each(bindparam("these", type_=Text)).table_valued("value").c.value),
    "postgresql": select(func.unnest(bindparam("these", type_=ARRAY(String)))),
}


def pack(tx: Connection, texts: Collection[str]) -> Any:
    """Texts as the value of that parameter."""
    return json.dumps(list(texts)) if tx.dialect.name == "sqlite" else list(texts)
