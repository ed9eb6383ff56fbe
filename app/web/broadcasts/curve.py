"""The curve of a broadcast's deliveries, laid out for a chart.  Pure.

Positions are per cent of the chart's width; a pause of more than a fifth of the axis is cut out.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise

from app.sms.analytics.delivery import CurvePoint
from app.web.words import clock_seconds, day_of, localize, say_duration, share

_CUT_ABOVE = 1 / 5
_LEAST_CUT = timedelta(minutes=1)
_BAND = 12.0
# The height and width of the drawing, whose line keeps its thickness however it is stretched.
_HEIGHT, _WIDTH = 100, 1_000
_TABLE_ROWS = 20
# The rest of a curve is told in words if it would take more than half of the axis.
_TAIL = 0.99
# Width of a label by its characters, in a chart of 300 pixels.
_LABEL_WIDTHS = {5: 14.0, 8: 20.0, 9: 24.0}
_MARKS = {"Half by": 0.5, "90 % by": 0.9, "99 % by": 0.99}


@dataclass(frozen=True, slots=True)
class Gap:
    """A span of time that is cut out: where its band is, and what it says."""

    since: datetime
    until: datetime
    x: float
    words: str

    @property
    def middle(self) -> float:
        """The middle of the band."""
        return self.x + _BAND / 2


@dataclass(frozen=True, slots=True)
class Line:
    """A part of a curve as points of a drawing, and the area under it."""

    points: str

    @property
    def area(self) -> str:
        """The points of the line and of the axis below it."""
        located = self.points.split(" ")
        first, last = (each.partition(",")[0] for each in (located[0], located[-1]))
        return f"{first},{_HEIGHT} {self.points} {last},{_HEIGHT}"


@dataclass(frozen=True, slots=True)
class Tick:
    """A label of the axis of time; `anchor` is SVG's word for the end of it that is at x."""

    x: float
    label: str
    anchor: str


@dataclass(slots=True)
class Curve:
    """A chart: its lines as points of a drawing, its labels, and its figures as rows.

    `now` is where the present is, None for a curve that has ended; `late` are deliveries after the
    end of the axis.
    """

    top: int
    lines: list[Line] = field(default_factory=list)
    plan: str = ""
    gaps: list[Gap] = field(default_factory=list)
    ticks: list[Tick] = field(default_factory=list)
    now: Tick | None = None
    marks: list[dict[str, str]] = field(default_factory=list)
    rows: list[dict[str, str]] = field(default_factory=list)
    late: int = 0
    band: float = _BAND


@dataclass(frozen=True, slots=True)
class _Axis:
    """An axis of time without its gaps."""

    start: datetime
    end: datetime
    gaps: Sequence[tuple[datetime, datetime]]

    def place(self, at: datetime) -> float:
        """Return where a time is, in per cent.  A time within a gap is at its beginning."""
        bands = sum(until <= at for _, until in self.gaps) * _BAND
        cut = sum(
            ((min(until, at) - since for since, until in self.gaps if since < at)), timedelta()
        )
        cut_in_all = sum((until - since for since, until in self.gaps), timedelta())
        shown = self.end - self.start - cut_in_all
        scale = 100 - _BAND * len(self.gaps)
        part = (at - self.start - cut) / shown if shown else 0.0
        return round(bands + part * scale, 2)


def lay_out_curve(
    points: Sequence[CurvePoint],
    *,
    top: int,
    now: datetime,
    delivered: int | None,
    plan: CurvePoint | None,
) -> Curve:
    """Lay out a curve up to `top` messages.

    One that is open goes on to now, when this many are `delivered`, and then to its plan.
    """
    curve, start, total = Curve(top), points[0].at, points[-1].delivered
    shown = [*points]
    if delivered is not None:
        shown.append(CurvePoint(max(now, points[-1].at), delivered))
    else:
        shown = _leave_out_tail(shown)
        curve.late = total - shown[-1].delivered
    end = max(plan.at, shown[-1].at) if plan else shown[-1].at
    axis = _Axis(start, end, list(_find_gaps(shown, end - start)))
    curve.lines = [
        Line(" ".join(_locate(axis, point, top) for point in line)) for line in _split(shown, axis)
    ]
    if plan:
        curve.plan = f"{_locate(axis, shown[-1], top)} {_locate(axis, plan, top)}"
    curve.gaps = [
        Gap(since, until, axis.place(since), say_duration(until - since))
        for since, until in axis.gaps
    ]
    curve.ticks = _list_ticks(axis)
    if delivered is not None:
        x = axis.place(shown[-1].at)
        label = f"now, {localize(now):{_choose_format(axis)}}"
        curve.now = Tick(x, label, "start" if x < 60 else "end")
    elif total:
        curve.marks = [
            {
                "label": label,
                "figure": f"{localize(_find_share(points, part)):{_choose_format(axis)}}",
            }
            for label, part in _MARKS.items()
        ]
    curve.rows = [
        {
            "time": _say_time(point.at, now),
            "delivered": f"{point.delivered:,}",
            "share": share(point.delivered, top),
        }
        for point in _choose_rows(points)
    ]
    return curve


