"""Has the chart of a server's use drawn, in a process of its own (`usage_chart_worker.py`)."""

import asyncio
import json
from asyncio.subprocess import PIPE
from collections.abc import Sequence

from bot.domain.usage_stats import Day, by_week
from bot.media import sandbox

MAX_DAILY_BARS = 366  # longer periods are drawn by week
_TIMEOUT_S = 60.0  # it takes a tenth of a second


async def draw(days: Sequence[Day], *, timeout_s: float = _TIMEOUT_S) -> bytes:
    """The chart as a PNG. days: at least one, without gaps. Raises: OSError if the process fails."""
    process = await sandbox.start("bot.media.usage_chart_worker", stdin=PIPE, stdout=PIPE)
    try:
        async with asyncio.timeout(timeout_s):
            picture, errors = await process.communicate(chart(days))
    finally:
        sandbox.kill(process)
        await process.wait()
    if process.returncode != 0:
        message = errors.decode(errors="replace").strip()[-300:]
        raise OSError(f"the chart's process exited with {process.returncode}: {message}")
    return picture


def chart(days: Sequence[Day]) -> bytes:
    """What that process reads: the fields of its `Chart`, as JSON."""
    unit, bars = ("day", tuple(days)) if len(days) <= MAX_DAILY_BARS else ("week", by_week(tuple(days)))
    return json.dumps(
        {
            "unit": unit,
            "days": [bar.day.isoformat() for bar in bars],
            "videos": {
                "delivered": [bar.videos.delivered for bar in bars],
                "failed": [bar.videos.failed for bar in bars],
                "cancelled": [bar.videos.cancelled for bar in bars],
                "in progress": [bar.videos.in_progress for bar in bars],
            },
            "costs": {
                "settled": [max(0.0, float(bar.usd - bar.reserved_usd)) for bar in bars],
                "reserved": [max(0.0, float(bar.reserved_usd)) for bar in bars],
            },
        }
    ).encode()
