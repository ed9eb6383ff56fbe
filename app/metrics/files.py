"""The folder in which the processes of one machine count together.

Each process maps files of its own, named by its process id.  A scrape adds them up, so it is the
same whichever process answers it.  The counts of a process outlive it: a sum that falls would look
to Prometheus like a restart of all.

Every process holds a shared lock on the folder.  A process that gets it alone is the first one, and
removes what an earlier run has left.  The files of dead processes stay until then: a service that
is reloaded a hundred times without a restart has a hundred small files.
"""

import contextlib
import fcntl
import os
import re
import stat
from pathlib import Path

_LOCK = "lock"
_GAUGES_OF_LIVING = re.compile(r"gauge_live[a-z]*_([0-9]+)\.db")


class FolderRefused(Exception):
    """The folder for metrics belongs to another user, or cannot be made."""


def join_folder(folder: Path) -> int:
    """Make the folder, and clean it if no other process uses it.

    Returns the descriptor that holds the lock, to be kept open.  Raises FolderRefused.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _require_own(folder)
        descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError as e:
        raise FolderRefused(f"{folder}: {e.strerror}") from e
    with contextlib.suppress(BlockingIOError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for path in folder.glob("*.db"):
            path.unlink(missing_ok=True)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    return descriptor


def _require_own(folder: Path) -> None:
    """Raise FolderRefused if another user could write here: the place may be open to all."""
    facts = folder.lstat()
    if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.geteuid() or facts.st_mode & 0o022:
        raise FolderRefused(f"{folder} is not a folder that only this user can write to")


def list_files(folder: Path) -> list[str]:
    """Return the files to add up, after removing the gauges of processes that have died."""
    for path in folder.glob("gauge_live*.db"):
        match = _GAUGES_OF_LIVING.fullmatch(path.name)
        if match and not _is_alive(int(match[1])):
            path.unlink(missing_ok=True)
    # A file that was just made is still empty, and cannot be read.
    return [str(path) for path in folder.glob("*.db") if path.exists() and path.stat().st_size]


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it is another user's
    return True
