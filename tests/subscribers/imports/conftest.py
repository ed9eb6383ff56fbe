"""The end of a process in the middle of an import."""

from collections.abc import Callable, Iterator

import pytest

from app.failpoints import failpoints
from tests.subscribers.imports.imports import Ended


@pytest.fixture
def end_at() -> Iterator[Callable[[str, int], None]]:
    """A function that ends the work at a pass of a place, once."""

    def arm(place: str, passes: int) -> None:
        def end() -> None:
            raise Ended

        failpoints.arm(place, passes, end)

    yield arm
    failpoints.arm(None)
