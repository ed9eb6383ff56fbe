"""What became of messages, by day, tag, sender, country, status, code and client.

Read from the sums by day alone: what that costs does not grow with the messages behind them.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from sqlalchemy import Connection, Select, Table, case, func, select

from app.db.base import table_of
from app.sms.context import Context
from app.sms.lifecycle.latency import NONE, percentile, read_packed, unpack
from app.sms.models.daily import DailyCount, DailyDelay, DailyInbound, Dimension
from app.sms.models.statuses import NOT_REACHED, MessageStatus

_D, _M = Dimension, MessageStatus
# Of a message that came back because its recipient had opted out with the carrier.
_OPTED_OUT = 257
_SHARES = {"p50": 0.50, "p90": 0.90, "p99": 0.99}
# What the sums of waiting times and of inbounds can tell apart.
_OF_DELAYS = frozenset(Dimension) - {_D.STATUS, _D.CODE}
_OF_INBOUNDS = frozenset((_D.DAY, _D.CLIENT))

_COUNTS, _DELAYS, _INBOUNDS = table_of(DailyCount), table_of(DailyDelay), table_of(DailyInbound)

Group = tuple[Any, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalyticsQuery:
    """Which days, the last included, grouped by what, and of what alone."""

    since: date
    until: date
    group_by: Sequence[Dimension]
    only: Mapping[Dimension, Any]


@dataclass(slots=True)
class Figures:
    """What one group adds up to.

    `delays` and `inbounds` are None where a group cannot have its own.
    """

    statuses: Counter[MessageStatus] = field(default_factory=Counter)
    parts: int = 0
    opted_out: int = 0
    delays: Counter[int] | None = None
    inbounds: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Analytics:
    """The figures of each group, in order, and of all."""

    groups: list[tuple[Group, Figures]]
    totals: Figures


def read_analytics(ctx: Context, question: AnalyticsQuery) -> Analytics:
    """What the sums say."""
    with ctx.db.read() as tx:
        found: dict[Group, Figures] = defaultdict(Figures)
        totals = Figures()
        _add_counts(tx, question, found, totals)
        _add_inbounds(tx, question, found, totals)
        _add_delays(tx, question, found, totals)
    return Analytics(sorted(found.items(), key=lambda item: _as_order(item[0])), totals)


def _as_order(group: Group) -> Group:
    return tuple(str(each) if isinstance(each, MessageStatus) else each for each in group)


def _add_counts(
    tx: Connection, question: AnalyticsQuery, found: dict[Group, Figures], totals: Figures
) -> None:
    opted_out = func.sum(case((_COUNTS.c.code == _OPTED_OUT, _COUNTS.c.messages), else_=0))
    messages = func.sum(_COUNTS.c.messages)
    sums = messages, func.sum(_COUNTS.c.parts), opted_out
    columns = [_COUNTS.c[name] for name in (*question.group_by, "status")]
    query = _select(_COUNTS, question, *columns, *sums).group_by(*columns).having(messages != 0)
    for *group, status, sent, parts, opt_outs in tx.execute(query):
        for figures in (found[tuple(group)], totals):
            figures.statuses[status] += int(sent)
            figures.parts += int(parts)
            figures.opted_out += int(opt_outs)


def _add_delays(
    tx: Connection, question: AnalyticsQuery, found: Mapping[Group, Figures], totals: Figures
) -> None:
    """Waiting times are those of what was delivered, whatever its code."""
    only_delivered = question.only.get(_D.STATUS, _M.DELIVERED) is _M.DELIVERED
    if not only_delivered or _D.CODE in question.only:
        return
    known = [_DELAYS.c[each] for each in question.group_by if each in _OF_DELAYS]
    sums: dict[Group, int] = defaultdict(int)
    for *values, packed in tx.execute(_select(_DELAYS, question, *known, _DELAYS.c.delays)):
        sums[_complete(question, values)] += read_packed(packed)
    totals.delays = unpack(sum(sums.values()))
    for group, figures in found.items():
        if _has_delays(question, group):
            figures.delays = unpack(sums.get(group, 0))


def _has_delays(question: AnalyticsQuery, group: Group) -> bool:
    places = dict(zip(question.group_by, group, strict=True))
    return _D.CODE not in places and places.get(_D.STATUS, _M.DELIVERED) is _M.DELIVERED


def _complete(question: AnalyticsQuery, values: Sequence[Any]) -> Group:
    """The group, among those that have waiting times, that these values are of."""
    left = iter(values)
    own = {_D.STATUS: _M.DELIVERED, _D.CODE: None}
    return tuple(own[each] if each in own else next(left) for each in question.group_by)


def _add_inbounds(
    tx: Connection, question: AnalyticsQuery, found: dict[Group, Figures], totals: Figures
) -> None:
    if not {*question.group_by, *question.only} <= _OF_INBOUNDS:
        return
    sums = func.sum(_INBOUNDS.c.inbounds), func.sum(_INBOUNDS.c.opt_outs)
    columns = [_INBOUNDS.c[name] for name in question.group_by]
    query = _select(_INBOUNDS, question, *columns, *sums).group_by(*columns)
    came = {tuple(group): (int(a), int(b)) for *group, a, b in tx.execute(query)}
    for group in (*came, *found):
        found[group].inbounds = came.get(group, (0, 0))
    totals.inbounds = sum(a for a, _ in came.values()), sum(b for _, b in came.values())


def _select(table: Table, question: AnalyticsQuery, *columns: Any) -> Select[Any]:
    """These columns of the days and of what alone is asked for, as far as this table can tell."""
    query = select(*columns).where(table.c.day.between(question.since, question.until))
    for dimension, value in question.only.items():
        if dimension.value in table.c:
            query = query.where(table.c[dimension.value] == value)
    return query


def show_analytics(question: AnalyticsQuery, found: Analytics) -> dict[str, Any]:
    """The answer as JSON."""
    return {
        "since": question.since,
        "until": question.until,
        "group_by": question.group_by,
        "rows": [
            _show_group(question, group) | _show_figures(figures) for group, figures in found.groups
        ],
        "totals": _show_figures(found.totals),
    }


def _show_group(question: AnalyticsQuery, group: Group) -> dict[str, Any]:
    shown = dict(zip((each.value for each in question.group_by), group, strict=True))
    if shown.get("code") == NONE:
        shown["code"] = None
    return shown


def _show_figures(figures: Figures) -> dict[str, Any]:
    statuses, delays = figures.statuses, figures.delays
    failed = sum(statuses[each] for each in NOT_REACHED)
    ended = statuses[_M.DELIVERED] + failed + statuses[_M.UNKNOWN]
    inbounds, texted = figures.inbounds or (None, None)
    return {
        "sent": statuses.total(),
        "delivered": statuses[_M.DELIVERED],
        "failed": failed,
        "unknown": statuses[_M.UNKNOWN],
        "submitted": statuses[_M.SUBMITTED],
        "delivery_rate": round(statuses[_M.DELIVERED] / ended, 4) if ended else None,
        "parts": figures.parts,
        "latency_s": None
        if delays is None
        else {name: percentile(delays, share) for name, share in _SHARES.items()},
        "inbounds": inbounds,
        "opt_outs": {"carrier": figures.opted_out, "texted": texted},
    }
