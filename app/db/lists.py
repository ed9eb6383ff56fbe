"""Many values in one statement.

Texts are passed as one parameter: as a list of parameters the statement would be compiled anew
for each length, at twice the cost of the query, and their number would be limited.
"""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from sqlalchemy import ARRAY, Connection, Select, String, Text, bindparam, func, select

# Maximum number of values in one statement.
QUERY_CHUNK_SIZE = 1_000

T = TypeVar("T")

# Subquery of the texts in the parameter `these`, by dialect name.
THESE: Mapping[str, Select[tuple[Any]]] = {
    "sqlite": select(func.json_each(bindparam("these", type_=Text)).table_valued("value").c.value),
    "postgresql": select(func.unnest(bindparam("these", type_=ARRAY(String)))),
}


def pack(tx: Connection, texts: Collection[str]) -> Any:
    """Pack texts into the value of the parameter `these`."""
    return json.dumps(list(texts)) if tx.dialect.name == "sqlite" else list(texts)


def chunked(values: Sequence[T], size: int = QUERY_CHUNK_SIZE) -> Iterator[Sequence[T]]:
    """Yield the values in chunks of at most `size`, in order.

    >>> [len(chunk) for chunk in chunked(["+4670"] * 2001)]
    [1000, 1000, 1]
    """
    for start in range(0, len(values), size):
        yield values[start : start + size]
