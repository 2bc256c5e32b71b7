"""Counts and times what happens in this process, for Prometheus.

All of a process's metrics are in one registry of its own. They begin at zero when it starts; what has to survive a
restart is in the database, see `bot.web.database_collector`.
"""

import time
from decimal import Decimal

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)

from bot.domain.jobs import FailureReason, JobState
from bot.operations.observer import Observer

_REQUEST_S = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_STAGE_S = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 240)
_LATE_S = (0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 300)
_JOB_S = (15, 30, 60, 90, 120, 180, 300, 600, 1200, 1800, 3600, 7200)
_LAG_S = (0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 5)


class Instruments(Observer):
    """The metrics of one process."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # they would double the number of series
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)
        self._looked_at = Gauge(
            "zoetrope_worker_last_look_timestamp_seconds",
            "When this process's worker last asked the database what is due, as Unix time.",
            ["kind"],
            registry=registry,
        )
        self._stages_running = Gauge(
            "zoetrope_stages_running", "Stages that this process runs now.", ["stage"], registry=registry
        )
        self._lateness = Histogram(
            "zoetrope_stage_lateness_seconds",
            "How long after they were due stages began; of the stage poll: how late polls are.",
            ["stage"],
            buckets=_LATE_S,
            registry=registry,
        )
        self._stages = Histogram(
            "zoetrope_stage_duration_seconds",
            "How long stages took, by what they decided.",
            ["stage", "outcome"],
            buckets=_STAGE_S,
            registry=registry,
        )
        self._jobs = Histogram(
            "zoetrope_job_duration_seconds",
            "How long jobs took from the order to their end.",
            ["state"],
            buckets=_JOB_S,
            registry=registry,
        )
        self._ended = Counter(
            "zoetrope_jobs_ended", "Jobs that ended, by state and reason.", ["state", "reason"], registry=registry
        )
        self._costs = Counter(
            "zoetrope_cost_usd",
            "What the jobs cost that ended, as their provider reported it or, where it did not, as estimated.",
            ["provider", "model", "source"],
            registry=registry,
        )
        self._provider_requests = Histogram(
            "zoetrope_provider_request_duration_seconds",
            "How long requests to providers took, by operation and outcome; busy means 429.",
            ["provider", "operation", "outcome"],
            buckets=_REQUEST_S,
            registry=registry,
        )
        self._discord_requests = Histogram(
            "zoetrope_discord_request_duration_seconds",
            "How long requests to Discord's REST API took, by route and class of status.",
            ["method", "route", "status"],
            buckets=_REQUEST_S,
            registry=registry,
        )
        self._rate_limits = Counter(
            "zoetrope_discord_rate_limited",
            "Requests that Discord answered with 429, by whose limit it was; ip: a ban of this address.",
            ["scope"],
            registry=registry,
        )
        self._lag = Histogram(
            "zoetrope_event_loop_lag_seconds",
            "How late the event loop runs what is due each second.",
            buckets=_LAG_S,
            registry=registry,
        )
        # So that the first one of each shows as an increase.
        for scope in ("user", "global", "shared", "ip"):
            self._rate_limits.labels(scope)
        for state in (JobState.DELIVERED, JobState.CANCELLED):
            self._ended.labels(state, "")
        for reason in FailureReason:
            self._ended.labels(JobState.FAILED, reason)

    def looked_for_jobs(self, kind: str) -> None:
        """See Observer."""
        self._looked_at.labels(kind).set(time.time())

    def stage_started(self, stage: str, late_s: float | None) -> None:
        """See Observer."""
        self._stages_running.labels(stage).inc()
        if late_s is not None:
            self._lateness.labels(stage).observe(late_s)

    def stage_ended(self, stage: str, outcome: str, duration_s: float) -> None:
        """See Observer."""
        self._stages_running.labels(stage).dec()
        self._stages.labels(stage, outcome).observe(duration_s)

    def job_ended(self, state: str, reason: str, duration_s: float) -> None:
        """See Observer."""
        self._ended.labels(state, reason).inc()
        self._jobs.labels(state).observe(duration_s)

    def job_cost(self, provider: str, model: str, source: str, usd: Decimal) -> None:
        """See Observer."""
        self._costs.labels(provider, model, source).inc(float(max(usd, Decimal(0))))

    def provider_request(self, provider: str, operation: str, outcome: str, duration_s: float) -> None:
        """See Observer."""
        self._provider_requests.labels(provider, operation, outcome).observe(duration_s)

    def discord_request(self, method: str, route: str, status: str, duration_s: float) -> None:
        """See Observer."""
        self._discord_requests.labels(method, route, status).observe(duration_s)

    def discord_rate_limited(self, scope: str) -> None:
        """See Observer."""
        self._rate_limits.labels(scope).inc()

    def loop_lagged(self, lag_s: float) -> None:
        """The event loop ran something `lag_s` seconds late."""
        self._lag.observe(lag_s)
