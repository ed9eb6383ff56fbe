"""Commands run to their end, as a person or a deployment runs them."""

import subprocess
import sys
from subprocess import CompletedProcess

from tests.processes import ROOT, clean_environ

FLASK = [sys.executable, "-m", "flask", "--app", "wsgi"]


def run_command(command: list[str], environ: dict[str, str]) -> CompletedProcess[str]:
    """What a command said and how it ended, with these settings and no others."""
    return subprocess.run(
        command,
        cwd=ROOT,
        env=clean_environ(environ),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
