"""Limits and usage of a member, at one fixed time."""

from datetime import UTC, datetime, timedelta

from bot.domain.limits import (
    Limit,
    Limits,
    Origin,
    Usage,
)

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
DAY = timedelta(hours=24)


def limits(
    videos: int = 5, max_active: int = 2, cooldown_s: int = 0, window: timedelta = DAY, *, exempt: bool = False
) -> Limits:
    first, second, third = (Limit(value, Origin.OPERATOR) for value in (videos, max_active, cooldown_s))
    return Limits(first, second, third, window, exempt)


LIMITS = limits()


def usage(*ages_h: float, running: int = 0) -> Usage:
    return Usage(tuple(NOW - timedelta(hours=age) for age in ages_h), running)
