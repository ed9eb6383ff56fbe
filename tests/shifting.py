"""The time of day set forth or back under a running service, as an administrator may."""

from dataclasses import replace
from datetime import datetime, timedelta

from flask import Flask

from app.clock import Clock


class ShiftedClock(Clock):
    """The machine's clocks, the time of day off by so many seconds."""

    def __init__(self, by_s: float) -> None:
        self._by = timedelta(seconds=by_s)

    def now(self) -> datetime:
        return super().now() + self._by


def shift_clock(service: Flask, by_s: float) -> None:
    """Let a service see a time of day so many seconds from the true one."""
    ctx = service.extensions["clarion"]
    service.extensions["clarion"] = replace(ctx, clock=ShiftedClock(by_s))


def begin_hour(service: Flask) -> None:
    """Let a service see the next noon: no hour and no day, of a cap, ends while a test runs."""
    now = Clock().now()
    noon = now.replace(hour=12, minute=0, second=1, microsecond=0)
    noon += timedelta(days=noon < now)
    shift_clock(service, (noon - now).total_seconds())
