"""A Sinch of its own, how long it all takes, and what the dice begin with."""

import os
import random

import pytest

from tests.kills.conftest import sandbox_process, sinch

__all__ = ["sandbox_process", "sinch"]


@pytest.fixture
def minutes() -> float:
    """How long the traffic flows; `make soak MINUTES=30` sets it."""
    return float(os.environ.get("SOAK_MINUTES", "0.5"))


@pytest.fixture
def seed(minutes: float) -> int:
    """What the dice begin with, the same at every run of the test command."""
    drawn = 1 if minutes < 1 else random.randrange(1_000_000)
    return int(os.environ.get("SOAK_SEED", drawn))
