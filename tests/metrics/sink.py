"""A Sentry on loopback that keeps what it gets, and a database that makes errors."""

import gzip
import json
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Sink:
    """A Sentry that keeps the body of each request."""

    def __init__(self, port: int) -> None:
        self.dsn = f"http://dsnkey@127.0.0.1:{port}/7"
        self.envelopes: list[bytes] = []

    def events(self) -> list[dict]:
        """The events of all envelopes, which have a line of head before each."""
        lines = [json.loads(line) for body in self.envelopes for line in body.splitlines()]
        return [line for line in lines if "exception" in line]


@contextmanager
def running_sink() -> Iterator[Sink]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            packed = self.headers.get("Content-Encoding") == "gzip"
            sink.envelopes.append(gzip.decompress(body) if packed else body)
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        sink = Sink(server.server_port)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield sink
        server.shutdown()


def spoil(path: str, canary: str) -> None:
    """Make every look at the gates fail, with an error that quotes a value."""
    _write_facts(path, json.dumps({"since": canary, "last_broadcast_id": canary}))


def mend(path: str) -> None:
    """Take back what spoil() did."""
    _write_facts(path, None)


def _write_facts(path: str, facts: str | None) -> None:
    with closing(sqlite3.connect(path, timeout=20)) as db:
        db.execute("UPDATE gates SET facts = ? WHERE name = 'restore'", (facts,))
        db.commit()
