"""Many values in one statement.

Phone numbers are passed as one parameter: with one for each the statement would be compiled anew
for each length, at twice the cost of the query, and their number would be limited.
"""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from sqlalchemy import ARRAY, Connection, Select, String, Text, bindparam, func, select

# Maximum number of values in one statement.
QUERY_CHUNK_SIZE = 1_000

T = TypeVar("T")

# Subquery of the phone numbers in the parameter `phones`, by dialect name.
PHONES: Mapping[str, Select[tuple[Any]]] = {
    "sqlite": select(func.json_each(bindparam("phones", type_=Text)).table_valued("value").c.value),
    "postgresql": select(func.unnest(bindparam("phones", type_=ARRAY(String)))),
}


def pack(tx: Connection, phones: Collection[str]) -> Any:
    """Pack phone numbers into the value of the parameter `phones`."""
    return json.dumps(list(phones)) if tx.dialect.name == "sqlite" else list(phones)


def chunked(values: Sequence[T], size: int = QUERY_CHUNK_SIZE) -> Iterator[Sequence[T]]:
    """Yield the values in chunks of at most `size`, in order.

    >>> [len(chunk) for chunk in chunked(["+4670"] * 2001)]
    [1000, 1000, 1]
    """
    for start in range(0, len(values), size):
        yield values[start : start + size]
