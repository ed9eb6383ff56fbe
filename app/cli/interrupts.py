"""Being told to stop: Ctrl-C, a service manager, a lost connection."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

# What is in hand is finished first.
_INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def interrupts() -> Iterator[Callable[[], bool]]:
    """Whether we were told to stop, which inside here stops nothing by itself."""
    pressed: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        pressed.append(number)

    before = {number: signal.signal(number, note) for number in _INTERRUPTS}
    try:
        yield lambda: bool(pressed)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
