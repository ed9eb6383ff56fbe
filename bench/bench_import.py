"""The time to import a file of a million subscribers, from its bytes to the last commit.

The goal is at least 10,000 rows a second on two cores, without the check of numbers.

For comparison the same run takes the time of `csv.reader` and `executemany` for the same rows,
tables and indexes, committed as often and as durably.  That keeps no copy of the file, checks no
cell, looks for no known subscriber, and could not go on after a crash.

What libphonenumber takes to look at a number is stated apart, as is what consents take.
"""

import argparse
import csv
import json
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from pathlib import Path

from app.config import SubscriberRules
from app.db.engine import Database
from app.phone.e164 import find_in_use
from app.subscribers.context import SubscriberContext
from app.subscribers.imports.job import ROWS_AT_ONCE, work_imports
from app.subscribers.imports.models import ImportOptions, ImportStatus, Purpose
from app.subscribers.imports.service import create_import, view_import
from app.subscribers.imports.upload import store_file
from app.subscribers.profiles.entry import GivenConsent
from bench.clarion import opened
from bench.measure import show_ratio, show_time

MILLION = 1_000_000
_CHECKED = 100_000
_GOAL = 10_000
_PORTION_BYTES = 256 * 1024
_CONSENT = GivenConsent(
    at=datetime(2026, 1, 1, tzinfo=UTC),
    source="https://shop.example/signup",
    wording="Yes, text me.",
)
_ADD = (
    "INSERT INTO subscribers (public_id, phone, first_name, last_name, language, attributes, "
    "active, subscribed_at, updated_at) VALUES (?, ?, ?, ?, ?, ?, 1, ?, ?)"
)
_TAG = "INSERT INTO tags (name, double_opt_in, created_at) VALUES ('customers', 0, ?)"
_BEAR = "INSERT INTO subscriber_tags (tag_id, subscriber_id, confirmed) VALUES (1, ?, 1)"
_PRAGMAS = ("synchronous = full", "foreign_keys = on", "cache_size = -16384")


@dataclass(frozen=True)
class _Side:
    name: str
    options: ImportOptions
    tagged: bool


_PLAIN = ImportOptions(check_numbers=False)
_TAGGED = ImportOptions(check_numbers=False, tags=("customers",))
_AGREED = ImportOptions(
    check_numbers=False, tags=("customers",), purpose=Purpose.MARKETING, consent=_CONSENT
)
_SIDES = (
    _Side("without tags", _PLAIN, False),
    _Side("with one tag", _TAGGED, True),
    _Side("with one tag and a consent each", _AGREED, True),
)


def main() -> None:
    """Write the file, import it in turn with the limit, and print the times and their ratios."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rows", type=int, default=MILLION)
    many = arguments.parse_args().rows
    with tempfile.TemporaryDirectory(dir=".") as folder:
        file = Path(folder).resolve() / "people.csv"
        write_file(file, many)
        for side in _SIDES:
            limit_s = _on_new_database(file, partial(import_barely, tagged=side.tagged))
            ours_s = _on_new_database(file, partial(import_file, options=side.options, many=many))
            print(f"{many} rows {side.name}:")
            show_time("Clarion, from the file to the last commit", [ours_s], each_of=many)
            show_time("csv.reader + executemany", [limit_s], each_of=many)
            print(f"  Clarion {ours_s:.1f} s, csv.reader + executemany {limit_s:.1f} s")
            show_ratio("Clarion / csv.reader + executemany", [ours_s], [limit_s], goal=None)
            print(f"  {many / ours_s:,.0f} rows a second  goal: at least {_GOAL:,} rows a second")
    check_s = check_numbers(_CHECKED)
    print(f"libphonenumber takes {check_s / _CHECKED * 1e6:.1f} us a number beside all that")


def write_file(file: Path, many: int) -> None:
    """People in no order, as a spreadsheet would give them."""
    with file.open("w", newline="", encoding="utf-8") as opened_file:
        rows = csv.writer(opened_file)
        rows.writerow(("Phone", "First name", "Last name", "Language", "City"))
        rows.writerows(
            (
                _make_number(place),
                f"Ann{place % 997}",
                f"Lee{place % 9973}",
                "sv",
                f"City{place % 89}",
            )
            for place in range(many)
        )


def _make_number(place: int) -> str:
    """A number of Sweden's mobile phones; all different for the first ten million places."""
    return f"+4670{place * 7919 % 10_000_000:07d}"


def _on_new_database(file: Path, run: Callable[[Path, Path], float]) -> float:
    database = file.with_name("import.db")
    with opened(f"sqlite:///{database}"):
        pass
    try:
        return run(file, database)
    finally:
        for each in file.parent.glob("import.db*"):
            each.unlink()


def import_file(file: Path, database: Path, *, options: ImportOptions, many: int) -> float:
    """Seconds of ours."""
    db = Database(f"sqlite:///{database}")
    people = SubscriberContext(db=db, rules=SubscriberRules(), phone_hash_key=b"bench")
    started = time.perf_counter()
    row = create_import(people, options, client="bench")
    store_file(people, row.public_id, _read(file))
    while work_imports(people):
        pass
    seconds = time.perf_counter() - started
    ended = view_import(people, row.public_id)
    db.close()
    if ended.status is not ImportStatus.COMPLETE or ended.created != many:
        raise RuntimeError(f"{ended.status}: {ended.created} of {many} were created")
    return seconds


def _read(file: Path) -> Iterator[bytes]:
    with file.open("rb") as opened_file:
        while portion := opened_file.read(_PORTION_BYTES):
            yield portion


def import_barely(file: Path, database: Path, *, tagged: bool) -> float:
    """Seconds of the least that has to be done."""
    connection = sqlite3.connect(database, isolation_level=None)
    for pragma in _PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")
    started = time.perf_counter()
    now = datetime.now(UTC).isoformat()
    connection.execute(_TAG, (now,))
    with file.open(newline="", encoding="utf-8") as opened_file:
        rows = csv.reader(opened_file)
        next(rows)
        first = 1
        while some := list(islice(rows, ROWS_AT_ONCE)):
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(
                _ADD,
                (
                    (f"{number:026}", *row[:4], json.dumps({"City": row[4]}), now, now)
                    for number, row in enumerate(some, first)
                ),
            )
            if tagged:
                numbers = range(first, first + len(some))
                connection.executemany(_BEAR, ((number,) for number in numbers))
            connection.execute("COMMIT")
            first += len(some)
    seconds = time.perf_counter() - started
    connection.close()
    return seconds


def check_numbers(many: int) -> float:
    """Seconds that libphonenumber takes for `many` numbers."""
    numbers = [_make_number(place) for place in range(many)]
    started = time.perf_counter()
    for number in numbers:
        find_in_use(number)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
