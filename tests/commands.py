"""Commands run to their end, as a person or a deployment runs them."""

import subprocess
import sys
import tempfile
from pathlib import Path
from subprocess import CompletedProcess

from tests import fork_server
from tests.environ import ROOT, clean_environ

FLASK = [sys.executable, "-m", "flask", "--app", "wsgi"]


def run_command(command: list[str], environ: dict[str, str]) -> CompletedProcess[str]:
    """Run `[python, "-m", module, …]` with these settings and no others, a minute at most."""
    with tempfile.TemporaryDirectory() as folder:
        output, errors = Path(folder, "output"), Path(folder, "errors")
        process = fork_server.start(command, clean_environ(environ), output, errors)
        try:
            code = process.wait(60)
        finally:
            process.kill_group()
        return CompletedProcess(command, code, output.read_text(), errors.read_text())


def run_code(code: str, **environ: str) -> CompletedProcess[str]:
    """Run Python code that succeeds, with these settings and no others, a minute at most."""
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=clean_environ(environ),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
