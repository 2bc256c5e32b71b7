"""Durations as people write and read them: "7d", "1 day 12 hours", "90 min". Pure."""

import re
from datetime import timedelta

from bot.domain.errors import Problem, UserError

DURATION_MAX = timedelta(days=3650)
"""Ten years, far below where dates overflow."""

_UNITS = {
    spelling: seconds
    for seconds, spellings in (
        (1, ("s", "sec", "secs", "second", "seconds")),
        (60, ("m", "min", "mins", "minute", "minutes")),
        (3600, ("h", "hr", "hrs", "hour", "hours")),
        (86_400, ("d", "day", "days")),
        (604_800, ("w", "week", "weeks")),
    )
    for spelling in spellings
}

_DIGITS_MAX = 9
_TEXT_MAX = 100
_PART = re.compile(rf"(\d{{1,{_DIGITS_MAX}}})\s*([a-z]+)[\s,]*", re.ASCII)


def parse_duration(text: str, *, default_unit: str | None = None) -> timedelta:
    """Parses numbers with a unit each, from seconds to weeks.

    default_unit: for a number without one ("s", "m", "h", "d" or "w"); None: such a number is refused.
    Raises: UserError, also for more than `DURATION_MAX`.
    """
    line = text.strip().lower()
    if default_unit is not None and re.fullmatch(rf"\d{{1,{_DIGITS_MAX}}}", line, re.ASCII):
        line += default_unit
    seconds, at = 0, 0
    while len(line) <= _TEXT_MAX and (part := _PART.match(line, at)) is not None and part[2] in _UNITS:
        seconds += int(part[1]) * _UNITS[part[2]]
        at = part.end()
    if at == 0 or at < len(line):
        raise UserError(Problem.DURATION_UNREADABLE)
    if seconds > DURATION_MAX.total_seconds():
        raise UserError(Problem.DURATION_TOO_LONG)
    return timedelta(seconds=seconds)


def show_duration(duration: timedelta) -> str:
    """The duration in words, exact to the second: "1 day 12 hours"."""
    left, words = int(duration.total_seconds()), []
    for name, seconds in (("day", 86_400), ("hour", 3600), ("minute", 60), ("second", 1)):
        number, left = divmod(left, seconds)
        if number:
            words.append(f"{number} {name}{'' if number == 1 else 's'}")
    return " ".join(words) or "0 seconds"


def window_text(window: timedelta) -> str:
    """The rolling window in words: in hours up to two days, then in whole days if possible."""
    hours = round(window.total_seconds() / 3600)
    if hours == 1:
        return "1 hour"
    return f"{hours} hours" if hours <= 48 or hours % 24 else f"{hours // 24} days"  # noqa: PLR2004 - two days
