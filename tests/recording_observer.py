"""An observer that remembers what it was told."""

from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal

from bot.operations.observer import Observer


@dataclass
class RecordingObserver(Observer):
    """What was reported, in its order. `running`: the stages that began and have not ended."""

    looked: list[str] = field(default_factory=list)
    lateness: list[tuple[str, float | None]] = field(default_factory=list)
    stages: list[tuple[str, str]] = field(default_factory=list)
    ended: list[tuple[str, str, float]] = field(default_factory=list)
    costs: list[tuple[str, str, str, Decimal]] = field(default_factory=list)
    provider_requests: list[tuple[str, str, str]] = field(default_factory=list)
    discord_requests: list[tuple[str, str, str]] = field(default_factory=list)
    rate_limited: list[str] = field(default_factory=list)
    running: Counter[str] = field(default_factory=Counter)
    durations_s: list[float] = field(default_factory=list)

    def looked_for_jobs(self, kind: str) -> None:
        self.looked.append(kind)

    def stage_started(self, stage: str, late_s: float | None) -> None:
        self.running[stage] += 1
        self.lateness.append((stage, late_s))

    def stage_ended(self, stage: str, outcome: str, duration_s: float) -> None:
        self.running[stage] -= 1
        self.stages.append((stage, outcome))
        self.durations_s.append(duration_s)

    def job_ended(self, state: str, reason: str, duration_s: float) -> None:
        self.ended.append((state, reason, duration_s))

    def job_cost(self, provider: str, model: str, source: str, usd: Decimal) -> None:
        self.costs.append((provider, model, source, usd))

    def provider_request(self, provider: str, operation: str, outcome: str, duration_s: float) -> None:
        self.provider_requests.append((provider, operation, outcome))
        self.durations_s.append(duration_s)

    def discord_request(self, method: str, route: str, status: str, duration_s: float) -> None:
        self.discord_requests.append((method, route, status))
        self.durations_s.append(duration_s)

    def discord_rate_limited(self, scope: str) -> None:
        self.rate_limited.append(scope)
