"""Many texts in one statement: handed over as one value, for as a list of values they would have
to be compiled for each number of them, at twice the cost of the look-up, and have a limit."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from sqlalchemy import ARRAY, Connection, Select, String, Text, bindparam, func, select

# Values that one statement takes at most.
QUERY_CHUNK_SIZE = 1_000

T = TypeVar("T")

# The texts of the parameter `these`, as a subquery, by the dialect's name.
THESE: Mapping[str, Select[tuple[Any]]] = {
    "sqlite": select(func.json_each(bindparam("these", type_=Text)).table_valued("value").c.value),
    "postgresql": select(func.unnest(bindparam("these", type_=ARRAY(String)))),
}


def pack(tx: Connection, texts: Collection[str]) -> Any:
    """Texts as the value of that parameter."""
    return json.dumps(list(texts)) if tx.dialect.name == "sqlite" else list(texts)


def chunked(values: Sequence[T], size: int = QUERY_CHUNK_SIZE) -> Iterator[Sequence[T]]:
    """Yield the values in groups of at most `size`, in their order.

    >>> [len(chunk) for chunk in chunked(["+4670"] * 2001)]
    [1000, 1000, 1]
    """
    for start in range(0, len(values), size):
        yield values[start : start + size]
