"""`make run`: write the settings, migrate, start the sandbox and the server, print a curl."""

import os
import secrets
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from urllib.parse import urlsplit

from dotenv import dotenv_values

from app.clock import Clock
from app.config import Config, load_config_or_exit
from app.config.keys import find_first_key

ROOT = Path(__file__).parent.parent.parent
ENV_FILE = ROOT / ".env"
EXAMPLE = '{"recipients": ["+15551234567", "+15557654321"], "message": "Pickup moved to 08:30"}'
FLASK = [sys.executable, "-m", "flask", "--app", "wsgi"]
# Past the proxy of the environment, which would look for the service on its own machine.
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
READY_WITHIN_S = 60.0
STOP_WITHIN_S = 28.0


class Stopped(Exception):
    """A signal asked us to stop."""


def run() -> int:
    """Start everything and print how to use it.  Ctrl-C stops it.  Returns the exit code."""
    if "ENV_FILE" not in os.environ and write_env_file(ENV_FILE, example=ROOT / ".env.example"):
        print("Wrote .env with a new API key and secret.", flush=True)
    return start(
        load_config_or_exit(), lambda config: make_welcome(config, first_link=invite_first(config))
    )


def start(config: Config, welcome: Callable[[Config], str]) -> int:
    """Migrate, start the sandbox and the server, and print what `welcome` returns once they answer.

    Returns the exit code.
    """
    commands = [[sys.executable, "-m", "gunicorn", "wsgi:app"]]
    sandbox_port = find_sandbox_port(config)
    if sandbox_port:
        commands.insert(0, [*FLASK, "sandbox", "--port", str(sandbox_port)])
    public = urlsplit(config.public_url or "")
    if public.hostname == "127.0.0.1" and public.port != config.port:
        print(f"PUBLIC_URL follows PORT: {config.port}. Change it in .env, too.", flush=True)
        os.environ["PUBLIC_URL"] = f"http://127.0.0.1:{config.port}"
        config = load_config_or_exit()
    for port, setting in ((config.port, "PORT"), (sandbox_port, "SINCH_REGION_URL")):
        if port and is_taken(port, config.own_host if setting == "PORT" else "127.0.0.1"):
            sys.stderr.write(f"clarion: port {port} is taken: set another {setting}\n")
            return 1
    migrated = subprocess.run([*FLASK, "db", "upgrade"], cwd=ROOT, check=False)
    if migrated.returncode:
        return migrated.returncode
    return supervise(commands, config, welcome)


def write_env_file(path: Path, *, example: Path) -> bool:
    """Copy the example with generated secrets and the address for callbacks of the sandbox.

    The key sees what the command line sends, too.  Returns False if `path` exists.
    """
    lines = example.read_text().splitlines()
    filled = {
        "PUBLIC_URL=": f"PUBLIC_URL=http://127.0.0.1:{os.environ.get('PORT') or 3000}",
        "SINCH_WEBHOOK_SECRET=": f"SINCH_WEBHOOK_SECRET={secrets.token_urlsafe(32)}",
        "API_KEYS=": f"API_KEYS=local[* clients:all]:{secrets.token_urlsafe(32)}",
        "SECRET_KEY=": f"SECRET_KEY={secrets.token_urlsafe(48)}",
    }
    try:
        # Readable only by its owner from the start.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return False
    with os.fdopen(descriptor, "w") as file:
        file.write("\n".join(filled.get(line, line) for line in lines) + "\n")
    return True


def find_sandbox_port(config: Config) -> int | None:
    """Return the port of the sandbox in the settings; None if they name Sinch itself."""
    return (urlsplit(config.sinch.url).port or 80) if config.sinch.is_sandbox else None


def is_taken(port: int, host: str) -> bool:
    """Return True if a process listens on this port of an address of this machine."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        return probe.connect_ex((host, port)) == 0


def watch_signals() -> None:
    """From now on raise Stopped when a signal asks this process to end."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _raise_stopped)


