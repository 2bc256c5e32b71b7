"""What the operator is shown, as values; `bot.chat.messages` puts them into words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Self

from bot.domain.guilds import Budget, OperatorState
from bot.domain.jobs import JobState, ProviderName
from bot.domain.ledger import EntryKind
from bot.domain.models import TaskKind
from bot.domain.quotas import Spent
from bot.store.jobs import transitions
from bot.store.jobs.submission_gate import Gate
from bot.store.operator_reports import JobTotal, KindTotal, Price


@dataclass(frozen=True, slots=True)
class OperatorOverview:
    """The state across all servers. state: as set by commands. budget, queue_max: what applies."""

    state: OperatorState
    budget: Budget
    queue_max: int
    spent: Spent
    active: Mapping[JobState, int]

    @property
    def waiting(self) -> int:
        """Jobs that haven't cost anything yet."""
        return sum(self.active.get(state, 0) for state in transitions.WAITING)

    @property
    def left(self) -> int:
        """Jobs that have not ended."""
        return sum(self.active.values())


@dataclass(frozen=True, slots=True)
class KindPrice:
    """What a task costs. setting: by the settings. learned: what recent ones cost. used: what applies."""

    kind: TaskKind
    setting: Decimal
    learned: Price | None
    used: Decimal


@dataclass(frozen=True, slots=True)
class Costs:
    """What videos cost. prices: of each kind of task. spent, budgets: by provider.

    reserved: for jobs that have not ended. held: for ended jobs whose cost is unknown. released_after: how long
    after its submission a job's cost is held. unanswered: submissions without a response that are no longer held.
    """

    prices: Sequence[KindPrice]
    spent: Mapping[ProviderName, Spent]
    budgets: Mapping[ProviderName, Budget]
    kinds: Mapping[EntryKind, KindTotal]
    reserved: Decimal
    held: JobTotal
    released_after: timedelta
    unanswered: JobTotal


@dataclass(frozen=True, slots=True)
class ProviderGate:
    """Whether jobs are submitted to a provider.

    closed_until: None while they are. reason: what the provider said last, if it failed. failures: how many
    submissions in a row. is_out_of_budget: none are, because the operator's budget for it has no room.
    """

    closed_until: datetime | None
    reason: str | None
    failures: int
    is_out_of_budget: bool = False

    @classmethod
    def of(cls, gate: Gate, now: datetime) -> Self:
        """The provider's gate as it is at `now`."""
        closed_until = gate.opens_at if gate.is_closed(now) else None
        return cls(closed_until, gate.reason, gate.failures, gate.is_out_of_budget)


@dataclass(frozen=True, slots=True)
class GateReport:
    """Whether jobs are submitted, by provider in the order in which they are asked.

    queued: how many jobs wait. former: how many tasks there are at each provider that isn't asked any more.
    """

    gates: Mapping[ProviderName, ProviderGate]
    queued: int
    former: Mapping[ProviderName, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AnnouncementReach:
    """How many servers an announcement reaches, and which have no channel for it."""

    reached: int
    unreached: tuple[int, ...]
