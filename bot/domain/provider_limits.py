"""How much each provider takes, as its account allows and as the operator wants to spend. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import ROUND_FLOOR, Decimal

from bot.domain.guilds import Budget
from bot.domain.jobs import DEFAULT_MODEL, Job, Order, ProviderName
from bot.domain.ledger import NANO
from bot.domain.models import Catalog
from bot.domain.quotas import Spent

NO_BUDGET = Budget()

_NO_LIMIT_USD = Decimal(1_000_000_000)
"""More than anything costs, and an amount that both databases take."""

RATE_WAIT_MAX = timedelta(seconds=5)
"""Jobs wait this long for their provider's next submission, rather than go to another one."""


@dataclass(frozen=True, slots=True)
class ProviderLimits:
    """What may be submitted to a provider.

    max_running: tasks at the same time. submit_interval: the pause between two submissions. models: those that it
    makes. budget: what all tasks there may cost, besides the budgets for everything.
    """

    provider: ProviderName = ProviderName.VTRIX
    max_running: int = 2
    submit_interval: timedelta = timedelta(seconds=0.5)
    models: frozenset[str] = field(default=frozenset({DEFAULT_MODEL}))
    budget: Budget = NO_BUDGET

    def room(self, spent: Spent) -> Decimal:
        """What is left of its budget, in USD and the ledger's resolution; less than nothing if it was exceeded."""
        budget = self.budget
        left = [
            limit - used
            for limit, used in (
                (budget.usd_per_day, spent.usd_today),
                (budget.usd_per_month, spent.usd_month),
            )
            if limit is not None
        ]
        return min([*left, _NO_LIMIT_USD]).quantize(NANO, rounding=ROUND_FLOOR)

    def ever_fits(self, usd: Decimal) -> bool:
        """Whether its budget has room for such a task as long as nothing else is spent."""
        return usd <= self.room(Spent())

    def ever_takes(self, job: Job) -> bool:
        """Whether it makes the job's model, and the job fits its budget on some day."""
        return job.order.model in self.models and self.ever_fits(job.estimated_cost_usd or Decimal(0))


def is_too_dear(catalog: Catalog, budgets: Mapping[ProviderName, Budget], order: Order, estimate: Decimal) -> bool:
    """Whether an order costs more than the budget of any provider that makes its model has room for on any day.

    budgets: of the providers, where they have any. estimate: in USD. Such an order would wait for ever.
    """
    kinds = catalog.kinds_of(order)
    limits = [ProviderLimits(kind.provider, budget=budgets.get(kind.provider, NO_BUDGET)) for kind in kinds]
    return bool(limits) and not any(each.ever_fits(estimate) for each in limits)


def models_at(catalog: Catalog, provider: ProviderName) -> frozenset[str]:
    """The models that the bot offers and has made by this provider."""
    return frozenset(model.name for model in catalog.models if model.offering(provider) is not None)


def slots(providers: Sequence[ProviderLimits]) -> int:
    """How many tasks may run at the same time, at all providers together."""
    return sum(limits.max_running for limits in providers)
