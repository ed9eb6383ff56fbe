"""Sending with a quote of a million people, against making the quote: of what has not moved since.

The quote counts each of them; the send compares a hash of what it rests on.  The time is that of
the processor.  Goal: a send takes at most two thirds.  `--people 100000` for fewer.
"""

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from sqlalchemy import func, update

from app.db.base import table_of
from app.sms.context import Context
from app.sms.models.states import Category
from app.sms.quotes.quote import check_quote, make_quote
from app.sms.request.model import BroadcastRequest
from app.subscribers.audiences.audience import plain_tag
from app.subscribers.models import Subscriber
from bench.bench_audience import fill
from bench.clarion import open_service, opened
from bench.measure import show_ratio, show_time, time_in_turn

PEOPLE = 1_000_000
ROUNDS = 3
GOAL = 2 / 3
_TEXT = "Hello ${first_name}, come by at noon"


def main() -> None:
    """Fill a database, quote and check in turn, and print the ratio."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--people", type=int, default=PEOPLE)
    people = arguments.parse_args().people
    with tempfile.TemporaryDirectory(dir=".") as folder:
        url = f"sqlite:///{Path(folder).resolve() / 'people.db'}"
        with opened(url) as db:
            fill(db, people)
            with db.write() as tx:
                # Names of their own: the last digits of the number.
                name = func.substr(Subscriber.phone, 6)
                tx.execute(update(table_of(Subscriber)).values(first_name=name))
        ctx: Context = open_service(url).application.extensions["clarion"]
        for category in Category:
            measure(ctx, people, category)
        ctx.db.close()


def measure(ctx: Context, people: int, category: Category) -> None:
    """Time both in turn."""
    print(f"{people} people of a tag, a tenth of them suppressed, {category.value}")
    request = BroadcastRequest(
        recipients=(), text=_TEXT, audience=plain_tag("all"), category=category
    )
    token = make_quote(ctx, request).token
    exact = replace(request, quote_tolerance=None)

    def time_quote() -> float:
        started = time.process_time()
        make_quote(ctx, request)
        return time.process_time() - started

    def time_check() -> float:
        started = time.process_time()
        check_quote(ctx, exact, token)
        return time.process_time() - started

    taken = time_in_turn({"quote": time_quote, "check": time_check}, rounds=ROUNDS)
    show_time("quoted", taken["quote"], each_of=1)
    show_time("checked before it is sent", taken["check"], each_of=1)
    show_ratio("checked / quoted", taken["check"], taken["quote"], goal=round(GOAL, 2))


if __name__ == "__main__":
    main()
