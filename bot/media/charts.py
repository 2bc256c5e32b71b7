"""Has charts drawn, in a process of its own (`chart_worker.py`): use, costs, and a member's quota."""

import asyncio
import json
from asyncio.subprocess import PIPE
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from bot.domain.cost_history import CostDay, providers_of
from bot.domain.limits import Allowance
from bot.domain.usage_stats import Day, by_week
from bot.media import sandbox

MAX_DAILY_BARS = 366  # longer periods are drawn by week
_TIMEOUT_S = 60.0  # it takes a tenth of a second


async def draw_usage(days: Sequence[Day], *, timeout_s: float = _TIMEOUT_S) -> bytes:
    """A server's use as a PNG. days: at least one, without gaps. Raises: OSError if the process fails."""
    return await _draw(usage_input(days), timeout_s)


async def draw_quota(allowance: Allowance, *, timeout_s: float = _TIMEOUT_S) -> bytes:
    """A member's rolling window as a PNG: what is left, and when more unlocks. Raises: OSError if that fails."""
    return await _draw(quota_input(allowance), timeout_s)


async def draw_costs(
    days: Sequence[CostDay], usd_per_day: Decimal | None, *, timeout_s: float = _TIMEOUT_S
) -> bytes:
    """What videos cost on each day as a PNG, by provider, and a day's budget. Raises: OSError if that fails."""
    return await _draw(costs_input(days, usd_per_day), timeout_s)


async def _draw(chart: Mapping[str, Any], timeout_s: float) -> bytes:
    process = await sandbox.start("bot.media.chart_worker", stdin=PIPE, stdout=PIPE)
    try:
        async with asyncio.timeout(timeout_s):
            picture, errors = await process.communicate(json.dumps(chart).encode())
    finally:
        sandbox.kill(process)
        await process.wait()
    if process.returncode != 0:
        message = errors.decode(errors="replace").strip()[-300:]
        raise OSError(f"the chart's process exited with {process.returncode}: {message}")
    return picture


def usage_input(days: Sequence[Day]) -> dict[str, Any]:
    """What that process reads: the fields of its `Usage`."""
    unit, bars = ("day", tuple(days)) if len(days) <= MAX_DAILY_BARS else ("week", by_week(tuple(days)))
    return {
        "unit": unit,
        "days": [bar.day.isoformat() for bar in bars],
        "videos": {
            "delivered": [bar.videos.delivered for bar in bars],
            "failed": [bar.videos.failed for bar in bars],
            "rejected": [bar.videos.rejected for bar in bars],
            "cancelled": [bar.videos.cancelled for bar in bars],
            "in progress": [bar.videos.in_progress for bar in bars],
        },
        "costs": {
            "settled": [max(0.0, float(bar.usd - bar.reserved_usd)) for bar in bars],
            "reserved": [max(0.0, float(bar.reserved_usd)) for bar in bars],
        },
    }


def quota_input(allowance: Allowance) -> dict[str, Any]:
    """What that process reads: the fields of its `Quota`. Only for a member with a limit above zero."""
    limits, charged_at = allowance.limits, allowance.usage.charged_at
    limit, window_s = limits.videos_per_window.value, limits.window.total_seconds()
    excess = max(0, len(charged_at) - limit)  # when these leave the window, nothing unlocks
    unlocks_in_s = [(at + limits.window - allowance.at).total_seconds() for at in charged_at[excess:]]
    return {
        "limit": limit,
        "left": limit - len(unlocks_in_s),
        "window_s": window_s,
        "unlocks_in_s": [min(max(seconds, 0.0), window_s) for seconds in unlocks_in_s],
    }


def costs_input(days: Sequence[CostDay], usd_per_day: Decimal | None) -> dict[str, Any]:
    """What that process reads: the fields of its `Costs`."""
    return {
        "days": [day.day.isoformat() for day in days],
        "by_provider": {
            name.value: [max(0.0, float(day.by_provider.get(name, 0))) for day in days]
            for name in providers_of(days)
        },
        "budget": None if usd_per_day is None else float(usd_per_day),
    }
