"""The units of systemd: they are valid, and expose little."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.environ import ROOT

UNITS = sorted((ROOT / "deploy/systemd").glob("*.service"))
# Of 10; systemd calls 1.6 to 2.5 "OK".
MOST_EXPOSED = 2.0

pytestmark = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed"
)


def _analyze(*arguments, **environ):
    return subprocess.run(
        ["systemd-analyze", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "LC_ALL": "C.UTF-8", "SYSTEMD_COLORS": "0", **environ},
        check=False,
    )


def test_every_process_of_the_procfile_has_a_unit():
    started = " ".join(path.read_text() for path in UNITS)

    for command in ("gunicorn wsgi:app", "app.worker.queue worker", "app.worker.queue beat"):
        assert command in started
        assert command in (ROOT / "Procfile").read_text()
    assert "flask --app wsgi db upgrade" in started


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_a_unit_is_valid(unit, tmp_path):
    # The commands of the units are those of this checkout.
    for path in UNITS:
        text = re.sub("/opt/clarion/.venv/bin", str(tmp_path / "bin"), path.read_text())
        (tmp_path / path.name).write_text(text)
    (tmp_path / "bin").mkdir()
    for command in ("flask", "gunicorn", "celery"):
        (tmp_path / "bin" / command).symlink_to("/bin/true")

    ended = _analyze("verify", "--man=no", str(tmp_path / unit.name))

    assert (ended.returncode, ended.stderr) == (0, "")


def test_unusable_settings_end_the_web_for_good(tmp_path):
    """Of systemd, which looks at the exit code of the main process alone."""
    lines = (ROOT / "deploy/systemd/clarion.service").read_text().splitlines()
    (start,) = (line.removeprefix("ExecStart=") for line in lines if line.startswith("ExecStart="))
    command = shlex.split(start.replace("/opt/clarion/.venv/bin", str(Path(sys.executable).parent)))

    ended = subprocess.run(
        command,
        cwd=ROOT,
        env={"ENV_FILE": "", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )

    assert f"RestartPreventExitStatus={ended.returncode}" in lines
    assert ended.stderr.startswith("clarion: set API_KEYS")
    assert not any(line.startswith("ExecStartPre") for line in lines)


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_a_unit_exposes_little(unit):
    ended = _analyze("security", "--offline=true", str(unit))

    exposure = re.search(r"Overall exposure level for \S+: ([0-9.]+)", ended.stdout)
    assert exposure, ended.stderr
    assert float(exposure[1]) <= MOST_EXPOSED
