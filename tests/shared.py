"""What all processes of a test run use: made by the first that needs it, copied by the others."""

import atexit
import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

_NAME = "CLARION_TESTS_SHARED"


def open_folder() -> Path:
    """Return the folder of this run.  The first process makes it, and removes it at its end."""
    if _NAME not in os.environ:
        os.environ[_NAME] = tempfile.mkdtemp(prefix="clarion-shared-")
        atexit.register(shutil.rmtree, os.environ[_NAME], ignore_errors=True)
    return Path(os.environ[_NAME])


def name_folder() -> dict[str, str]:
    """Return what the environment of a process needs to find this folder."""
    return {_NAME: str(open_folder())}


@contextlib.contextmanager
def lock(name: str) -> Iterator[Path]:
    """Keep other processes of this run from a path.  Yields the path."""
    path = open_folder() / name
    with path.with_suffix(".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield path


def make_once(name: str, make: Callable[[Path], None]) -> Path:
    """Return a path that `make` has made, once in a run: others wait for it meanwhile."""
    with lock(name) as path:
        if not path.exists():
            unfinished = path.with_suffix(".unfinished")
            make(unfinished)
            unfinished.rename(path)
    return path
