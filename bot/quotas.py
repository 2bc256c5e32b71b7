"""Who may ask for how much, and why not. Pure: usage comes in as numbers and times, a verdict goes out.

The store gathers the usage and asks for the verdict in the transaction that adds the job, so that
simultaneous requests never pass a limit together.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

WINDOW = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one member may have in one server. `per_day`: videos in a rolling 24 hours; `running`: at once."""

    per_day: int
    running: int


@dataclass(frozen=True, slots=True)
class Usage:
    """What one member has in one server.

    counted_at: when each video that counts in the window was asked for, oldest first.
    running: jobs that have not ended.
    """

    counted_at: tuple[datetime, ...]
    running: int


def next_free_at(usage: Usage, limits: Limits) -> datetime | None:
    """When the window lets one more video in; None where it does already, or never will (a limit of zero)."""
    over = len(usage.counted_at) - limits.per_day
    if over < 0 or limits.per_day == 0:
        return None
    return usage.counted_at[over] + WINDOW


def refusal(usage: Usage, limits: Limits) -> str | None:
    """Why one more video is refused, in words for the member; None where it may be made.

    The running limit is named first: it frees sooner.
    """
    if usage.running >= limits.running:
        return (
            f"You have {usage.running} of {limits.running} videos in the making. "
            "The next one can start when one of them is finished; `/videos list` shows them."
        )
    if len(usage.counted_at) >= limits.per_day:
        frees_at = next_free_at(usage, limits)
        used = f"You have used {len(usage.counted_at)} of {limits.per_day} videos in 24 hours."
        if frees_at is None:
            return f"{used} This server gives none at present."
        return f"{used} The next one frees <t:{int(frees_at.timestamp())}:R>."
    return None
