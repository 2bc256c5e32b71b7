"""What an order will take from its member and cost, to be said before anything is ordered. Pure.

A quote is made of the same decision that accepts an order (`bot.store.jobs.admission`), so the two can't differ.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from bot.domain.jobs import Resolution
from bot.domain.limits import Limits, Usage
from bot.domain.quotas import WithinQuota


@dataclass(frozen=True, slots=True)
class Quote:
    """What an order takes, if it is placed now.

    videos: how many it is for. by_credits: how many of these credits pay for; the others count in the window.
    left: how many videos the window has room for, before the order; None if the member's limits don't apply to
    them. window: the rolling time in which videos count. credits_left: the member's, before the order.
    resolution: of the videos. estimate: what all of them will cost, in USD.
    """

    videos: int
    by_credits: int
    left: int | None
    window: timedelta
    credits_left: int
    resolution: Resolution
    estimate: Decimal

    @property
    def by_window(self) -> int:
        """How many of the videos count in the window."""
        return self.videos - self.by_credits


def quote_of(
    limits: Limits, usage: Usage, verdicts: Sequence[WithinQuota], resolution: Resolution, estimate: Decimal
) -> Quote:
    """What accepted videos take. limits, usage: the member's, before. estimate: of each video, in USD."""
    return Quote(
        videos=len(verdicts),
        by_credits=sum(verdict.credit_grant_id is not None for verdict in verdicts),
        left=usage.left(limits),
        window=limits.window,
        credits_left=sum(credit.left for credit in usage.credits),
        resolution=resolution,
        estimate=estimate * len(verdicts),
    )
