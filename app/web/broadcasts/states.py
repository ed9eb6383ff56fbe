"""State of a broadcast as a mark with a time, and the sentence that a page opens with."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from app.sms.broadcasts.views import BroadcastView
from app.sms.drafts.store import make_title
from app.sms.models.states import FINAL, BroadcastStatus
from app.web.broadcasts.accounting import Accounting
from app.web.words import clock_time, people, say_duration, share

_B = BroadcastStatus
# A curve without all deliveries by then was not counted at all: it is older than the counting.
_CURVE_WITHIN = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class State:
    """The mark of a broadcast: its kind, and a word with a time."""

    kind: str
    word: str


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress of a broadcast that is being sent; `finish` is None while nothing moves."""

    per_second: float
    finish: datetime | None


def name_broadcast(view: BroadcastView) -> str:
    """Return the reference of a broadcast, else the beginning of its text."""
    if view.row.reference:
        return str(view.row.reference)
    return make_title(view.row.text)


def say_audience(view: BroadcastView, accounting: Accounting) -> str:
    """Return how many people were asked for, or that they are not looked up yet."""
    found = people(accounting.asked_for)
    if not view.row.resolving:
        return found
    ahead = view.row.status is _B.SCHEDULED and not accounting.asked_for
    return "its people are looked up when it starts" if ahead else f"{found} so far"


def describe_state(view: BroadcastView) -> State:
    """Return the state of a broadcast as a fact with a time."""
    row, now = view.row, view.seen_at
    at = _say_when(row.completed_at, now)
    match row.status:
        case _B.SCHEDULED:
            return State("clock", f"Starts {clock_time(row.send_at, now)}")
        case _B.MISSED_START:
            missed = clock_time(row.send_at, now)
            return State("decision", f"Missed its start at {missed}: start it or stop it")
        case _B.QUEUED:
            return State("waiting", "In the queue")
        case _B.SENDING if view.status == "unknown":
            return State("may-have", "Sinch is asked about some of it")
        case _B.SENDING:
            return State("sending", "Sending")
        case _B.PAUSED:
            return State("paused", "Paused")
        case _B.HALTED:
            return State("decision", "Halted: Sinch has a batch twice")
        case _B.COMPLETE_NEEDS_ATTENTION:
            return State("decision", f"Done{at}, a decision waits")
        case _B.REFUSED:
            return State("not-reached", "Refused by Sinch: no text was sent")
        case _B.EXPIRED:
            return State("not-reached", "Too late: the rest was not sent")
        case _B.CANCELLED:
            return State("stopped", f"Stopped{at}")
    return State("delivered", f"Done{at}")


def _say_when(at: datetime | None, now: datetime) -> str:
    """Return a time as the end of a sentence: at a time of today, else on a day; "" for no time."""
    if at is None:
        return ""
    return f" {'at' if at.date() == now.date() else 'on'} {clock_time(at, now)}"


def is_moving(view: BroadcastView) -> bool:
    """Return True while texts are handed to Sinch."""
    return view.row.status in (_B.QUEUED, _B.SENDING)


def choose_poll_s(view: BroadcastView, *, behind: int) -> float | None:
    """Return the seconds until a page about the broadcast looks again; None if it is settled.

    `behind` are the deliveries that its curve lacks yet.  While nothing changes the page waits
    longer and longer.
    """
    reported_at = view.row.all_reported_at
    if view.row.status in FINAL and reported_at:
        soon = view.seen_at - reported_at < _CURVE_WITHIN
        return 5.0 if behind and soon else None
    # Reports come soon after the last text was handed to Sinch.
    return 2.0 if is_moving(view) or view.row.status in FINAL else 15.0


def measure_progress(view: BroadcastView, accounting: Accounting) -> Progress | None:
    """Return how quickly a broadcast is handed to Sinch.  Returns None unless it is sending."""
    row = view.row
    if row.status is not _B.SENDING or row.first_submitted_at is None:
        return None
    last = view.totals.last_accepted_at or view.seen_at
    took_s = max((last - row.first_submitted_at).total_seconds(), 0.1)
    per_second = accounting.handed / took_s
    left = row.recipients - accounting.handed
    if per_second <= 0 or left <= 0:
        return Progress(per_second, None)
    finish = max(view.seen_at, last + timedelta(seconds=left / per_second))
    return Progress(per_second, finish)


def say_verdict(view: BroadcastView, accounting: Accounting) -> str:
    """Return the sentence that answers how the broadcast went, or how it goes."""
    delivered, asked_for = accounting.delivered, accounting.asked_for
    got = f"{delivered:,} of {people(asked_for)} got it ({share(delivered, asked_for)})."
    match view.row.status:
        case _B.SCHEDULED:
            start = clock_time(view.row.send_at, view.seen_at)
            ahead = say_duration(view.row.send_at - view.seen_at)
            audience = say_audience(view, accounting)
            return f"Nothing is sent before {start} UTC, in {ahead}: {audience}."
        case _B.PAUSED | _B.HALTED | _B.MISSED_START:
            handed = accounting.handed
            return f"{handed:,} of {people(asked_for)} were handed to Sinch; no more is for now."
        case _B.QUEUED | _B.SENDING:
            handed = accounting.handed
            return f"{handed:,} of {people(asked_for)} are handed to Sinch; {delivered:,} got it."
    return got
