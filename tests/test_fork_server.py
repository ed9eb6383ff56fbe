"""A process of the fork server is a process like any other."""

import os
import signal
import subprocess

import pytest

from tests.environ import clean_environ
from tests.factories import settings
from tests.fork_server import start
from tests.processes import GUNICORN


@pytest.fixture
def output(tmp_path):
    return tmp_path / "output"


@pytest.fixture
def endless(output):
    process = start(["python", "-m", "http.server", "0", "--bind", "127.0.0.1"], {}, output)
    yield process
    process.kill_group()


def test_it_runs_the_module_with_its_arguments_and_tells_its_exit_code(output):
    good = start(["python", "-m", "sysconfig"], {}, output)
    assert good.wait(90) == 0
    assert output.read_text().startswith("Platform: ")

    bad = start(["python", "-m", "json.tool", "/is/not/there"], {}, output)
    assert bad.wait(90) == 2
    assert bad.poll() == 2
    assert "/is/not/there" in output.read_text()


def test_its_environment_is_the_one_it_is_given(output):
    named = settings(SECRET_KEY="")
    process = start(GUNICORN, clean_environ(named), output)

    assert process.wait(90) == 78
    assert output.read_text().startswith("clarion: set SECRET_KEY")


def test_it_leads_a_session_of_its_own(endless):
    assert endless.poll() is None
    assert os.getsid(endless.pid) == endless.pid != os.getsid(0)


def test_what_is_killed_is_gone_and_known_to_be(endless):
    with pytest.raises(subprocess.TimeoutExpired):
        endless.wait(0.01)

    endless.send_signal(signal.SIGKILL)

    assert endless.wait(90) == -signal.SIGKILL
    with pytest.raises(ProcessLookupError):
        os.kill(endless.pid, 0)
