"""The time to settle a million messages: Sinch's reports, stored already, into the books.

Once as a report on each recipient and once as a full report on each batch.  The limit, in the same
run, is a bare loop over the same events with sqlite3: read a group, `json.loads`, write the four
columns of each message, delete the events, commit as durably as we do.  It keeps no counts, holds
no report to be older or weaker than another, and tells nobody.
"""

import argparse
import json
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import func, insert, select, text

from app import create_app
from app.config import read_config
from app.db.base import table_of
from app.db.engine import Database
from app.sms.context import Context
from app.sms.models.reports import DeliveryCount, Event
from app.webhooks.incoming.apply import MAX_EVENTS, apply_events
from bench.clarion import make_settings, opened
from bench.full_books import add_broadcast
from bench.measure import show_ratio, show_time
from tests.reporting import batch_report, report

MILLION = 1_000_000
_SENT = (
    text("UPDATE messages SET status = NULL, code = NULL, status_at = NULL, recorded_at = NULL"),
    text("UPDATE batches SET ended = 0"),
    text("DELETE FROM tallies"),
)
_OF_BATCHES = text(
    "SELECT b.sinch_id, b.client_reference, c.recipients FROM batches b "
    "JOIN chunks c ON c.broadcast_id = b.broadcast_id AND c.number = b.chunk ORDER BY b.id"
)
_REPORT = (
    "UPDATE messages SET status = ?, code = ?, status_at = ?, recorded_at = ? "
    "WHERE broadcast_id = 1 AND recipient = ?"
)


def main() -> None:
    """Fill the databases, settle them, and print the times and their ratios."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--messages", type=int, default=MILLION)
    many = arguments.parse_args().messages
    with tempfile.TemporaryDirectory(dir=".") as folder:
        sent = Path(folder).resolve() / "sent.db"
        with opened(f"sqlite:///{sent}") as db:
            add_broadcast(db, many)
            with db.write() as tx:
                for step in _SENT:
                    tx.execute(step)
        for name, one_each in (("a report each", True), ("a full report for each batch", False)):
            reported = Path(folder).resolve() / "reported.db"
            shutil.copy(sent, reported)
            with opened(f"sqlite:///{reported}") as db:
                store_reports(db, one_each=one_each)
            measure(reported, name, many)


def measure(reported: Path, name: str, many: int) -> None:
    """Settle two copies: one by a bare loop, one by ours."""
    ours, bare = (reported.with_name(f"{side}.db") for side in ("ours", "bare"))
    shutil.copy(reported, ours)
    shutil.copy(reported, bare)
    limit_s = settle_bare(bare)
    ours_s = settle(ours, many)
    print(f"{many} messages, {name}:")
    show_time("Clarion, until the last is in the books", [ours_s], each_of=many)
    show_time("bare loop over the same events", [limit_s], each_of=many)
    print(f"  Clarion {ours_s:.1f} s, bare loop {limit_s:.1f} s")
    show_ratio("Clarion / bare loop", [ours_s], [limit_s], goal=None)


def store_reports(db: Database, *, one_each: bool) -> None:
    """The events of all that Sinch has to say about them, in the order of the batches."""
    now = datetime.now(UTC)
    with db.write() as tx:
        for batch, reference, lines in tx.execute(_OF_BATCHES).all():
            numbers = lines.split("\n")
            if one_each:
                told = [
                    report(number, "Delivered", batch=batch, reference=reference)
                    for number in numbers
                ]
            else:
                digits = [number.lstrip("+") for number in numbers]
                status = {"status": "Delivered", "code": 0, "count": len(digits)}
                told = [
                    batch_report(
                        [status | {"recipients": digits}], batch=batch, reference=reference
                    )
                ]
            rows = [{"received_at": now, "raw": raw, "tries": 0} for raw in told]
            tx.execute(insert(table_of(Event)), rows)


def settle(path: Path, many: int) -> float:
    """Seconds until every message has its end in the books."""
    config = read_config(make_settings(f"sqlite:///{path}", sinch=9))
    ctx: Context = create_app(config).extensions["clarion"]
    started = time.perf_counter()
    while apply_events(ctx):
        pass
    seconds = time.perf_counter() - started
    with ctx.db.read() as tx:
        counted = tx.execute(select(func.sum(DeliveryCount.messages))).scalar()
    ctx.db.close()
    if counted != many:
        raise RuntimeError(f"{counted} of {many} messages are booked")
    return seconds


def settle_bare(path: Path) -> float:
    """Seconds of the least that has to be done."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA synchronous = full")
    started = time.perf_counter()
    while True:
        found = connection.execute(
            "SELECT id, raw FROM events ORDER BY id LIMIT ?", (MAX_EVENTS,)
        ).fetchall()
        if not found:
            break
        connection.execute("BEGIN IMMEDIATE")
        for _, raw in found:
            connection.executemany(_REPORT, read_bare(raw))
        connection.executemany("DELETE FROM events WHERE id = ?", [(each[0],) for each in found])
        connection.execute("COMMIT")
    connection.close()
    return time.perf_counter() - started


def read_bare(raw: bytes) -> Iterator[tuple[str, int, str, str, str]]:
    """The values to write of what an event tells."""
    told = json.loads(raw)
    if "recipient" in told:
        yield "delivered", told["code"], told["at"], told["at"], "+" + told["recipient"]
        return
    for status in told["statuses"]:
        for digits in status["recipients"]:
            yield "delivered", status["code"], "", "", "+" + digits


if __name__ == "__main__":
    main()
