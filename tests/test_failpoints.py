"""The places where a test ends or freezes the process."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from app.config import ConfigError, read_config
from app.failpoints import Failpoints
from tests.environ import ROOT
from tests.factories import production, settings
from tests.machine import Together


def _armed(name, passes=1):
    struck = []
    failpoints = Failpoints()
    failpoints.arm(name, passes, lambda: struck.append(name))
    return failpoints, struck


def test_nothing_happens_unless_one_is_armed():
    Failpoints().reach("C3")


def test_it_strikes_at_the_pass_that_was_named_and_only_there():
    failpoints, struck = _armed("C3", 3)

    seen = []
    for _ in range(5):
        failpoints.reach("C3")
        seen.append(len(struck))

    assert seen == [0, 0, 1, 1, 1]


def test_other_places_do_not_count():
    failpoints, struck = _armed("C3")

    failpoints.reach("C4")
    failpoints.reach("C30")

    assert struck == []


def test_disarmed_it_does_not_strike():
    failpoints, struck = _armed("C3")
    failpoints.arm(None)

    failpoints.reach("C3")

    assert struck == []


def test_of_many_threads_that_pass_one_is_struck():
    failpoints, struck = _armed("C3", 50)

    def pass_often():
        for _ in range(25):
            failpoints.reach("C3")

    Together(*[pass_often] * 4).join()

    assert struck == ["C3"]


def _run(code):
    return subprocess.Popen(
        [sys.executable, "-c", f"from app.failpoints import failpoints\n{code}"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={"PATH": os.environ["PATH"]},
    )


def test_by_default_the_process_is_killed_and_no_handler_runs():
    process = _run(
        "import atexit\natexit.register(print, 'cleaned up')\n"
        "failpoints.arm('C3', 2)\nfailpoints.reach('C3')\nprint('once', flush=True)\n"
        "failpoints.reach('C3')\nprint('twice', flush=True)"
    )

    output, _ = process.communicate(timeout=60)

    assert process.returncode == -signal.SIGKILL
    assert output == b"once\n"


def test_at_c8_the_process_freezes_until_it_is_woken():
    process = _run("failpoints.arm('C8')\nfailpoints.reach('C8')\nprint('awake', flush=True)")
    try:
        deadline = time.monotonic() + 60
        while _state_of(process.pid) != "T":
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(signal.SIGCONT)

        output, _ = process.communicate(timeout=60)
    finally:
        process.kill()

    assert output == b"awake\n"


def _state_of(pid):
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_a_setting_arms_one_in_tests_and_nowhere_else():
    assert read_config(settings(FAILPOINT="C3:2")).failpoint == ("C3", 2)
    with pytest.raises(ConfigError, match="FAILPOINT"):
        read_config(production(FAILPOINT="C3:2"))
