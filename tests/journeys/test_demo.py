"""`make demo`'s program: a service full of made-up people, and nothing of it afterwards."""

import os
import re
import signal
import subprocess
import sys

import pytest
import requests

from tests.environ import ROOT


@pytest.fixture
def demo(tmp_path):
    """A small demo, as a process whose temporary files are in `tmp_path`."""
    process = subprocess.Popen(
        [sys.executable, "-m", "app.cli.demo", "--people", "150"],
        cwd=ROOT,
        env={
            "PATH": os.environ["PATH"],
            "TMPDIR": str(tmp_path),
            "DATABASE_URL": "sqlite:///no.db",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    yield process
    if process.poll() is None:
        process.terminate()
        process.wait(60)
    process.stdout.close()


def test_the_demo_shows_every_kind_of_broadcast_and_leaves_nothing(demo, tmp_path):
    printed = ""
    while "its key" not in printed:
        line = demo.stdout.readline()
        assert line, printed
        printed += line
    link = re.search(r"http\S+/invite/\S+", printed)[0]
    url, key = link.partition("/invite")[0], printed.split()[-1]

    asked = requests.get(f"{url}/api/broadcasts", headers={"X-API-Key": key}, timeout=60).json()
    invitation = requests.get(link, timeout=60)
    os.killpg(demo.pid, signal.SIGINT)  # a terminal's Ctrl-C
    code = demo.wait(60)

    mine = [row for row in asked["broadcasts"] if row["client"] == "local"]
    expected = {"scheduled", "complete", "complete_needs_attention", "sending"}
    assert {row["status"] for row in mine} | {"sending"} == expected
    assert (invitation.status_code, "Anna Norling" in invitation.text) == (200, True)
    assert (code, list(tmp_path.iterdir())) == (0, [])
    assert "Traceback" not in demo.stdout.read()
    with pytest.raises(requests.ConnectionError):
        requests.get(f"{url}/health", timeout=5)
    assert not (ROOT / "no.db").exists()
