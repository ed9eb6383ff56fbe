"""A Sinch of its own, what it all runs on and how long, and what the dice begin with."""

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kills.conftest import sandbox_process, sinch
from tests.queue.conftest import broker
from tests.queue.crew import Crew, crew

__all__ = ["broker", "sandbox_process", "sinch"]


@pytest.fixture
def database_url(request: pytest.FixtureRequest, database_url: str) -> str:
    """SQLite; `make soak DATABASE=postgresql` asks for a PostgreSQL."""
    kind = os.environ.get("SOAK_DATABASE", "sqlite")
    if kind == "sqlite":
        return database_url
    assert kind == "postgresql", f"DATABASE is sqlite or postgresql, not {kind}"
    url: str = request.getfixturevalue("postgres").create_database()
    return url


@pytest.fixture
def celery(
    request: pytest.FixtureRequest, database_url: str, tmp_path: Path
) -> Iterator[Crew | None]:
    """A broker with room for a worker and beat if `make soak CELERY=1` asks for them, else None."""
    if not os.environ.get("SOAK_CELERY"):
        yield None
        return
    broker_url = request.getfixturevalue("broker").url
    with crew(tmp_path, DATABASE_URL=database_url, REDIS_URL=broker_url) as found:
        yield found


@pytest.fixture
def minutes() -> float:
    """How long the traffic flows; `make soak MINUTES=30` sets it."""
    return float(os.environ.get("SOAK_MINUTES", "0.5"))


@pytest.fixture
def seed(minutes: float) -> int:
    """What the dice begin with, the same at every run of the test command."""
    drawn = 1 if minutes < 1 else random.randrange(1_000_000)
    return int(os.environ.get("SOAK_SEED", drawn))
