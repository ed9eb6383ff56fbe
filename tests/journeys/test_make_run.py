"""`make run`'s program: from nothing to a curl that works, and down again."""

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from app.cli.up import read_first_key, write_env_file
from tests.environ import ROOT
from tests.factories import broadcast_to, in_hours, many_numbers
from tests.sandbox_control import SandboxControl
from tests.wire import unused_port


@pytest.fixture
def checkout(tmp_path):
    """A copy of the sources in a folder of its own, without an .env."""
    return _copy_sources(tmp_path / "clarion")


@pytest.fixture
def start(checkout, tmp_path):
    """A function that starts `python -m app.cli.up` there, ended by the test or afterwards."""
    with _starting(checkout, tmp_path / "output") as start:
        yield start


@pytest.fixture(scope="module")
def clarion(tmp_path_factory):
    """One that runs for all tests which leave it as it is, where a proxy leads to the network."""
    folder = tmp_path_factory.mktemp("shared")
    checkout, ports = _copy_sources(folder / "clarion"), _ports()
    with _starting(checkout, folder / "output") as start:
        process, output = start(**ports, http_proxy=f"http://127.0.0.1:{unused_port()}")
        _wait_for(output, "Ctrl-C stops everything", process)
        printed = output.read_text()
        key = re.search(r"X-API-Key: ([\w-]+)", printed)[1]
        yield Running(checkout, ports, key, printed)
        process.terminate()
        assert process.wait(90) == 0
        assert _processes_in(checkout) == []


@dataclass(frozen=True)
class Running:
    """Clarion as `make run` starts it: its folder, ports, first key, and what it printed."""

    checkout: Path
    ports: dict[str, str]
    key: str
    printed: str

    def get(self, path):
        return requests.get(self._url(path), headers={"X-API-Key": self.key}, timeout=60).json()

    def post(self, path, body):
        headers = {"X-API-Key": self.key}
        return requests.post(self._url(path), json=body, headers=headers, timeout=60).json()

    def _url(self, path):
        return f"http://127.0.0.1:{self.ports['PORT']}{path}"


def _copy_sources(folder):
    folder.mkdir()
    for name in ("app", "wsgi.py", "gunicorn.conf.py", ".env.example"):
        source = ROOT / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, folder / name)
    return folder


@contextlib.contextmanager
def _starting(checkout, output):
    started = []

    def start(**environ):
        with output.open("ab") as file:
            started.append(
                subprocess.Popen(
                    [sys.executable, "-m", "app.cli.up"],
                    cwd=checkout,
                    env={"PATH": os.environ["PATH"], **environ},
                    stdout=file,
                    stderr=file,
                    start_new_session=True,
                )
            )
        return started[-1], output

    try:
        yield start
    finally:
        for process in started:
            if process.poll() is None:
                process.terminate()
                process.wait(90)


def _wait_for(output: Path, pattern: str, process) -> re.Match[str]:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        found = re.search(pattern, output.read_text(), re.S)
        if found:
            return found
        assert process.poll() is None, output.read_text()
        time.sleep(0.05)
    raise AssertionError(output.read_text())


def _ports():
    return {
        "PORT": str(unused_port()),
        "SINCH_REGION_URL": f"http://127.0.0.1:{unused_port()}",
    }


