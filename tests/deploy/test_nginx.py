"""nginx in front of Clarion, with the file that we ship: real nginx, real gunicorn."""

import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests

from tests.environ import ROOT
from tests.factories import AUTH, broadcast_to
from tests.processes import running
from tests.wire import unused_port

# Where `make tools` puts it.
FETCHED = Path(sys.prefix) / "tools" / "usr" / "sbin"
NGINX = shutil.which("nginx") or shutil.which("nginx", path=f"/usr/sbin:{FETCHED}")
ANN = "+46701234567"

pytestmark = pytest.mark.skipif(NGINX is None, reason="nginx is missing: `make tools` fetches it")


@pytest.fixture(scope="module")
def front(tmp_path_factory, sandbox_server):
    """The URL of nginx with our file, over a service, and nginx's log.

    Only addresses and the certificate differ.
    """
    folder, port, own_port = tmp_path_factory.mktemp("nginx"), unused_port(), unused_port()
    conf = (ROOT / "deploy/nginx/clarion.conf").read_text()
    conf = re.sub(r"(?m)^ *(ssl_\w+ .*|listen \[::\]:.*)\n", "", conf)
    conf = conf.replace("listen 443 ssl", f"listen 127.0.0.1:{port}")
    conf = conf.replace("listen 80;", f"listen 127.0.0.1:{unused_port()};")
    conf = conf.replace("127.0.0.1:3000", f"127.0.0.1:{own_port}")
    temporary = "".join(
        f"{kind}_temp_path {folder}/{kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    # As root nginx starts its workers as another user, who may not write to this folder.
    user = "user root;\n" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(
        f"{user}daemon off;\npid {folder}/pid;\nerror_log {folder}/error.log;\n"
        f"events {{}}\nhttp {{\naccess_log {folder}/access.log;\n{temporary}{conf}\n}}\n"
    )
    command = [NGINX, "-p", str(folder), "-c", str(folder / "nginx.conf")]
    tested = subprocess.run([*command, "-t"], capture_output=True, text=True, check=False)
    assert tested.returncode == 0, tested.stderr
    settings = {
        "SINCH_REGION_URL": sandbox_server.url,
        "PORT": str(own_port),
        "TRUSTED_PROXIES": "1",
        "RATE_LIMIT": "100000 per minute",
    }
    with running(folder / "output", **settings) as service, subprocess.Popen(command) as nginx:
        try:
            _wait_for(port)
            yield f"http://127.0.0.1:{port}", service, folder / "access.log"
        finally:
            nginx.terminate()


def _wait_for(port):
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise AssertionError("nginx does not listen")


def test_a_broadcast_goes_through(front, sandbox):
    url, *_ = front

    answer = requests.post(f"{url}/api/broadcast", headers=AUTH, json=broadcast_to(ANN), timeout=30)

    assert answer.status_code == 202
    assert sandbox.recipients() == [ANN]


def test_a_misspelt_idempotency_key_is_not_dropped_on_the_way(front, sandbox):
    url, *_ = front
    headers = AUTH | {"Idempotency_Key": "order-7"}

    answer = requests.post(
        f"{url}/api/broadcast", headers=headers, json=broadcast_to(ANN), timeout=30
    )

    assert "call it Idempotency-Key" in answer.json()["error"]
    assert sandbox.posts() == 0


def test_metrics_are_not_answered_from_outside(front):
    url, service, _ = front

    assert requests.get(f"{url}/metrics", timeout=30).status_code == 404
    assert requests.get(f"{service.url}/metrics", timeout=30).status_code == 200


def test_a_link_that_lets_its_reader_in_is_not_logged(front):
    url, _, log = front

    links = [requests.get(f"{url}/{path}", timeout=30) for path in ("invite/s3cret", "login")]

    deadline = time.monotonic() + 60
    while "/login" not in log.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert [link.status_code for link in links] == [404, 200]
    assert "s3cret" not in log.read_text()


def test_an_address_that_a_client_makes_up_is_not_believed(front):
    url, service, _ = front
    forged = {
        "X-Forwarded-For": "203.0.113.7",
        "X-Real-IP": "203.0.113.8",
        "Forwarded": "for=203.0.113.9",
    }

    requests.get(f"{url}/api/broadcasts", headers=AUTH | forged, timeout=30)

    lines = [line for line in service.output.read_text().splitlines() if "/api/broadcasts" in line]
    assert '"address": "127.0.0.1"' in lines[-1]
    assert "203.0.113" not in service.output.read_text()


def test_a_body_over_the_limit_is_refused_by_nginx_and_a_file_to_import_is_not(front):
    url, *_ = front
    header, line = b"phone,note\n", b"+46701234567," + b"x" * 86 + b"\n"
    file = header + line * 420_000
    assert len(file) > 40 * 2**20

    refused = requests.post(f"{url}/api/broadcast", headers=AUTH, data=file, timeout=60)
    made = requests.post(f"{url}/api/subscribers/imports", headers=AUTH, json={}, timeout=60)
    path = f"/api/subscribers/imports/{made.json()['import_id']}/file"
    taken = requests.put(
        f"{url}{path}", headers=AUTH | {"Content-Type": "text/csv"}, data=file, timeout=60
    )

    assert refused.status_code == 413
    assert "nginx" in refused.text
    assert taken.status_code == 202


def test_slow_clients_wait_at_nginx_and_hold_up_no_other(front, sandbox):
    url, *_ = front
    host, port = url.removeprefix("http://").split(":")
    head = f"POST /api/broadcast HTTP/1.1\r\nHost: x\r\nX-API-Key: {AUTH['X-API-Key']}\r\n"
    head += "Content-Type: application/json\r\nContent-Length: 100000\r\n\r\n{"
    with contextlib.ExitStack() as stack:
        for _ in range(200):
            connection = stack.enter_context(socket.create_connection((host, int(port)), 60))
            connection.sendall(head.encode())

        answer = requests.post(
            f"{url}/api/broadcast", headers=AUTH, json=broadcast_to(ANN), timeout=30
        )

    assert answer.status_code == 202
    assert sandbox.recipients() == [ANN]
