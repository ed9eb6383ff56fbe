"""Curve and countries of a broadcast as its page shows them."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from app.phone.country_names import name_country
from app.sms.analytics.delivery import CountryFigures, CurvePoint, DeliveryFigures
from app.sms.broadcasts.views import BroadcastView
from app.sms.models.states import BroadcastStatus
from app.sms.operations.history import HistoryEntry
from app.web.broadcasts.accounting import Accounting
from app.web.broadcasts.curve import Curve, lay_out_curve
from app.web.broadcasts.history import describe_entry, find_pause
from app.web.broadcasts.states import is_being_counted
from app.web.words import clock_time, share, texts

_B = BroadcastStatus
# Deliveries are awaited: the curve goes on to now.
_OPEN = (_B.QUEUED, _B.SENDING, _B.PAUSED, _B.HALTED)
# Texts that were handed to Sinch before a pause arrive after it.
_PAUSED_BEFORE = timedelta(minutes=5)
_ON_ITS_WAY = ("delivered", "sending", "waiting", "held")
_COUNTRIES_SHOWN = 8


def describe_delivery(
    view: BroadcastView,
    delivery: DeliveryFigures,
    accounting: Accounting,
    history: Sequence[HistoryEntry],
) -> dict[str, Any]:
    """Return chart, notes below it, and countries; None for what has no figures yet."""
    is_open = view.row.status in _OPEN
    chart = None
    if delivery.delivered or (is_open and view.row.first_submitted_at):
        chart = lay_out_curve(
            delivery.curve,
            top=accounting.to_send if is_open else max(accounting.handed, accounting.delivered),
            now=view.seen_at,
            delivered=accounting.delivered if is_open else None,
            plan=_plan(view, accounting),
        )
    countries = _join_rest(delivery.countries)
    return {
        "chart": chart,
        "chart_title": "Delivered so far" if is_open else "How quickly it arrived",
        "chart_notes": _list_notes(view, delivery, chart, history) if chart else [],
        "countries": [
            {"name": _name(figures.country)} | _show_figures(figures) for figures in countries
        ],
        "countries_sum": _show_figures(_add_up(delivery.countries)),
        "behind": delivery.behind if is_being_counted(view) else 0,
    }


def _plan(view: BroadcastView, accounting: Accounting) -> CurvePoint | None:
    """Return when all that is not deferred is delivered, if all goes on as it went."""
    finish = view.progress.finishes_at
    if finish is None or not view.progress.per_second:
        return None
    figure = sum(line.figure for line in accounting.lines if line.kind in _ON_ITS_WAY)
    return CurvePoint(finish, figure - view.deferred[0])


def _list_notes(
    view: BroadcastView, delivery: DeliveryFigures, chart: Curve, history: Sequence[HistoryEntry]
) -> list[str]:
    """Return sentences on what the curve assumes and leaves out."""
    now, notes = view.seen_at, []
    if chart.plan:
        notes.append(f"Dashed: as planned at {view.progress.per_second or 0:,.0f} a second.")
    deferred, last = view.deferred
    if chart.plan and deferred and last:
        notes.append(f"The last {deferred:,} follow at {clock_time(last, now)}.")
    for gap in chart.gaps:
        since, until = clock_time(gap.since, now), clock_time(gap.until, now)
        pause = find_pause(history, gap.since - _PAUSED_BEFORE, gap.until)
        why = f": {describe_entry(pause)}" if pause else "."
        notes.append(f"Nothing was delivered from {since} to {until}{why}")
    if chart.late:
        end = clock_time(delivery.curve[-1].at, now)
        notes.append(f"{texts(chart.late)} arrived later, the last by {end}.")
    return notes


def _join_rest(countries: list[CountryFigures]) -> list[CountryFigures]:
    """Return the largest countries; the others together as "", if there are several."""
    rest = countries[_COUNTRIES_SHOWN - 1 :]
    return countries if len(rest) <= 1 else [*countries[: -len(rest)], _add_up(rest)]


def _name(country: str) -> str:
    return name_country(country) if country else "Other countries"


def _add_up(countries: list[CountryFigures]) -> CountryFigures:
    return CountryFigures(
        "",
        sent=sum(each.sent for each in countries),
        delivered=sum(each.delivered for each in countries),
        failed=sum(each.failed for each in countries),
    )


def _show_figures(figures: CountryFigures) -> dict[str, Any]:
    rest = figures.sent - figures.delivered - figures.failed
    return {
        "delivered": figures.delivered,
        "sent": figures.sent,
        "share": share(figures.delivered, figures.sent),
        "parts": [
            {"kind": "delivered", "figure": figures.delivered},
            {"kind": "not-reached", "figure": figures.failed},
            {"kind": "waiting", "figure": rest},
        ],
        "in_words": f"Delivered {figures.delivered:,}, not reached {figures.failed:,}, "
        f"without an end {rest:,}",
    }
