"""Processes that see and may write what a container or a unit of systemd lets them.

Each has a root of its own: the machine's programs, the project at /opt/clarion, and its folders, of
which it may write to these alone.  Its user is a stranger to the machine, without any capability.
"""

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.environ import ROOT

STRANGER = 10_001  # the user of the Containerfile
PROJECT = "/opt/clarion"
_PROGRAMS = ("/usr", "/etc", "/bin", "/lib", "/lib64", "/sbin")
_FILES = ("app", "wsgi.py", "gunicorn.conf.py")
_TOOLS = ("unshare", "mount", "chroot", "setpriv", "env")
# PR_SET_MDWE, which is inherited; kernels before 6.3 lack it.
_DENY_WRITE_EXECUTE = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(65, 1, 0, 0, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


def require_roots() -> None:
    """Skip the test where a process cannot get a root of its own."""
    tools = [name for name in _TOOLS if shutil.which(name) is None]
    if os.geteuid() != 0 or tools:
        pytest.skip(f"a root of its own needs the user root and util-linux {tools}")
    tried = subprocess.run(
        ["unshare", "--mount", "mount", "-t", "tmpfs", "tried", "/mnt"],
        capture_output=True,
        text=True,
        check=False,
    )
    if tried.returncode:
        pytest.skip(f"no mounts for a root of its own: {tried.stderr.strip()}")


@dataclass
class Isolated:
    """A command, its whole environment, and the folders that it may write to, by their paths.

    A unit sees no process but those of its user, nothing else in /proc, and makes no memory
    executable: ProtectProc, ProcSubset and MemoryDenyWriteExecute.
    """

    command: Sequence[str]
    environ: Mapping[str, str]
    writable: Mapping[str, Path]
    output: Path
    hosts: Sequence[str] = ()
    is_unit: bool = False
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    def start(self) -> None:
        """Start it, in a session of its own."""
        for folder in self.writable.values():
            folder.mkdir(parents=True, exist_ok=True)
            os.chown(folder, STRANGER, STRANGER)
        (self.output.parent / "hosts").write_text(
            "".join(f"127.0.0.1 {name}\n" for name in ("localhost", *self.hosts))
        )
        root = self.output.with_suffix(".root")
        root.mkdir(exist_ok=True)
        unshare = [shutil.which("unshare") or "", "--mount", "--propagation", "private"]
        with self.output.open("ab") as log:
            self._process = subprocess.Popen(
                [*unshare, "/bin/sh", "-ec", self._script(root)],
                env=dict(self.environ),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def stop(self, *, within_s: float) -> int:
        """Ask it to end.  Returns its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(within_s)

    def kill(self) -> None:
        """End it and all that it has started."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(60)

    def _script(self, root: Path) -> str:
        """Return the lines of a shell that make the root and become the command in it."""
        tools = {name: shutil.which(name) for name in (*_TOOLS, "mkdir", "ln", "touch")}
        lines = [f"{tools['mount']} -t tmpfs -o mode=755 root {root}"]

        def bind(source: object, target: str, options: str = "--bind -o ro") -> None:
            path = f"{root}{target}"
            make = f"{tools['mkdir']} -p {path}"
            if Path(str(source)).is_file():
                make = f"{tools['mkdir']} -p {Path(path).parent}; {tools['touch']} {path}"
            lines.append(f"[ -e {path} ] || {{ {make}; }}")
            lines.append(f"{tools['mount']} {options} {source} {path}")

        for path in map(Path, _PROGRAMS):
            if path.is_symlink():
                lines.append(f"{tools['ln']} -s {path.readlink()} {root}{path}")
            elif path.exists():
                bind(path, str(path))
        environment = os.path.realpath(sys.prefix)
        for name in _FILES:
            bind(ROOT / name, f"{PROJECT}/{name}")
        bind(environment, f"{PROJECT}/.venv")
        bind(self.output.parent / "hosts", "/etc/hosts")
        bind("/dev", "/dev", "--rbind")
        if self.is_unit:
            bind("proc", "/proc", "-t proc -o subset=pid,hidepid=invisible")
        else:
            bind("/proc", "/proc", "--rbind")
        for target, folder in self.writable.items():
            bind(folder, target, "--bind")
        # Behind those: the project of the tests may be in a folder like /tmp.
        for path in dict.fromkeys((environment, os.path.realpath(sys.base_prefix))):
            bind(path, path)
        lines.append(f"{tools['mount']} -o remount,ro root {root}")
        become = [tools["setpriv"], f"--reuid={STRANGER}", f"--regid={STRANGER}", "--clear-groups"]
        become += ["--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"]
        if self.is_unit:
            become += [f"{PROJECT}/.venv/bin/python", "-Ic", _DENY_WRITE_EXECUTE]
        words = [tools["chroot"], root, *become, tools["env"], f"--chdir={PROJECT}", *self.command]
        return "\n".join([*lines, "umask 0077", f"exec {shlex.join(map(str, words))}"])
