"""What a service holds while it runs: memory, descriptors, threads and files."""

import contextlib
import os
import statistics
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path

MB = 1_000_000
_EVERY_S = 0.5


@dataclass(frozen=True, slots=True)
class Sample:
    """A look at all processes of a service: sums, the sizes in bytes."""

    rss: int
    descriptors: int
    threads: int
    wal: int
    temporary: int


# How much more there may be in the last third of a run than in the middle: a share, and beside it
# what a moment of more traffic takes.
_ALLOWED = {
    "rss": (0.05, 8 * MB),
    "descriptors": (0.0, 8),
    "threads": (0.0, 2),
    "wal": (0.25, 4 * MB),
    "temporary": (0.25, 1 * MB),
}


@dataclass
class Watch:
    """A thread that looks at processes and files twice a second."""

    list_processes: Callable[[], list[int]]
    wal: Path
    folder: Path
    samples: list[Sample] = field(default_factory=list)

    @contextlib.contextmanager
    def watching(self) -> Iterator["Watch"]:
        """Look until the block ends."""
        ended = threading.Event()

        def look() -> None:
            while not ended.wait(_EVERY_S):
                with contextlib.suppress(OSError):  # a process or a folder is gone since
                    self.samples.append(self._look())

        thread = threading.Thread(target=look)
        thread.start()
        try:
            yield self
        finally:
            ended.set()
            thread.join()

    def _look(self) -> Sample:
        pids = self.list_processes()
        return Sample(
            rss=sum(map(_read_rss, pids)),
            descriptors=sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in pids),
            threads=sum(len(os.listdir(f"/proc/{pid}/task")) for pid in pids),
            wal=_size(self.wal),
            temporary=sum(map(_size, self.folder.rglob("*"))),
        )


def _read_rss(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def find_growth(samples: list[Sample]) -> list[str]:
    """Return what the last third of a run holds more than the middle third, beyond what may be.

    >>> flat = [Sample(200 * MB, 90, 40, 4 * MB, 0)] * 20
    >>> find_growth(flat * 3)
    []
    >>> find_growth([*flat, *flat, *[Sample(220 * MB, 99, 40, 4 * MB, 0)] * 20])
    ['rss: 200000000, then 220000000', 'descriptors: 90, then 99']
    """
    third = len(samples) // 3
    middle, last = samples[third : 2 * third], samples[2 * third :]
    grown = []
    for name, (share, more) in _ALLOWED.items():
        before, after = _typical(middle, name), _typical(last, name)
        if after > before * (1 + share) + more:
            grown.append(f"{name}: {before:.0f}, then {after:.0f}")
    return grown


def _typical(samples: list[Sample], name: str) -> float:
    return statistics.median(getattr(sample, name) for sample in samples)


def describe(sample: Sample) -> str:
    """Return a sample as a line of figures.

    >>> describe(Sample(200 * MB, 90, 40, 4 * MB, 0))
    'rss 200.0 MB, descriptors 90, threads 40, wal 4.0 MB, temporary 0.0 MB'
    """
    sizes = ("rss", "wal", "temporary")
    values = {each.name: getattr(sample, each.name) for each in fields(sample)}
    return ", ".join(
        f"{name} {value / MB:.1f} MB" if name in sizes else f"{name} {value}"
        for name, value in values.items()
    )
