"""Expanding a tag's audience, against one raw SQL anti-join that returns the same numbers.

A million subscribers have the tag and 100,000 of them are suppressed; both sides return the others,
ordered by number.  Goal: at most 1.5 times.  `--people 100000` for fewer.
"""

import argparse
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import insert, text

from app.db.base import table_of
from app.db.engine import Database
from app.sms.audience.lookup import read_page
from app.sms.models.states import Category
from app.sms.request.model import BroadcastRequest
from app.subscribers.audiences.audience import plain_tag
from app.subscribers.models import Subscriber, SubscriberTag, Suppression, Tag
from bench.clarion import opened
from bench.measure import show_ratio, show_time, time_in_turn

PEOPLE = 1_000_000
ROUNDS = 5
GOAL = 1.5
_NOW = datetime(2026, 1, 1, tzinfo=UTC)
_RAW = text(
    "SELECT s.phone FROM subscribers s "
    "JOIN subscriber_tags b ON b.subscriber_id = s.id AND b.tag_id = 1 AND b.confirmed "
    "WHERE s.active AND NOT EXISTS ("
    "SELECT 1 FROM suppressions p WHERE p.phone = s.phone AND p.released_at IS NULL) "
    "ORDER BY s.phone"
)


def main() -> None:
    """Fill a database, look up both ways, and print the ratio."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--people", type=int, default=PEOPLE)
    people = arguments.parse_args().people
    with tempfile.TemporaryDirectory(dir=".") as folder:
        url = f"sqlite:///{Path(folder).resolve() / 'people.db'}"
        with opened(url) as db:
            fill(db, people)
        with opened(url) as db:
            for category in Category:
                measure(db, people, category)


def fill(db: Database, people: int) -> None:
    """Insert subscribers with one tag and marketing consent, every tenth suppressed."""
    numbers = [f"+4670{(index * 7_919) % people:07d}" for index in range(people)]
    with db.write() as tx:
        tag = {"id": 1, "name": "all", "double_opt_in": False, "created_at": _NOW}
        tx.execute(insert(table_of(Tag)), tag)
        tx.execute(insert(table_of(Subscriber)), [
            {
                "id": index + 1,
                "public_id": f"{index:026d}",
                "phone": number,
                "active": True,
                "consented_at": _NOW,
                "subscribed_at": _NOW,
                "updated_at": _NOW,
            }
            for index, number in enumerate(numbers)
        ])  # fmt: skip
        tx.execute(insert(table_of(SubscriberTag)), [
            {"tag_id": 1, "subscriber_id": index + 1, "confirmed": True} for index in range(people)
        ])  # fmt: skip
        tx.execute(insert(table_of(Suppression)), [
            {
                "public_id": f"{index:026d}",
                "phone_hash": index.to_bytes(32, "big"),
                "phone": number,
                "scope": "all",
                "cause": "stop",
                "needs_review": False,
                "suppressed_at": _NOW,
                "actor": "phone",
            }
            for index, number in enumerate(numbers[::10])
        ])  # fmt: skip


def measure(db: Database, people: int, category: Category) -> None:
    """Time both sides in turn."""
    print(f"{people} people of a tag, a tenth of them suppressed, {category.value}")
    request = BroadcastRequest(
        recipients=(), text="Hello", audience=plain_tag("all"), category=category
    )
    taken = time_in_turn(
        {"raw": lambda: time_raw(db, people), "ours": lambda: time_ours(db, request, people)},
        rounds=ROUNDS,
    )
    show_time("one raw anti-join", taken["raw"], each_of=1)
    show_time("looked up, in chunks of a batch", taken["ours"], each_of=1)
    show_ratio("ours / raw", taken["ours"], taken["raw"], goal=GOAL)


def time_raw(db: Database, people: int) -> float:
    """Return the seconds of the one statement and of reading its numbers."""
    started = time.perf_counter()
    with db.read() as tx:
        numbers = [row[0] for row in tx.execute(_RAW)]
    taken = time.perf_counter() - started
    assert len(numbers) == people - len(range(0, people, 10))
    return taken


def time_ours(db: Database, request: BroadcastRequest, people: int) -> float:
    """Return the seconds of all pages, as a broadcast reads them."""
    started, count = time.perf_counter(), 0
    after: str | None = ""
    while after is not None:
        with db.read() as tx:
            page = read_page(tx, request, after=after, size=1_000)
        count += sum(len(chunk.recipients) for chunk in page.chunks if not chunk.exclusion_reason)
        after = page.last
    taken = time.perf_counter() - started
    assert count == people - len(range(0, people, 10))
    return taken


if __name__ == "__main__":
    main()
