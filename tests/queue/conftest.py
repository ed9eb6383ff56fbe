"""A broker, a Sinch that outlives every kill, and a crew between them."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.kills.conftest import sandbox_process, seed, sinch, size
from tests.kills.ledger import LedgeredSandbox
from tests.queue.crew import Broker, Crew, crew

__all__ = ["sandbox_process", "seed", "sinch", "size"]


@pytest.fixture
def broker() -> Iterator[Broker]:
    broker = Broker().start()
    yield broker
    broker.kill()


@pytest.fixture
def make_crew(
    sinch: LedgeredSandbox, broker: Broker, tmp_path: Path
) -> Iterator[Callable[..., Crew]]:
    """A function that makes a crew over this test's broker, on the database that it is given."""
    with ExitStack() as stack:

        def make(database_url: str, **overrides: str) -> Crew:
            ours = {
                "SINCH_REGION_URL": sinch.url,
                "REDIS_URL": broker.url,  # alone, as docs/scaling.md says
                "DATABASE_URL": database_url,
            }
            return stack.enter_context(crew(tmp_path, **ours | overrides))

        yield make
