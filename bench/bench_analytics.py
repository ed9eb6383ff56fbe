"""GET /api/analytics over ten million messages against ten thousand, and the roll-up.

Goal: at most 1.5 times.  Only the daily counters are filled, because the query reads no messages.
Then the real roll-up counts `--messages` messages for the first time and, unchanged, again.
"""

import argparse
import tempfile
import time
from datetime import UTC, date, datetime
from pathlib import Path

from flask.testing import FlaskClient
from sqlalchemy import update

from app.config import read_config
from app.db.base import table_of
from app.db.facts import delete_metadata
from app.factory import create_app
from app.phone.country import find_country
from app.phone.e164 import inspect_number
from app.sms.analytics.rollup import roll_up_batches
from app.sms.context import Context
from app.sms.models.batch import Batch
from bench.clarion import make_settings, open_service, opened, time_looks
from bench.measure import show_ratio, show_time, time_in_turn
from bench.sample_broadcast import add_broadcast
from bench.sample_days import add_days

FEW, MANY = 10_000, 10_000_000
ROLLED = 100_000
ROUNDS = 15
LOOKS = 20
QUERIES = ("", "?group_by=country,status", "?group_by=sender,day")


def main() -> None:
    """Measure the query, the roll-up, and finding a number's country."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--messages", type=int, default=ROLLED)
    rolled = arguments.parse_args().messages
    with tempfile.TemporaryDirectory(dir=".") as folder:
        today = datetime.now(UTC).date()
        few = open_service(fill(Path(folder).resolve() / "few.db", FEW, today))
        many = open_service(fill(Path(folder).resolve() / "many.db", MANY, today))
        for query in QUERIES:
            measure(few, many, f"/api/analytics{query}")
        measure_roll_up(Path(folder).resolve() / "messages.db", rolled)
    measure_countries()


def fill(path: Path, messages: int, today: date) -> str:
    """Fill a database with daily counters.  Returns its URL."""
    url = f"sqlite:///{path}"
    with opened(url) as db:
        counts, delays = add_days(db, messages, until=today)
    print(f"{messages} messages: {counts} rows of counts, {delays} of waiting times")
    return url


def measure(few: FlaskClient, many: FlaskClient, path: str) -> None:
    """Time one query of both in turn."""
    sides = {
        "few": lambda: time_looks(few, path, LOOKS),
        "many": lambda: time_looks(many, path, LOOKS),
    }
    taken = time_in_turn(sides, rounds=ROUNDS)
    print(f"GET {path}:")
    show_time(f"over {FEW} messages", taken["few"], each_of=LOOKS)
    show_time(f"over {MANY} messages", taken["many"], each_of=LOOKS)
    show_ratio("many / few", taken["many"], taken["few"], goal=1.5)


def measure_roll_up(path: Path, messages: int) -> None:
    """Measure the roll-up of new messages, and again of unchanged ones."""
    url = f"sqlite:///{path}"
    with opened(url):
        pass
    service = create_app(read_config(make_settings(url, sinch=9, LOG_LEVEL="error")))
    ctx: Context = service.extensions["clarion"]
    add_broadcast(ctx.db, messages)
    print(f"roll-up of {messages} messages in batches of 1000:")
    for name in ("counted for the first time", "counted again"):
        show_time(name, [roll_up_all(ctx)], each_of=messages)


def roll_up_all(ctx: Context) -> float:
    """Return the seconds until every batch is counted."""
    with ctx.db.write() as tx:
        batches = tx.execute(update(table_of(Batch)).values(rollup_dirty=True)).rowcount
        delete_metadata(tx, "rolled_up")  # without the pause between two passes
    started = time.perf_counter()
    while batches > 0:
        batches -= roll_up_batches(ctx)
    return time.perf_counter() - started


def measure_countries() -> None:
    """Measure finding the countries of a thousand numbers."""
    print("the country of a number:")
    kinds = {"one country's code": "+4670%07d", "a code that 25 share": "+1202555%04d"}
    for name, pattern in kinds.items():
        numbers = [pattern % n for n in range(1000)]
        for how, find in (("ours", find_country), ("the library's", inspect_number)):
            started = time.perf_counter()
            for number in numbers:
                find(number)
            show_time(f"{name}, {how}", [time.perf_counter() - started], each_of=1000)


if __name__ == "__main__":
    main()
