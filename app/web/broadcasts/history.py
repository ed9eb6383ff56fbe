"""History of a broadcast in sentences: its own events, and what people did to it."""

from collections.abc import Iterable
from datetime import datetime

from app.sms.broadcasts.views import BroadcastView
from app.sms.models.states import FINAL
from app.sms.operations.history import HistoryEntry
from app.web.words import clock_time, name_actor, people, texts

# Actions by the audit log's word; {texts} and {people} are the recipients in its facts.
_SENTENCES = {
    "pause": "{actor} paused it.",
    "resume": "{actor} resumed it.",
    "cancel": "{actor} stopped it.",
    "resend_undelivered": "{actor} sent it again to {people}.",
    "approve draft": "{actor} approved it.",
    "approve resend": "{actor} approved to send it again to {people}.",
    "mark_sent": "{actor} decided that {texts} in doubt {were} sent.",
    "resend": "{actor} decided to send {texts} in doubt again.",
    "give_up": "{actor} closed {texts} in doubt; nothing is sent again.",
}

# A pause by the outcome of a canary has its figures.
_CANARY_PAUSE = "Its first texts paused it: {failed:,} of {sent:,} failed, {opted_out:,} opted out."


# So has one by an audience that has grown.
_GROWN = "{people} are in its audience, and at most {most:,} were approved: it was paused."


def list_events(view: BroadcastView, history: Iterable[HistoryEntry]) -> list[dict[str, str]]:
    """Return what happened and when, the newest first."""
    row, last = view.row, view.totals.last_accepted_at
    events = [
        (row.created_at, f"{row.created_by or _say_actor(row.client)} made it."),
        (row.first_submitted_at, f"The first text was handed to Sinch.{_say_left_out(view)}"),
        (last if row.status in FINAL else None, "The last text was handed to Sinch."),
        (row.completed_at, "Nothing was left to send."),
        (row.all_reported_at, "All reports were in."),
        (row.purged_at, "Its text and numbers were deleted."),
        *((entry.at, describe_entry(entry)) for entry in history),
    ]
    # What happened at the same moment is told in the order of the list.
    happened = [(at, number, said) for number, (at, said) in enumerate(events) if at and said]
    return [
        {"time": clock_time(at, view.seen_at), "sentence": said}
        for at, _, said in sorted(happened, reverse=True)
    ]


def describe_entry(entry: HistoryEntry) -> str:
    """Return an action as a sentence with its note; "" for one that is not told."""
    if "outcome" in entry.facts:
        return _CANARY_PAUSE.format_map(entry.facts)
    if "most" in entry.facts:
        facts = entry.facts
        return _GROWN.format(people=people(facts["people"]), most=facts["most"])
    sentence = _SENTENCES.get(entry.action, "")
    recipients = int(entry.facts.get("recipients") or 0)
    said = sentence.format(
        actor=_say_actor(entry.actor),
        people=people(recipients),
        texts=texts(recipients),
        were="was" if recipients == 1 else "were",
    )
    note = entry.facts.get("note")
    return f"{said[:-1]}: “{note}”" if said and note else said


def find_pause(
    history: Iterable[HistoryEntry], since: datetime, until: datetime
) -> HistoryEntry | None:
    """Return the pause that kept texts from being delivered between two times."""
    return next(
        (entry for entry in history if entry.action == "pause" and since <= entry.at <= until), None
    )


def _say_actor(actor: str) -> str:
    """Return who did something, as a sentence begins."""
    said = name_actor(actor)
    return f"T{said[1:]}" if said.startswith("the ") else said


def _say_left_out(view: BroadcastView) -> str:
    left_out = view.counts["suppressed"] + view.counts["invalid"]
    if not left_out:
        return ""
    return f" {people(left_out)} {'was' if left_out == 1 else 'were'} left out."
