"""What tests ask for where the bot has a setting: which providers take how much, and the kinds of their tasks."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

from bot.domain.guilds import Budget
from bot.domain.jobs import DEFAULT_DURATION_S, DEFAULT_MODEL, ProviderName, Resolution
from bot.domain.models import Catalog, TaskKind
from bot.domain.provider_limits import ProviderLimits

VTRIX, DASHSCOPE = ProviderName.VTRIX, ProviderName.DASHSCOPE


def kind(resolution: Resolution, provider: ProviderName = VTRIX) -> TaskKind:
    """The kind of the default model's tasks."""
    return TaskKind(provider, DEFAULT_MODEL, resolution, DEFAULT_DURATION_S)


P480, P720 = kind(Resolution.P480), kind(Resolution.P720)

CATALOG = Catalog(prices={P480: Decimal("0.10"), P720: Decimal("0.20")})
"""With round prices."""


def vtrix(max_running: int, pause: timedelta = timedelta(0)) -> tuple[ProviderLimits, ...]:
    """One provider, which takes so many tasks at once, with this pause between two submissions."""
    return (ProviderLimits(VTRIX, max_running, pause),)


TWO_PROVIDERS = replace(CATALOG, providers=(VTRIX, DASHSCOPE))
"""The same model, made by the second provider where the first doesn't take it."""


def takes(
    provider: ProviderName,
    max_running: int = 5,
    pause: timedelta = timedelta(0),
    usd_per_day: str | None = None,
    usd_per_month: str | None = None,
) -> ProviderLimits:
    """How much a provider takes."""
    day, month = (None if usd is None else Decimal(usd) for usd in (usd_per_day, usd_per_month))
    return ProviderLimits(provider, max_running, pause, budget=Budget(day, month))


BOTH = (takes(VTRIX), takes(DASHSCOPE))