def _say_time(at: datetime, now: datetime) -> str:
    day = "" if day_of(at) == day_of(now) else f"{localize(at):%a %-d %b}, "
    return f"{day}{clock_seconds(at)}"


def _leave_out_tail(points: list[CurvePoint]) -> list[CurvePoint]:
    """Leave out the last hundredth if it took longer than all before."""
    start, last = points[0].at, points[-1]
    nearly_all = _find_share(points, _TAIL)
    end = nearly_all + (nearly_all - start) / 4
    if last.at - start <= 2 * (end - start):
        return points
    kept = [point for point in points if point.at <= end]
    return [*kept, CurvePoint(end, kept[-1].delivered)]


def _find_share(points: Sequence[CurvePoint], part: float) -> datetime:
    """Return when this part of all messages was delivered, between two points by proportion."""
    wanted = part * points[-1].delivered
    for before, after in pairwise(points):
        if after.delivered >= wanted and after.delivered > before.delivered:
            within = (wanted - before.delivered) / (after.delivered - before.delivered)
            return before.at + (after.at - before.at) * within
    return points[-1].at


def _find_gaps(
    points: Sequence[CurvePoint], span: timedelta
) -> Iterator[tuple[datetime, datetime]]:
    for before, after in pairwise(points):
        is_still = after.delivered == before.delivered
        if is_still and after.at - before.at > max(span * _CUT_ABOVE, _LEAST_CUT):
            yield before.at, after.at


def _split(points: Sequence[CurvePoint], axis: _Axis) -> Iterator[list[CurvePoint]]:
    """Yield the parts of a curve between its gaps."""
    beginnings, part = {until for _, until in axis.gaps}, list[CurvePoint]()
    for point in points:
        if point.at in beginnings and part:
            yield part
            part = []
        part.append(point)
    yield part


def _locate(axis: _Axis, point: CurvePoint, top: int) -> str:
    """Return a point of the drawing, whose y grows downwards."""
    x = round(axis.place(point.at) * _WIDTH / 100, 1)
    y = round(_HEIGHT - point.delivered * _HEIGHT / max(top, 1), 2)
    return f"{x:g},{y:g}"


def _choose_format(axis: _Axis) -> str:
    if axis.end - axis.start < timedelta(minutes=10):
        return "%H:%M:%S"
    return "%H:%M" if day_of(axis.end) == day_of(axis.start) else "%a %H:%M"


def _list_ticks(axis: _Axis) -> list[Tick]:
    """Return the labels of start, end and gaps, as far as they do not cover each other."""
    how = _choose_format(axis)
    wanted = [
        Tick(0, f"{localize(axis.start):{how}}", "start"),
        Tick(100, f"{localize(axis.end):{how}}", "end"),
    ]
    for since, until in axis.gaps:
        x = axis.place(since)
        wanted += [
            Tick(x, f"{localize(since):{how}}", "end"),
            Tick(x + _BAND, f"{localize(until):{how}}", "start"),
        ]
    ticks = list[Tick]()
    for tick in wanted:
        if all(_are_apart(tick, other) for other in ticks):
            ticks.append(tick)
    return ticks


def _are_apart(one: Tick, other: Tick) -> bool:
    (first, end), (second, other_end) = _measure_tick(one), _measure_tick(other)
    return end < second or other_end < first


def _measure_tick(tick: Tick) -> tuple[float, float]:
    width = _LABEL_WIDTHS[len(tick.label)]
    return (tick.x, tick.x + width) if tick.anchor == "start" else (tick.x - width, tick.x)


def _choose_rows(points: Sequence[CurvePoint]) -> list[CurvePoint]:
    """Return some points with different figures, among them the first and the last."""
    risen = [*{point.delivered: point for point in reversed(points)}.values()][::-1]
    if len(risen) <= _TABLE_ROWS:
        return risen
    step = (len(risen) - 1) / (_TABLE_ROWS - 1)
    return [risen[round(number * step)] for number in range(_TABLE_ROWS)]