def supervise(commands: list[list[str]], config: Config, welcome: Callable[[Config], str]) -> int:
    """Run the commands until one ends or a signal comes.  Returns the exit code."""
    watch_signals()
    children: list[subprocess.Popen[bytes]] = []
    try:
        for command in commands:
            # In a session of its own: Ctrl-C reaches only this process, which stops them in order.
            children.append(subprocess.Popen(command, cwd=ROOT, start_new_session=True))
            wait_until(lambda: _is_first_up(config), children)
        if wait_until(lambda: is_ready(config), children):
            print(welcome(config), flush=True)
        else:
            sys.stderr.write(
                "clarion: not ready after a minute: see the lines above and GET /ready\n"
            )
        while all(child.poll() is None for child in children):
            time.sleep(0.2)
    except Stopped:
        return 0
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        stop(children)
    return next((child.returncode for child in children if child.returncode > 0), 1)


def wait_until(is_true: Callable[[], bool], children: list[subprocess.Popen[bytes]]) -> bool:
    """Wait until `is_true`.  Returns False after a minute or when a child has ended."""
    deadline = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < deadline and all(child.poll() is None for child in children):
        if is_true():
            return True
        time.sleep(0.2)
    return False


def _is_first_up(config: Config) -> bool:
    sandbox_port = find_sandbox_port(config)
    if sandbox_port:
        return is_taken(sandbox_port, "127.0.0.1")
    return is_taken(config.port, config.own_host)


def is_ready(config: Config) -> bool:
    """Return True if /ready answers 200."""
    try:
        with _DIRECT.open(f"{config.own_url}/ready", timeout=5):
            return True
    except OSError:  # URLError is one
        return False


def stop(children: list[subprocess.Popen[bytes]]) -> None:
    """Stop each child, the server before the sandbox that it may still be calling."""
    for child in reversed(children):
        if child.poll() is None:
            child.terminate()
        try:
            child.wait(STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def invite_first(config: Config) -> str | None:
    """Return a link by which the first user chooses a password; None if they have done so.

    The link of an earlier start ends.
    """
    from app.accounts.users import invite_first_user, make_link  # noqa: PLC0415 (slow to import)
    from app.db.engine import Database  # noqa: PLC0415

    db = Database(config.database_url, pool_size=1)
    try:
        token = invite_first_user(db, Clock(), actor="cli")
    finally:
        db.close()
    return make_link(config.page_url, token) if token else None


def make_welcome(config: Config, *, first_link: str | None) -> str:
    """Return the addresses, and commands to paste."""
    base = config.own_url
    installed = (ROOT / ".venv/bin/flask").exists()
    flask = ".venv/bin/flask --app wsgi" if installed else shlex.join(FLASK)
    return "\n".join(
        [
            "",
            f"Clarion is ready on {base}, its API page at {base}/docs.",
            "No SMS is sent: the sandbox replaces Sinch."
            if config.sinch.is_sandbox
            else "It sends real SMS over Sinch.",
            *(
                ["Choose a password for the user admin, by this link, once:", "", first_link, ""]
                if first_link
                else [f"Sign in to its pages: {config.page_url}/login"]
            ),
            "Send a broadcast:",
            "",
            f"curl -X POST {base}/api/broadcast \\",
            f"  -H 'X-API-Key: {read_first_key()}' \\",
            "  -H 'Content-Type: application/json' \\",
            f"  -d '{EXAMPLE}'",
            "",
            "Or from the command line, in another terminal:",
            "",
            f"cd {shlex.quote(str(ROOT))} && \\",
            f"{flask} send --to +15551234567 --message 'Pickup moved to 09:00'",
            "",
            "Ctrl-C stops everything.",
        ]
    )


def read_first_key() -> str:
    """Return the first API key, from the environment or from .env."""
    path = os.environ.get("ENV_FILE", str(ENV_FILE))
    from_file = dotenv_values(path, interpolate=False).get("API_KEYS") if path else None
    return find_first_key(os.environ.get("API_KEYS") or from_file or "")


def _raise_stopped(number: int, frame: FrameType | None) -> None:
    raise Stopped


if __name__ == "__main__":
    sys.exit(run())
