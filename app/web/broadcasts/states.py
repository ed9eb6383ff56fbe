"""State of a broadcast as a mark with a time, and the sentence that a page opens with."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row

from app.sms.audience.grown import find_growth, find_quoted
from app.sms.broadcasts.views import BroadcastView
from app.sms.drafts.store import make_title
from app.sms.models.states import ACTIVE, FINAL, BroadcastStatus
from app.web.broadcasts.accounting import Accounting
from app.web.new.figures import add_amounts
from app.web.words import clock_time, day_of, people, say_duration, share

_B = BroadcastStatus
_PLACES = (
    "Next",
    "Second",
    "Third",
    "Fourth",
    "Fifth",
    "Sixth",
    "Seventh",
    "Eighth",
    "Ninth",
    "Tenth",
)
# Deliveries that a curve lacks after that were never counted: they are older than the counting.
_COUNTED_WITHIN = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class State:
    """The mark of a broadcast: its kind, and a word with a time."""

    kind: str
    word: str


def name_row(row: Row[Any]) -> str:
    """Return the reference of the broadcast of a row, else the beginning of its text."""
    kept = make_title(row.text) if row.text else "A broadcast whose text was deleted"
    return str(row.reference) if row.reference else kept


def say_growth(row: Row[Any]) -> str:
    """Return how many people are in an audience that has grown, and what they come to."""
    number = find_growth(row) or 0
    are = f"{people(number)} {'is' if number == 1 else 'are'} in its audience by now"
    return add_amounts(f"{are}, more than were approved", find_quoted(row), number=number)


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
            return State("waiting", _say_place(view.progress.queue_position))
        case _B.SENDING if view.status == "unknown":
            return State("may-have", "Sinch is asked about some of it")
        case _B.SENDING:
            return State("sending", "Sending")
        case _B.PAUSED if find_growth(row):
            return State("decision", "Paused: a second person has to approve it")
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


def _say_place(position: int | None) -> str:
    """Return a place in the queue.

    >>> _say_place(1), _say_place(2), _say_place(12), _say_place(None)
    ('Next in the queue', 'Second in the queue', '12th in the queue', 'In the queue')
    """
    if position is None:
        return "In the queue"
    place = _PLACES[position - 1] if position <= len(_PLACES) else f"{position}th"
    return f"{place} in the queue"


def _say_when(at: datetime | None, now: datetime) -> str:
    """Return a time as the end of a sentence: at a time of today, else on a day; "" for no time."""
    if at is None:
        return ""
    return f" {'at' if day_of(at) == day_of(now) else 'on'} {clock_time(at, now)}"


def is_moving(view: BroadcastView) -> bool:
    """Return True while texts are handed to Sinch."""
    return view.row.status in (_B.QUEUED, _B.SENDING)


def is_being_counted(view: BroadcastView) -> bool:
    """Return True if deliveries that the curve lacks will be in it soon."""
    reported_at = view.row.all_reported_at
    return reported_at is None or view.seen_at - reported_at < _COUNTED_WITHIN


def choose_poll_s(view: BroadcastView, *, behind: int) -> float | None:
    """Return the seconds until a page about the broadcast looks again; None if it is settled.

    `behind` are the deliveries that its curve lacks yet.  While nothing changes the page waits
    longer and longer.
    """
    if view.row.status in FINAL and view.row.all_reported_at:
        return 5.0 if behind else None
    # Reports come soon after the last text was handed to Sinch.
    return 2.0 if is_moving(view) or view.row.status in FINAL else 15.0


def describe_progress(view: BroadcastView, accounting: Accounting) -> dict[str, Any] | None:
    """Return large figures, start and end of a broadcast that is not done; None of others."""
    row, progress, now = view.row, view.progress, view.seen_at
    if row.status not in (*ACTIVE, _B.PAUSED, _B.HALTED):
        return None
    started_at = row.first_submitted_at
    if started_at is None and row.status is not _B.SENDING:
        return None
    facts = [
        {
            "label": "Handed to Sinch",
            "figure": accounting.handed,
            "after": f"of {accounting.to_send:,}",
        },
        {"label": "Delivered", "figure": accounting.delivered},
    ]
    if progress.per_second:
        pace = f"{progress.per_second:,.0f}" if progress.per_second >= 1 else "under 1"
        facts.insert(1, {"label": "Now", "figure": pace, "after": "a second"})
    if progress.finishes_at:
        finish = clock_time(progress.finishes_at, now)
        facts.insert(0, {"label": "Done by about", "figure": finish})
    return {
        "facts": facts,
        "start": f"{clock_time(started_at, now)} started" if started_at else "",
        "end": say_end(view) if view.deferred[0] or row.status not in ACTIVE else "",
    }


def say_end(view: BroadcastView) -> str:
    """Return when a broadcast starts and is done, as far as that can be told; else ""."""
    progress, now = view.progress, view.seen_at
    if view.row.status in (_B.PAUSED, _B.HALTED):
        return "Not done while it is paused"
    if view.row.status not in ACTIVE:
        return ""
    words = []
    if view.row.first_submitted_at is None and progress.starts_at:
        at = clock_time(progress.starts_at, now)
        words.append(f"Starts about {at}" if progress.starts_at > now else "Starts now")
    if progress.finishes_at:
        finish = clock_time(progress.finishes_at, now)
        words.append(f"{'done' if words else 'Done'} by about {finish}")
    deferred, last = view.deferred
    if deferred and last:
        words.append(f"{'the' if words else 'The'} last {deferred:,} at {clock_time(last, now)}")
    return ", ".join(words)


def say_verdict(view: BroadcastView, accounting: Accounting) -> tuple[str, str]:
    """Return how the broadcast went, or how it goes: the bold part of the sentence and the rest."""
    delivered, handed, asked_for = accounting.delivered, accounting.handed, accounting.asked_for
    match view.row.status:
        case _B.SCHEDULED:
            start = clock_time(view.row.send_at, view.seen_at)
            ahead = say_duration(view.row.send_at - view.seen_at)
            audience = say_audience(view, accounting)
            return "", f"Nothing is sent before {start}, in {ahead}: {audience}."
        case _B.PAUSED if find_growth(view.row):
            return f"{say_growth(view.row)}.", "Nothing is sent until it is approved again."
        case _B.PAUSED | _B.HALTED | _B.MISSED_START:
            were = f"{handed:,} of {people(asked_for)} were handed to Sinch"
            return "", f"{were}; no more is for now."
        case _B.QUEUED if end := say_end(view):
            return "", f"{end}."
        case _B.QUEUED | _B.SENDING:
            are = f"{handed:,} of {people(asked_for)} are handed to Sinch"
            return "", f"{are}; {delivered:,} got it."
    rest = _list_rest(accounting)
    if not handed:
        return "No text was handed to Sinch.", rest
    to_send = accounting.to_send
    got = f"{delivered:,} of {people(to_send)} got it"
    return got, f"({share(delivered, to_send)}). {rest}"


# The lines of the accounting in a sentence, each for one person and for several.
_RESTS = {
    "sending": ("is on its way", "are on their way"),
    "may-have": ("may have it", "may have it"),
    "not-reached": ("was not reached", "were not reached"),
    "stopped": ("was stopped", "were stopped"),
    "left-out": ("was left out", "were left out"),
}


def _list_rest(accounting: Accounting) -> str:
    """Return in a sentence who did not get it."""
    parts = [
        f"{line.figure:,} {_RESTS[line.kind][line.figure != 1]}"
        for line in accounting.lines
        if line.figure and line.kind in _RESTS
    ]
    if len(parts) > 1:
        parts = [", ".join(parts[:-1]) + f" and {parts[-1]}"]
    return f"{parts[0]}." if parts else ""
