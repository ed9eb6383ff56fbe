"""`python -m bench.stand_in PORT`: a Sinch that takes everything and thinks about nothing."""

import socket
import sys
import threading

_BODY = b'{"id":"01JX0000000000000000000001"}'
_ANSWER = (
    b"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
    % (len(_BODY), _BODY)
)


def serve(connection: socket.socket) -> None:
    """Answer request after request on one connection."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    received = b""
    while True:
        head, end, rest = received.partition(b"\r\n\r\n")
        if end:
            length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0] or 0)
            if len(rest) >= length:
                received = rest[length:]
                connection.sendall(_ANSWER)
                continue
        chunk = connection.recv(262_144)
        if not chunk:
            return
        received += chunk


def main(port: int) -> None:
    with socket.create_server(("127.0.0.1", port)) as listener:
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=serve, args=(connection,), daemon=True).start()


if __name__ == "__main__":
    main(int(sys.argv[1]))
