"""One text to one person, and to a thousand: requests a second, latency and processor time.

Clarion on SQLite and on PostgreSQL, each with one and two processes, over a Sinch without latency,
beside references of the same run: a bare Flask answer, a bare `requests` POST, two bare commits,
and a plain Flask service that validates, posts and logs but stores nothing.  The load generator and
the Sinch share the processors: their time is printed as what is not left for the service.

`python -m bench.bench_single_send FOLDER` measures the Clarion of another checkout as well.  With
WEB_CPU_AFFINITY=on in the environment each process of ours keeps to one processor.
"""

import contextlib
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from pathlib import Path

from bench.bench_broadcast import TEXT, time_commits, time_posts
from bench.clarion import KEY, make_settings
from bench.measure import ROOT, find_workers, free_port, make_request, serving, time_requests
from tests.postgres import running_postgres

ROUNDS = 3
CLIENTS = 16
# Keep the services from asking the stand-in for reports and inbound texts meanwhile.
_QUIET = {"REPORT_WAITS_S": "100000", "LIST_INBOUNDS_EVERY_S": "100000"}
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Service:
    """A running service: its name, its port, and the ids of the processes that it consists of."""

    name: str
    port: int
    processes: list[int]


@dataclass(frozen=True, slots=True)
class Result:
    """One round: requests per second, median latency, and processor time per request in ms."""

    rate: float
    median_ms: float
    processor_ms: float
    others_ms: float


def main() -> None:
    """Measure one recipient with one and 16 clients, and a thousand with 16."""
    checkouts = {"Clarion": ROOT} | {Path(name).name: Path(name) for name in sys.argv[1:2]}
    sinch = free_port()
    with (
        running_postgres() as postgres,
        serving(["-m", "bench.stand_in", str(sinch)], sinch) as stand_in,
        contextlib.ExitStack() as stack,
    ):
        services = [stack.enter_context(_plain("bench.bare_flask", "bare Flask", sinch))]
        services.append(stack.enter_context(_plain("bench.plain_send", "plain service", sinch)))
        for name, checkout in checkouts.items():
            for processes in (1, 2):
                for database in ("SQLite", "PostgreSQL"):
                    url = postgres.create_empty_database() if database == "PostgreSQL" else None
                    number = "2 processes" if processes == 2 else "1 process"
                    title = f"{name}, {database}, {number}"
                    service = _clarion(checkout, title, url, sinch=sinch, processes=processes)
                    services.append(stack.enter_context(service))
        for recipients, clients, count in ((1, 1, 150), (1, CLIENTS, 640), (1_000, CLIENTS, 96)):
            print(f"{recipients} recipient(s), {clients} client(s), {count} requests a round:")
            measure(services, recipients, clients=clients, count=count, stand_in=stand_in.pid)
            if clients == 1:
                _show_references(sinch, count)


def measure(
    services: list[Service], recipients: int, *, clients: int, count: int, stand_in: int
) -> None:
    """Run all services in turn, and print a row for each."""
    results: dict[str, list[Result]] = {service.name: [] for service in services}
    for number in range(ROUNDS + 1):
        for service in services:
            result = run_clients(
                service, recipients, clients=clients, count=count, stand_in=stand_in
            )
            if number:  # after a warm-up
                results[service.name].append(result)
    print(
        f"  {'':<36} {'per second':>12} {'p50 ms':>9} {'processor ms':>13} {'load, Sinch ms':>15}"
    )
    for name, rounds in results.items():
        medians = [statistics.median(values) for values in zip(*map(astuple, rounds), strict=True)]
        print("  {:<36} {:>12.0f} {:>9.1f} {:>13.2f} {:>15.2f}".format(name, *medians))


def run_clients(
    service: Service, recipients: int, *, clients: int, count: int, stand_in: int
) -> Result:
    """Send `count` requests from `clients` connections."""
    each = count // clients
    latencies: list[float] = []
    threads = [
        threading.Thread(
            target=_send, args=(service.port, _make_body(recipients, client), each, latencies)
        )
        for client in range(clients)
    ]
    others, own = _processor_s([stand_in]) + _own_s(), _processor_s(service.processes)
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    taken_s = time.perf_counter() - started
    if len(latencies) != each * clients:
        raise RuntimeError(f"{service.name}: {len(latencies)} of {each * clients} answered 202")
    own = _processor_s(service.processes) - own
    others = _processor_s([stand_in]) + _own_s() - others
    answered = len(latencies)
    return Result(
        answered / taken_s,
        statistics.median(latencies) * 1e3,
        own / answered * 1e3,
        others / answered * 1e3,
    )


def _make_body(recipients: int, client: int) -> bytes:
    numbers = [f"+467{client:02d}{n:06d}" for n in range(recipients)]
    fields = {"recipients": numbers, "message": TEXT, "allow_duplicate": True}
    return json.dumps(fields).encode()


def _send(port: int, body: bytes, count: int, latencies: list[float]) -> None:
    request = make_request("/api/broadcast", body, X_API_Key=KEY)
    latencies += time_requests(port, request, count=count, status=b"202")


def _processor_s(processes: list[int]) -> float:
    """Return the processor time that these processes have used."""
    total = 0
    for process in processes:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / _TICKS


def _own_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _show_references(sinch: int, count: int) -> None:
    fields = {"to": ["+46700000000"], "from": "+12015550199", "body": TEXT}
    post_s = min(time_posts(sinch, json.dumps(fields).encode(), count=count) for _ in range(ROUNDS))
    commits_s = min(time_commits(2 * count) for _ in range(ROUNDS))
    print(f"  {'a bare requests POST':<36} {'':>12} {post_s / count * 1e3:>9.2f}")
    print(f"  {'two bare sqlite3 commits':<36} {'':>12} {commits_s / count * 1e3:>9.2f}")


@contextlib.contextmanager
def _plain(module: str, name: str, sinch: int) -> Iterator[Service]:
    port = free_port()
    command = ["-m", "gunicorn", "--config", "python:bench.bare_gunicorn"]
    command += ["-b", f"127.0.0.1:{port}", f"{module}:app"]
    url = f"http://127.0.0.1:{sinch}"
    with serving(command, port, SINCH_REGION_URL=url) as master:
        yield Service(name, port, find_workers(master.pid))


@contextlib.contextmanager
def _clarion(
    checkout: Path, name: str, url: str | None, *, sinch: int, processes: int
) -> Iterator[Service]:
    port = free_port()
    with tempfile.TemporaryDirectory(dir=".") as folder:
        url = url or f"sqlite:///{Path(folder).resolve() / 'clarion.db'}"
        settings = make_settings(
            url,
            sinch=sinch,
            PORT=str(port),
            WEB_CONCURRENCY=str(processes),
            WEB_CPU_AFFINITY=os.environ.get("WEB_CPU_AFFINITY", "off"),
            **_QUIET,
        )
        # By the other checkout's own code: it may know fewer migrations.
        subprocess.run(
            [sys.executable, "-m", "flask", "--app", "wsgi", "db", "upgrade"],
            cwd=checkout,
            env={"PATH": os.environ["PATH"], "ENV_FILE": "", **settings},
            stdout=subprocess.DEVNULL,
            check=True,
        )
        with serving(["-m", "gunicorn", "wsgi:app"], port, cwd=str(checkout), **settings) as master:
            yield Service(name, port, find_workers(master.pid, processes))


if __name__ == "__main__":
    main()