def test_the_curl_it_prints_works(clarion):
    curl = re.search(r"curl -X POST.*?'\n", clarion.printed, re.S)[0].replace("\\\n", "")

    sent = subprocess.run(
        [*shlex.split(curl), "-s", "-w", " %{http_code}"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )

    assert sent.stdout.endswith(" 202")
    assert "SMS batch submitted successfully to Sinch." in sent.stdout


def test_the_command_line_it_prints_works_and_what_it_sends_is_reported_on(clarion):
    """The settings for callbacks are in .env: a command in another terminal has them, too."""
    command = re.search(r"^cd .* && .\n.* send --to .*$", clarion.printed, re.M)[0]

    def run(line):
        environ = {"PATH": os.environ["PATH"], **clarion.ports}
        return subprocess.run(
            line,
            shell=True,
            env=environ,
            cwd=clarion.checkout,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    sent = run(command)

    assert sent.returncode == 0, sent.stderr
    public_id = sent.stdout.split()[1]
    _until(lambda: clarion.get(f"/api/broadcasts/{public_id}")["counts"]["delivered"] == 1)
    show = f"{sys.executable} -m flask --app wsgi broadcasts show --json {public_id}"
    assert json.loads(run(show).stdout)["counts"]["delivered"] == 1
    seen = clarion.get("/api/broadcasts?client=cli")["broadcasts"]
    assert [(row["broadcast_id"], row["client"]) for row in seen] == [(public_id, "cli")]


def _until(done):
    """Sooner than Clarion asks, which is after ten minutes."""
    deadline = time.monotonic() + 90
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def _processes_in(folder):
    """What still runs with that folder as its working directory."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.readlink(f"/proc/{pid}/cwd") == str(folder):
                found.append(Path(f"/proc/{pid}/cmdline").read_bytes())
        except OSError:
            continue
    return found


def test_the_sandbox_tells_what_became_of_it_and_what_phones_answer(clarion):
    sandbox = SandboxControl(clarion.ports["SINCH_REGION_URL"])
    sandbox.reset()  # it signs as it was started

    sent = clarion.post("/api/broadcast", broadcast_to("+46701234567", "+12025550101"))
    sandbox.text_from("+46701234567", "STOP")

    _until(lambda: clarion.get(sent["url"])["all_reported_at"])
    _until(lambda: clarion.get("/api/inbounds")["inbounds"])
    counts = clarion.get(sent["url"])["counts"]
    assert (counts["delivered"], counts["failed"]) == (1, 1)
    assert {each["status"] for each in sandbox.callbacks()} == {200}


def test_a_taken_port_is_named(clarion, start):
    port = clarion.ports["PORT"]

    second, output = start(**clarion.ports)

    assert second.wait(90) == 1
    assert f"port {port} is taken: set another PORT" in output.read_text()


def test_the_settings_it_writes_are_secret_and_strong(tmp_path):
    path = tmp_path / ".env"

    assert write_env_file(path, example=ROOT / ".env.example")
    assert not write_env_file(path, example=ROOT / ".env.example")

    assert path.stat().st_mode & 0o777 == 0o600
    written = dict(re.findall(r"^([A-Z_]+)=(.*)$", path.read_text(), re.M))
    assert re.fullmatch(r"local\[\* clients:all\]:[\w-]{43}", written["API_KEYS"])
    assert re.fullmatch(r"[\w-]{64}", written["SECRET_KEY"])


def test_ctrl_c_stops_all_once_the_broadcast_in_hand_is_answered_and_a_second_start_keeps_it(
    checkout, start
):
    ports = _ports()
    process, output = start(**ports)
    key = _wait_for(output, r"X-API-Key: ([\w-]+)", process)[1]
    _wait_for(output, "Ctrl-C stops everything", process)
    first = (checkout / ".env").read_text()
    api, headers = f"http://127.0.0.1:{ports['PORT']}", {"X-API-Key": key}
    body = broadcast_to(*many_numbers(1001), send_at=in_hours(24))
    kept = requests.post(f"{api}/api/broadcast", json=body, headers=headers, timeout=60).json()
    sandbox = SandboxControl(ports["SINCH_REGION_URL"])
    sandbox.order_fault(on="POST /batches", when="after", do="drip", delay_s=1, byte_delay_s=0)
    answers = []

    def send():
        body = broadcast_to("+46701234567")
        answers.append(
            requests.post(f"{api}/api/broadcast", json=body, headers=headers, timeout=60)
        )

    sending = threading.Thread(target=send)
    sending.start()
    while not sandbox.posts():
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)  # a terminal's Ctrl-C goes to the whole group
    code = process.wait(90)
    sending.join(60)
    left, printed = _processes_in(checkout), output.read_text()

    again, output = start(**ports)
    _wait_for(output, "Ctrl-C stops everything.*Ctrl-C stops everything", again)
    links = re.findall(r"(?m)^http://127.0.0.1:(\d+)/invite/([\w-]{43})$", output.read_text())
    shown = requests.get(api + kept["url"], headers=headers, timeout=60).json()

    assert (code, left) == (0, [])
    assert "Traceback" not in printed
    assert [answer.status_code for answer in answers] == [202]
    assert (checkout / ".env").read_text() == first
    assert (shown["status"], shown["counts"]["pending"]) == ("scheduled", 1001)
    # Neither link was used: the second start makes a new one.
    assert [port for port, _ in links] == [ports["PORT"]] * 2
    assert links[0] != links[1]

    _end_when_the_sandbox_dies(again, checkout)


def _end_when_the_sandbox_dies(process, checkout):
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()

    os.kill(int(children[0]), signal.SIGKILL)

    assert process.wait(90) != 0
    assert _processes_in(checkout) == []


@pytest.mark.parametrize("first", ["shop:first-key", "shop[* clients:all]:first-key", "first-key"])
def test_the_key_shown_is_the_one_in_the_environment(monkeypatch, first):
    monkeypatch.setenv("API_KEYS", f"{first}, other:second-key")

    assert read_first_key() == "first-key"
