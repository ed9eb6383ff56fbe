"""Analytics by day, tag, sender, country, status, code and client.

Only the daily counters are read: the cost does not grow with the messages behind them.
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
# Sinch's code for a recipient who had opted out with the carrier.
_OPTED_OUT = 257
_PERCENTILES = {"p50": 0.50, "p90": 0.90, "p99": 0.99}
# The dimensions of the counters of latency and of inbound texts.
_DELAY_DIMENSIONS = frozenset(Dimension) - {_D.STATUS, _D.CODE}
_INBOUND_DIMENSIONS = frozenset((_D.DAY, _D.CLIENT))

_COUNTS, _DELAYS, _INBOUNDS = table_of(DailyCount), table_of(DailyDelay), table_of(DailyInbound)

Group = tuple[Any, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalyticsQuery:
    """A span of days, the last included, dimensions to group by, and values to filter by."""

    since: date
    until: date
    group_by: Sequence[Dimension]
    only: dict[Dimension, Any]


@dataclass(slots=True)
class Figures:
    """Figures of one group; `delays` and `inbounds` are None if its dimensions exclude them."""

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


def read_analytics(ctx: Context, query: AnalyticsQuery) -> Analytics:
    """Read the figures of a query from the daily counters."""
    with ctx.db.read() as tx:
        groups: dict[Group, Figures] = defaultdict(Figures)
        totals = Figures()
        _add_counts(tx, query, groups, totals)
        _add_inbounds(tx, query, groups, totals)
        _add_delays(tx, query, groups, totals)
    return Analytics(sorted(groups.items(), key=lambda item: _sort_key(item[0])), totals)


def _sort_key(group: Group) -> Group:
    return tuple(str(value) if isinstance(value, MessageStatus) else value for value in group)


def _add_counts(
    tx: Connection, query: AnalyticsQuery, groups: dict[Group, Figures], totals: Figures
) -> None:
    opted_out = func.sum(case((_COUNTS.c.code == _OPTED_OUT, _COUNTS.c.messages), else_=0))
    messages = func.sum(_COUNTS.c.messages)
    sums = messages, func.sum(_COUNTS.c.parts), opted_out
    columns = [_COUNTS.c[name] for name in (*query.group_by, "status")]
    statement = _select(_COUNTS, query, *columns, *sums).group_by(*columns).having(messages != 0)
    for *group, status, sent, parts, opt_outs in tx.execute(statement):
        for figures in (groups[tuple(group)], totals):
            figures.statuses[status] += int(sent)
            figures.parts += int(parts)
            figures.opted_out += int(opt_outs)


def _add_delays(
    tx: Connection, query: AnalyticsQuery, groups: Mapping[Group, Figures], totals: Figures
) -> None:
    """Add latencies, which are those of delivered messages with any code."""
    only_delivered = query.only.get(_D.STATUS, _M.DELIVERED) is _M.DELIVERED
    if not only_delivered or _D.CODE in query.only:
        return
    columns = [
        _DELAYS.c[dimension] for dimension in query.group_by if dimension in _DELAY_DIMENSIONS
    ]
    packed_sums: dict[Group, int] = defaultdict(int)
    for *values, packed in tx.execute(_select(_DELAYS, query, *columns, _DELAYS.c.delays)):
        packed_sums[_complete_group(query, values)] += read_packed(packed)
    totals.delays = unpack(sum(packed_sums.values()))
    for group, figures in groups.items():
        if _has_delays(query, group):
            figures.delays = unpack(packed_sums.get(group, 0))


def _has_delays(query: AnalyticsQuery, group: Group) -> bool:
    values = dict(zip(query.group_by, group, strict=True))
    return _D.CODE not in values and values.get(_D.STATUS, _M.DELIVERED) is _M.DELIVERED


def _complete_group(query: AnalyticsQuery, values: Sequence[Any]) -> Group:
    """Return the group of these values: delivered messages with any code."""
    remaining = iter(values)
    fixed = {_D.STATUS: _M.DELIVERED, _D.CODE: None}
    return tuple(
        fixed[dimension] if dimension in fixed else next(remaining) for dimension in query.group_by
    )


def _add_inbounds(
    tx: Connection, query: AnalyticsQuery, groups: dict[Group, Figures], totals: Figures
) -> None:
    if not {*query.group_by, *query.only} <= _INBOUND_DIMENSIONS:
        return
    sums = func.sum(_INBOUNDS.c.inbounds), func.sum(_INBOUNDS.c.opt_outs)
    columns = [_INBOUNDS.c[name] for name in query.group_by]
    statement = _select(_INBOUNDS, query, *columns, *sums).group_by(*columns)
    counts = {tuple(group): (int(a), int(b)) for *group, a, b in tx.execute(statement)}
    for group in (*counts, *groups):
        groups[group].inbounds = counts.get(group, (0, 0))
    totals.inbounds = sum(a for a, _ in counts.values()), sum(b for _, b in counts.values())


def _select(table: Table, query: AnalyticsQuery, *columns: Any) -> Select[Any]:
    """Select these columns of the query's days, filtered by the dimensions of this table."""
    statement = select(*columns).where(table.c.day.between(query.since, query.until))
    for dimension, value in query.only.items():
        if dimension.value in table.c:
            statement = statement.where(table.c[dimension.value] == value)
    return statement


def show_analytics(query: AnalyticsQuery, analytics: Analytics) -> dict[str, Any]:
    """Return the answer as JSON."""
    return {
        "since": query.since,
        "until": query.until,
        "group_by": query.group_by,
        "rows": [
            _show_group(query, group) | _show_figures(figures)
            for group, figures in analytics.groups
        ],
        "totals": _show_figures(analytics.totals),
    }


def _show_group(query: AnalyticsQuery, group: Group) -> dict[str, Any]:
    shown = dict(zip((dimension.value for dimension in query.group_by), group, strict=True))
    if shown.get("code") == NONE:
        shown["code"] = None
    return shown


def _show_figures(figures: Figures) -> dict[str, Any]:
    statuses, delays = figures.statuses, figures.delays
    failed = sum(statuses[status] for status in NOT_REACHED)
    ended = statuses[_M.DELIVERED] + failed + statuses[_M.UNKNOWN]
    inbounds, texted = figures.inbounds or (None, None)
    latency_s = None
    if delays is not None:
        latency_s = {name: percentile(delays, ratio) for name, ratio in _PERCENTILES.items()}
    return {
        "sent": statuses.total(),
        "delivered": statuses[_M.DELIVERED],
        "failed": failed,
        "unknown": statuses[_M.UNKNOWN],
        "submitted": statuses[_M.SUBMITTED],
        "delivery_rate": round(statuses[_M.DELIVERED] / ended, 4) if ended else None,
        "parts": figures.parts,
        "latency_s": latency_s,
        "inbounds": inbounds,
        "opt_outs": {"carrier": figures.opted_out, "texted": texted},
    }
