"""How much each provider takes, as its account allows and as the operator wants to spend. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal

from bot.domain.guilds import Budget
from bot.domain.jobs import DEFAULT_MODEL, ProviderName
from bot.domain.models import Catalog
from bot.domain.quotas import Spent

PACE_WAIT_MAX = timedelta(seconds=5)
"""Jobs wait this long for their provider's next submission, rather than go to another one."""


@dataclass(frozen=True, slots=True)
class ProviderLimits:
    """What may be submitted to a provider.

    max_running: tasks at the same time. submit_interval: the pause between two submissions. models: those it makes.
    budget: what all tasks there may cost, besides the budgets for everything.
    """

    provider: ProviderName = ProviderName.VTRIX
    max_running: int = 2
    submit_interval: timedelta = timedelta(seconds=0.5)
    models: frozenset[str] = field(default=frozenset({DEFAULT_MODEL}))
    budget: Budget = Budget()

    def has_room(self, spent: Spent, estimate: Decimal) -> bool:
        """Whether one more task fits its budget."""
        budget = self.budget
        return (budget.usd_per_day is None or spent.usd_today + estimate <= budget.usd_per_day) and (
            budget.usd_per_month is None or spent.usd_month + estimate <= budget.usd_per_month
        )


def models_at(catalog: Catalog, provider: ProviderName) -> frozenset[str]:
    """The models that the bot offers and has made by this provider."""
    return frozenset(model.name for model in catalog.models if model.offering(provider) is not None)


def slots(providers: Sequence[ProviderLimits]) -> int:
    """How many tasks may run at the same time, at all providers together."""
    return sum(limits.max_running for limits in providers)
