"""Interrupts of a command: Ctrl-C, a service manager, a lost connection."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def interrupts() -> Iterator[Callable[[], bool]]:
    """Yield a function that returns True after an interrupt, so that the current work can end.

    Inside the block an interrupt has no other effect.
    """
    received: list[int] = []

    def record(number: int, frame: FrameType | None) -> None:
        received.append(number)

    before = {number: signal.signal(number, record) for number in _INTERRUPTS}
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
