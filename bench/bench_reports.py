"""The time to record stored delivery reports of a million messages.

Once with a report of each recipient and once with a full report of each batch.  The limit, in the
same run, is a bare loop over equal events with sqlite3: read a group, `json.loads`, write the four
columns of each message, delete the events, commit as durably as we do.  It keeps no counts,
compares no report with an earlier one, and notifies no client.
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

from app.config import read_config
from app.db.base import table_of
from app.db.engine import Database
from app.factory import create_app
from app.sms.context import Context
from app.sms.models.reports import DeliveryCount, Event
from app.webhooks.incoming.apply import MAX_EVENTS, apply_events
from bench.clarion import make_settings, opened
from bench.measure import show_ratio, show_time
from bench.sample_broadcast import add_broadcast
from tests.reporting import batch_report, report

MILLION = 1_000_000
_SENT = (
    text("UPDATE messages SET status = NULL, code = NULL, status_at = NULL, recorded_at = NULL"),
    text("UPDATE batches SET ended = 0"),
    text("DELETE FROM delivery_counts"),
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
    """Fill the databases, record the reports, and print the times and their ratios."""
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
        for name, per_recipient in (
            ("a report each", True),
            ("a full report for each batch", False),
        ):
            reported = Path(folder).resolve() / "reported.db"
            shutil.copy(sent, reported)
            with opened(f"sqlite:///{reported}") as db:
                store_reports(db, per_recipient=per_recipient)
            measure(reported, name, many)


def measure(reported: Path, name: str, many: int) -> None:
    """Record the reports of two copies: one by a bare loop, one by Clarion."""
    ours, bare = (reported.with_name(f"{side}.db") for side in ("ours", "bare"))
    shutil.copy(reported, ours)
    shutil.copy(reported, bare)
    limit_s = record_bare(bare)
    ours_s = record(ours, many)
    print(f"{many} messages, {name}:")
    show_time("Clarion, until the last is recorded", [ours_s], each_of=many)
    show_time("bare loop over the same events", [limit_s], each_of=many)
    print(f"  Clarion {ours_s:.1f} s, bare loop {limit_s:.1f} s")
    show_ratio("Clarion / bare loop", [ours_s], [limit_s], goal=None)


def store_reports(db: Database, *, per_recipient: bool) -> None:
    """Store the reports of all messages as events, in the order of the batches."""
    now = datetime.now(UTC)
    with db.write() as tx:
        for batch, reference, lines in tx.execute(_OF_BATCHES).all():
            numbers = lines.split("\n")
            if per_recipient:
                raws = [
                    report(number, "Delivered", batch=batch, reference=reference)
                    for number in numbers
                ]
            else:
                digits = [number.lstrip("+") for number in numbers]
                status = {"status": "Delivered", "code": 0, "count": len(digits)}
                raws = [
                    batch_report(
                        [status | {"recipients": digits}], batch=batch, reference=reference
                    )
                ]
            rows = [{"received_at": now, "raw": raw, "tries": 0} for raw in raws]
            tx.execute(insert(table_of(Event)), rows)


def record(path: Path, many: int) -> float:
    """Return the seconds until every message has its final status."""
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
        raise RuntimeError(f"only {counted} of {many} messages are counted")
    return seconds


def record_bare(path: Path) -> float:
    """Return the seconds of the bare loop."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA synchronous = full")
    started = time.perf_counter()
    while True:
        events = connection.execute(
            "SELECT id, raw FROM events ORDER BY id LIMIT ?", (MAX_EVENTS,)
        ).fetchall()
        if not events:
            break
        connection.execute("BEGIN IMMEDIATE")
        for _, raw in events:
            connection.executemany(_REPORT, read_bare(raw))
        connection.executemany(
            "DELETE FROM events WHERE id = ?", [(event_id,) for event_id, _ in events]
        )
        connection.execute("COMMIT")
    connection.close()
    return time.perf_counter() - started


def read_bare(raw: bytes) -> Iterator[tuple[str, int, str, str, str]]:
    """Yield the columns that an event changes."""
    report = json.loads(raw)
    if "recipient" in report:
        yield "delivered", report["code"], report["at"], report["at"], "+" + report["recipient"]
        return
    for status in report["statuses"]:
        for digits in status["recipients"]:
            yield "delivered", status["code"], "", "", "+" + digits


if __name__ == "__main__":
    main()
