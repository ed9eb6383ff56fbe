"""Accounting of a broadcast: lines that add up to everybody who was asked for."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from app.sms.broadcasts.views import BroadcastView
from app.sms.lifecycle.counts import StatusCode, explain_status, status_before_batching
from app.sms.models.states import BatchState, ExclusionReason
from app.sms.models.statuses import MessageStatus
from app.web.words import clock_time, share

_M = MessageStatus
# The statuses of each line, in the order of the lines: kind of its mark, word, sentence.
LINES: tuple[tuple[str, str, str, tuple[MessageStatus, ...]], ...] = (
    ("delivered", "Delivered", "The text is on their phone.", (_M.DELIVERED,)),
    ("sending", "On its way", "Sinch has it and has not reported its end yet.", (_M.SUBMITTED,)),
    ("waiting", "Waiting", "Not handed to Sinch yet.", (_M.PENDING,)),
    (
        "held",
        "Held",
        "Sinch refuses our configuration; it goes out once that is mended.",
        (_M.HELD,),
    ),
    (
        "may-have",
        "May have it",
        "It may have arrived, and is not sent again by itself.",
        (_M.UNKNOWN, _M.UNCONFIRMED, _M.ABANDONED),
    ),
    (
        "not-reached",
        "Not reached",
        "The text did not get to them.",
        (_M.FAILED, _M.REJECTED, _M.EXPIRED, _M.ABORTED, _M.DELETED),
    ),
    ("stopped", "Stopped", "They get nothing: the broadcast was stopped.", (_M.CANCELLED,)),
    ("left-out", "Left out", "They were not to get it.", (_M.SUPPRESSED, _M.INVALID)),
)
# Kind and word of the mark of each status.
MARKS: dict[MessageStatus, tuple[str, str]] = {
    status: (kind, word) for kind, word, _, statuses in LINES for status in statuses
} | {_M.DUPLICATE: ("left-out", "Left out")}
_LEFT_OUT = {
    ExclusionReason.ERASED: "Their data was erased.",
    ExclusionReason.NUMBER_NOT_ALLOWED: "Premium, shared-cost or satellite numbers.",
    ExclusionReason.COUNTRY_NOT_ALLOWED: "Texts to their country are not allowed.",
    ExclusionReason.OPTED_OUT: "Opted out.",
    ExclusionReason.NO_CONSENT: "Have not agreed to marketing.",
    ExclusionReason.INACTIVE: "Are inactive.",
    ExclusionReason.NO_VALUE: "A placeholder has no value for them.",
    ExclusionReason.FREQUENCY_CAP: "Have had their texts of the day.",
    ExclusionReason.NO_WINDOW: "Quiet hours at every time of day.",
}

_WAITS = {
    ExclusionReason.QUIET_HOURS: "Quiet hours where they are",
    ExclusionReason.CANARY: "The outcome of a first part is awaited",
    ExclusionReason.CAP_REACHED: "A cap on sending is reached",
}


@dataclass(slots=True)
class AccountingLine:
    """A line or a line below it: a sentence, a number of people, and the statuses counted in it.

    `href` is the page of exactly those people, for a line that one filter finds.  `again` is True
    if another try is worth it.
    """

    sentence: str
    figure: int
    statuses: tuple[MessageStatus, ...] = ()
    code: int | None = None
    exclusion_reason: ExclusionReason | None = None
    kind: str = ""
    word: str = ""
    share: str = ""
    href: str | None = None
    again: bool = False
    subs: list["AccountingLine"] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Accounting:
    """All lines with people in them, and the numbers of people who were asked for, are to get it,
    got it, and whose text Sinch has accepted."""

    lines: list[AccountingLine]
    asked_for: int
    to_send: int
    delivered: int
    handed: int

    @property
    def in_words(self) -> str:
        """The figures of all lines, for readers who do not see the bar."""
        lines = [f"{line.word} {line.figure:,}" for line in self.lines]
        return f"Of {self.asked_for:,}: {', '.join(lines)}."


def account_for(view: BroadcastView) -> Accounting:
    """Return the accounting of a broadcast.  Delivered is a line even without anybody."""
    counts = {status: view.counts[status.value] for status in _M if status.value in view.counts}
    asked_for = view.row.recipients + view.row.invalid
    lines = []
    for kind, word, sentence, statuses in LINES:
        figure = sum(counts[status] for status in statuses)
        if figure or kind == "delivered":
            line = AccountingLine(sentence, figure, statuses, kind=kind, word=word)
            line.share = share(figure, asked_for)
            line.subs = _explain(view, kind, statuses)
            lines.append(line)
    return Accounting(
        lines=lines,
        asked_for=asked_for,
        to_send=asked_for - counts[_M.SUPPRESSED] - counts[_M.INVALID],
        delivered=counts[_M.DELIVERED],
        handed=view.totals.at_sinch,
    )


def _explain(
    view: BroadcastView, kind: str, statuses: tuple[MessageStatus, ...]
) -> list[AccountingLine]:
    """Return the lines below a line: why, the most frequent reason first."""
    found: Mapping[StatusCode, int] = {
        key: figure for key, figure in view.by_status_code.items() if key[0] in statuses
    }
    if kind == "waiting":
        return _explain_waiting(view)
    if kind == "stopped":
        return _explain_stopped(view)
    if kind == "left-out":
        return _explain_left_out(view)
    if kind in ("may-have", "not-reached"):
        return _explain_reports(found)
    return []


def _explain_reports(found: Mapping[StatusCode, int]) -> list[AccountingLine]:
    by_reason: dict[tuple[str, bool], list[StatusCode]] = {}
    figures = Counter[tuple[str, bool]]()
    for (status, code), figure in found.items():
        reason = explain_status(status, code)
        by_reason.setdefault((reason["reason"], reason["retry"]), []).append((status, code))
        figures[reason["reason"], reason["retry"]] += figure
    lines = []
    for (sentence, again), figure in figures.most_common():
        keys = by_reason[sentence, again]
        statuses = tuple(sorted({status for status, _ in keys}))
        codes = {code for _, code in keys}
        # A filter has one code.
        code = codes.pop() if len(codes) == 1 else None
        lines.append(AccountingLine(sentence, figure, statuses, code, again=again))
    return lines


def _explain_waiting(view: BroadcastView) -> list[AccountingLine]:
    lines = []
    for group in view.exclusions:
        reason = ExclusionReason(group["reason"])
        if reason.defers:
            until = datetime.fromisoformat(group["until"]) if group["until"] else None
            end = f" until {clock_time(until, view.seen_at)}" if until else ""
            sentence, figure = f"{_WAITS[reason]}{end}.", group["recipients"]
            lines.append(AccountingLine(sentence, figure, (_M.PENDING,), exclusion_reason=reason))
    return lines


def _explain_stopped(view: BroadcastView) -> list[AccountingLine]:
    called_back = sum(
        figure for (status, _), figure in view.totals.reported.items() if status is _M.CANCELLED
    )
    never_handed = view.counts[_M.CANCELLED.value] - called_back
    lines = [
        AccountingLine("Never handed to Sinch.", never_handed),
        AccountingLine("Called back from Sinch.", called_back),
    ]
    return [line for line in lines if line.figure]


def _explain_left_out(view: BroadcastView) -> list[AccountingLine]:
    figures = Counter[ExclusionReason]()
    for group in view.exclusions:
        reason = ExclusionReason(group["reason"])
        if not reason.defers:
            figures[reason] += group["recipients"]
    lines = [
        AccountingLine(_LEFT_OUT[reason], figure, (_M.SUPPRESSED,), exclusion_reason=reason)
        for reason, figure in figures.most_common()
    ]
    if view.row.invalid:
        lines.append(AccountingLine("Not a phone number.", view.row.invalid))
    return lines


def count_never_handed(view: BroadcastView) -> int:
    """Return how many people's texts a stop would keep from Sinch."""
    unsent = (BatchState.PENDING, BatchState.HELD)
    planned = sum(view.totals.recipients.values())
    unplanned = view.row.recipients - planned
    waiting = status_before_batching(view.row.status) is _M.PENDING
    return sum(view.totals.recipients.get(state, 0) for state in unsent) + (
        unplanned if waiting else 0
    )
