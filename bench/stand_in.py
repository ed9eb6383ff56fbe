"""`python -m bench.stand_in PORT [FILE]`: a Sinch that accepts every batch at once.

It writes each POST's monotonic time and recipients to FILE.
"""

import json
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

_BODY = b'{"id":"01JX0000000000000000000001"}'
_ANSWER = (
    b"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
    % (len(_BODY), _BODY)
)


def serve(connection: socket.socket, note: Callable[[bytes], object] | None = None) -> None:
    """Answer request after request on one connection."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    received = b""
    while True:
        head, end, rest = received.partition(b"\r\n\r\n")
        if end:
            length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0] or 0)
            if len(rest) >= length:
                received = rest[length:]
                if note and head.startswith(b"POST"):
                    note(rest[:length])
                connection.sendall(_ANSWER)
                continue
        chunk = connection.recv(262_144)
        if not chunk:
            return
        received += chunk


def open_notes(path: Path) -> Callable[[bytes], object]:
    """Return a function that writes a POST to the file."""
    file = path.open("w")

    def note(body: bytes) -> None:
        file.write(f"{time.monotonic()} {','.join(json.loads(body)['to'])}\n")
        file.flush()

    return note


def main(port: int, notes: Path | None = None) -> None:
    note = open_notes(notes) if notes else None
    with socket.create_server(("127.0.0.1", port)) as listener:
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=serve, args=(connection, note), daemon=True).start()


if __name__ == "__main__":
    main(int(sys.argv[1]), *(Path(name) for name in sys.argv[2:3]))
