"""Exports what the database says, as it was read for this scrape.

Every process that shares the database exports the same figures: an alert takes their maximum, never their sum. If
the database does not answer, the rest of the scrape is unharmed, and `zoetrope_database_up` is 0.
"""

from collections.abc import Iterable, Iterator
from decimal import Decimal

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from bot.domain.guilds import Budget
from bot.domain.jobs import ACTIVE
from bot.domain.quotas import Spent
from bot.store.monitoring import Figures, ProviderFigures

ALL = "all"
"""The scope of the budget for the videos of all providers together; those of one have its name."""


class DatabaseCollector(Collector):
    """Exports `figures`, which whoever answers a scrape sets before. None: the database did not answer."""

    def __init__(self) -> None:
        self.figures: Figures | None = None

    def collect(self) -> Iterator[Metric]:
        """Called by the registry."""
        figures = self.figures
        yield _gauge("database_up", "Whether the database answered in time.", [], [((), figures is not None)])
        if figures is not None:
            yield from _of_jobs(figures)
            yield from _of_providers(figures)
            yield from _of_money(figures)

    def describe(self) -> Iterable[Metric]:
        """Nothing: a registry would otherwise read the figures in order to learn the names."""
        return ()


Samples = Iterable[tuple[tuple[str, ...], float | Decimal | bool]]


def _gauge(name: str, text: str, labels: list[str], samples: Samples) -> Metric:
    family = GaugeMetricFamily(f"zoetrope_{name}", text, labels=labels)
    for values, value in samples:
        family.add_metric(values, float(value))
    return family


def _of_jobs(figures: Figures) -> Iterator[Metric]:
    found, states = figures.in_progress, sorted(ACTIVE)
    of_state = {state: [each for each in found if each.state is state] for state in states}
    yield _gauge(
        "jobs",
        "Jobs in progress, by state.",
        ["state"],
        (((state,), sum(each.jobs for each in of_state[state])) for state in states),
    )
    yield _gauge(
        "jobs_leased",
        "Jobs in progress that a worker has under a lease, by state.",
        ["state"],
        (((state,), sum(each.leased for each in of_state[state])) for state in states),
    )
    yield _gauge(
        "oldest_job_age_seconds",
        "How long the job that came to its state first has been in it; 0 if there is none.",
        ["state"],
        (
            ((state,), max([each.oldest.total_seconds() for each in of_state[state]], default=0.0))
            for state in states
        ),
    )
    yield _gauge(
        "overdue_seconds",
        "How long the job that was due first has waited for a worker, by what it is due for.",
        ["kind"],
        (((kind,), overdue.total_seconds()) for kind, overdue in figures.overdue.items()),
    )
    yield _gauge("queue_limit", "How many jobs may wait.", [], [((), figures.queue_limit)])
    yield _gauge("draining", "Whether the operator lets no new jobs in.", [], [((), figures.is_draining)])
    yield _gauge(
        "notifications_pending",
        "Notifications for log channels that are due to be sent.",
        [],
        [((), figures.notifications)],
    )
    yield _gauge(
        "notifications_oldest_seconds",
        "How long the first of the notifications that aren't sent yet has waited; 0 if there is none.",
        [],
        [((), figures.oldest_notification.total_seconds())],
    )


def _of_providers(figures: Figures) -> Iterator[Metric]:
    providers = figures.providers

    def each(name: str, text: str, value: Iterable[float]) -> Metric:
        return _gauge(name, text, ["provider"], (((key,), one) for key, one in zip(providers, value, strict=True)))

    yield each(
        "gate_open",
        "Whether jobs are submitted to the provider.",
        (not each.is_closed for each in providers.values()),
    )
    yield each(
        "gate_closed_until_timestamp_seconds",
        "When the provider's gate opens, as Unix time; 0 while it is open.",
        (_closed_until_s(each) for each in providers.values()),
    )
    yield each(
        "gate_failures",
        "How often in a row the gate has closed.",
        (each.gate.failures for each in providers.values()),
    )
    yield each(
        "out_of_budget",
        "Whether the operator's budget for the provider has no room for any video.",
        (each.gate.is_out_of_budget for each in providers.values()),
    )
    yield each("slots", "How many tasks may run at the provider.", (each.slots for each in providers.values()))
    yield each(
        "slots_used",
        "Tasks that run at the provider or are being submitted.",
        (each.slots_used for each in providers.values()),
    )


def _closed_until_s(provider: ProviderFigures) -> float:
    opens_at = provider.gate.opens_at
    return opens_at.timestamp() if provider.is_closed and opens_at is not None else 0.0


def _of_money(figures: Figures) -> Iterator[Metric]:
    pools: dict[str, tuple[Budget, Spent]] = {ALL: (figures.budget, figures.spent)}
    pools |= {name: (each.budget, each.spent) for name, each in figures.providers.items()}
    yield _gauge(
        "spent_usd",
        "What videos cost in this UTC day or month, reservations included.",
        ["scope", "period"],
        (
            ((scope, period), usd)
            for scope, (_, spent) in pools.items()
            for period, usd in (("day", spent.usd_today), ("month", spent.usd_month))
        ),
    )
    yield _gauge(
        "budget_usd",
        "What videos may cost in a UTC day or month; missing where there is no limit.",
        ["scope", "period"],
        (
            ((scope, period), usd)
            for scope, (budget, _) in pools.items()
            for period, usd in (("day", budget.usd_per_day), ("month", budget.usd_per_month))
            if usd is not None
        ),
    )
    yield _gauge(
        "unknown_cost_jobs",
        "Jobs that ended with an unknown cost, which still counts towards the budgets.",
        [],
        [((), figures.unknown_costs.jobs)],
    )
    yield _gauge(
        "unknown_cost_usd", "What those jobs are estimated to cost.", [], [((), figures.unknown_costs.usd)]
    )
