"""What videos cost on each of some days, in UTC. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal

from bot.domain.jobs import ProviderName

_NO_USD = Decimal(0)


@dataclass(frozen=True, slots=True)
class CostDay:
    """One day over all servers.

    videos, usd: of what was ordered on it, reserved or paid, as budgets count it. by_provider: in USD, what each
    provider got on it; a video that waits belongs to none yet, and one that was ordered just before midnight to
    the day after.
    """

    day: date
    videos: int = 0
    usd: Decimal = _NO_USD
    by_provider: Mapping[ProviderName, Decimal] = field(default_factory=dict, hash=False)


def providers_of(days: Sequence[CostDay]) -> tuple[ProviderName, ...]:
    """The providers that cost anything on these days."""
    return tuple(name for name in ProviderName if any(name in day.by_provider for day in days))


def total_usd(days: Sequence[CostDay]) -> Decimal:
    """What was ordered on these days costs so much."""
    return sum((day.usd for day in days), _NO_USD)
