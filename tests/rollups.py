"""Daily counters for tests: brought up to date, read, and checked."""

from collections import Counter
from datetime import timedelta
from typing import Any

from app.sms.context import Context
from app.sms.lifecycle.latency import read_packed, unpack
from app.sms.models.daily import DailyCount, DailyDelay, DailyInbound
from app.worker.jobs import roll_up
from tests.machine import Machine
from tests.reporting import read_all
from tests.rollup_checks import check_daily_sums, check_delivery_sums, check_shares

# Longer than between any two passes.
_PAUSE_S = 61


def roll_up_now(machine: Machine) -> None:
    """Roll up, however recent the last roll-up is."""
    machine.clock.advance(_PAUSE_S)
    roll_up(machine.ctx)


def wait_for_noon(machine: Machine) -> None:
    """Let time pass until the next noon in UTC, so that a test stays within a day."""
    now = machine.ctx.now()
    noon = now.replace(hour=12, minute=0, second=0, microsecond=0) + timedelta(days=1)
    machine.clock.advance((noon - now).total_seconds())


def daily_counts(ctx: Context) -> dict[tuple[Any, ...], int]:
    """Read the number of messages by (day, country, status, code)."""
    counts = Counter[tuple[Any, ...]]()
    for row in read_all(ctx, DailyCount):
        counts[row.day, row.country, row.status.value, row.code] += row.messages
    return {key: messages for key, messages in counts.items() if messages}


def daily_delays(ctx: Context) -> dict[tuple[Any, ...], int]:
    """Read the number of delivered messages by (day, country, bucket)."""
    delays = Counter[tuple[Any, ...]]()
    for row in read_all(ctx, DailyDelay):
        for bucket, messages in unpack(read_packed(row.delays)).items():
            delays[row.day, row.country, bucket] += messages
    return dict(delays)


def daily_inbounds(ctx: Context) -> dict[tuple[Any, ...], tuple[int, int]]:
    """Read the number of inbounds, and of those that are opt-outs, by (day, client)."""
    rows = read_all(ctx, DailyInbound)
    return {(row.day, row.client): (row.inbounds, row.opt_outs) for row in rows}


def miscounts(ctx: Context) -> list[str]:
    """Return what is wrong with the counters."""
    with ctx.db.read() as tx:
        return [*check_daily_sums(tx), *check_delivery_sums(tx), *check_shares(tx)]
