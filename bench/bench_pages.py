"""The time of each page over a million subscribers and millions of messages, on SQLite.

The messages are as many as are inserted in the time that `--prepare-s` gives.  Of each page the
median and the 95th percentile of its looks are printed; nothing else runs meanwhile.
"""

import argparse
import re
import statistics
import tempfile
import time
from pathlib import Path

from flask.testing import FlaskClient
from sqlalchemy import select

from app.accounts.roles import Role
from app.accounts.users import accept_invitation, create_user
from app.clock import Clock
from app.db.engine import Database
from app.subscribers.models import Subscriber
from bench.bench_audience import fill
from bench.clarion import open_service, opened
from bench.sample_broadcast import add_broadcast
from tests.web.addresses import list_pages

PEOPLE = 1_000_000
PREPARE_S = 180.0
LOOKS = 40
_RECIPIENTS = 100_000
_NAME, _PASSWORD = "bench", "correct horse battery"


def main() -> None:
    """Fill a database, look at each page, and print the times."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--people", type=int, default=PEOPLE)
    arguments.add_argument("--prepare-s", type=float, default=PREPARE_S)
    chosen = arguments.parse_args()
    with tempfile.TemporaryDirectory(dir=".") as folder:
        url = f"sqlite:///{Path(folder).resolve() / 'clarion.db'}"
        with opened(url) as db:
            values, broadcasts = prepare(db, chosen.people, within_s=chosen.prepare_s)
        print(f"{chosen.people} subscribers, {broadcasts * _RECIPIENTS} messages:")
        measure(open_service(url), values)


def prepare(db: Database, people: int, *, within_s: float) -> tuple[dict[str, str], int]:
    """Insert people and, until the time is over, broadcasts.

    Returns values of addresses by the names of arguments, and the number of broadcasts.
    """
    deadline = time.perf_counter() + within_s
    fill(db, people)
    token = create_user(db, Clock(), _NAME, Role.ADMIN, actor="bench")
    accept_invitation(db, Clock(), token, _PASSWORD)
    count = 0
    while count == 0 or time.perf_counter() < deadline:
        broadcast_id = add_broadcast(db, _RECIPIENTS)
        count += 1
    with db.read() as tx:
        subscriber_id = tx.execute(select(Subscriber.public_id).limit(1)).scalar_one()
    return {"broadcast_id": broadcast_id, "subscriber_id": subscriber_id, "tag": "all"}, count


def measure(client: FlaskClient, values: dict[str, str]) -> None:
    """Print the times of each page whose address is known."""
    page = client.get("/login").text
    csrf = re.search(r'name="csrf_token" value="([^"]+)"', page)
    fields = {"name": _NAME, "password": _PASSWORD, "csrf_token": csrf[1] if csrf else ""}
    if client.post("/login", data=fields).status_code != 303:
        raise RuntimeError("the sign-in was refused")
    for route in list_pages(client.application):
        if route.role is None or not route.rule.arguments <= values.keys():
            continue
        address = route.address(values)
        taken = sorted(time_look(client, address) for _ in range(LOOKS))
        high = taken[round(LOOKS * 0.95) - 1]
        print(f"  {route.rule.rule:<44} median {statistics.median(taken) * 1e3:8.1f} ms", end="")
        print(f", 95 % {high * 1e3:8.1f} ms")


def time_look(client: FlaskClient, address: str) -> float:
    """Return the seconds until a page is there."""
    started = time.perf_counter()
    answer = client.get(address)
    if answer.status_code >= 400:
        raise RuntimeError(f"{address}: {answer.status_code}")
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
