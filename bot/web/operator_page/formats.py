"""How the page writes times, amounts and names: as filters of its templates. Pure."""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from bot.chat.messages.markdown import before_web_page, fitting, one_line, visible
from bot.chat.messages.server_names import known_name
from bot.domain.durations import show_duration
from bot.domain.jobs import Order
from bot.domain.models import title_of
from bot.domain.money import percent, show_usd

RESPONSE_MAX = 20_000
"""The most that is shown of a provider's answer, in characters."""

_NAME_MAX = 60
_TEXT_MAX = 4000
_MINUTE_S = 60
_HOUR_S = 3600
_DAY_S = 86_400


def utc(moment: datetime) -> str:
    """A time to the second: `2026-01-31 09:05:00`. Days and budgets are in UTC, and so is the page."""
    return f"{moment:%Y-%m-%d %H:%M:%S}"


def span(seconds: float) -> str:
    """A length of time in two units at most: `45 s`, `3 min 20 s`, `5 h 10 min`, `3 d 4 h`."""
    whole = max(0, round(seconds))
    if whole < _MINUTE_S:
        return f"{whole} s"
    for size, unit, below, small in ((_DAY_S, "d", _HOUR_S, "h"), (_HOUR_S, "h", _MINUTE_S, "min")):
        if whole >= size:
            rest = whole % size // below
            return f"{whole // size} {unit}" + (f" {rest} {small}" if rest else "")
    rest = whole % _MINUTE_S
    return f"{whole // _MINUTE_S} min" + (f" {rest} s" if rest else "")


def ago(moment: datetime, now: datetime) -> str:
    """How long ago a time is; `in 5 min` for one that is still to come."""
    seconds = (now - moment).total_seconds()
    return f"in {span(-seconds)}" if seconds < 0 else f"{span(seconds)} ago"


def usd(amount: Decimal) -> str:
    """An amount in USD."""
    return show_usd(amount)


def share(used: Decimal | float, limit: Decimal | float | None) -> int:
    """The used share of a limit in percent, at most 100; 0 without a limit."""
    return 0 if limit is None else min(100, percent(Decimal(used), Decimal(limit)))


def server(guild_id: int, names: Mapping[int, str]) -> str:
    """A server's name, if this process knows it, or its id."""
    known = known_name(guild_id, names)
    return str(guild_id) if known is None else fitting(one_line(known), _NAME_MAX, str)


def kind(order: Order) -> str:
    """With what a video is made: the model, the resolution and how long it is."""
    return f"{title_of(order.model)}, {order.resolution}, {order.duration_s} s"


def text(foreign: str) -> str:
    """Foreign text with its lines, without what can't be seen; cut if it is very long."""
    return fitting(visible(foreign), _TEXT_MAX, str)


def answer(response: Mapping[str, Any]) -> str:
    """A provider's answer as indented JSON, up to where a web page begins."""
    shown = before_web_page(json.dumps(response, ensure_ascii=False, indent=2, default=str))
    return fitting(visible(shown), RESPONSE_MAX, str)


def duration(length: timedelta) -> str:
    """A length of time as settings have it."""
    return show_duration(length)
