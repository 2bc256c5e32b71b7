"""A scrape: what it says of this process and of the database, and what it says when the database fails."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from bot.chat.transport.gateway_status import DiscordStatus, ShardStatus
from bot.domain.errors import StoreError
from bot.domain.guilds import Budget
from bot.domain.jobs import FailureReason, JobState, ProviderName
from bot.domain.quotas import Spent
from bot.store.jobs.due import DueFor
from bot.store.jobs.submission_gate import OPEN, Gate
from bot.store.monitoring import Figures, JobsInProgress, ProviderFigures
from bot.store.operator_reports import JobTotal
from bot.web.instruments import Instruments
from bot.web.metrics import Scrapes, lag_measured
from bot.web.process_collector import ProcessStateCollector

OPENS_AT = datetime(2026, 11, 30, tzinfo=UTC)
CLOSED = Gate(opens_at=OPENS_AT, reason="no balance", failures=2, next_submit_at=None)
FIGURES = Figures(
    in_progress=[
        JobsInProgress(JobState.QUEUED, None, 3, 0, timedelta(minutes=4)),
        JobsInProgress(JobState.RUNNING, ProviderName.VTRIX, 2, 1, timedelta(minutes=1)),
        JobsInProgress(JobState.RUNNING, ProviderName.DASHSCOPE, 1, 1, timedelta(minutes=2)),
    ],
    overdue={DueFor.STAGE: timedelta(seconds=7), DueFor.POLL: timedelta(0)},
    providers={
        ProviderName.VTRIX: ProviderFigures(
            CLOSED, is_closed=True, slots=5, slots_used=2, budget=Budget(), spent=Spent()
        ),
        ProviderName.DASHSCOPE: ProviderFigures(
            OPEN,
            is_closed=False,
            slots=2,
            slots_used=1,
            budget=Budget(None, Decimal(20)),
            spent=Spent(usd_month=Decimal("1.5")),
        ),
    },
    budget=Budget(Decimal(10), None),
    spent=Spent(videos_today=4, usd_today=Decimal("0.4"), usd_month=Decimal("9.25")),
    unknown_costs=JobTotal(1, Decimal("0.14")),
    notifications=6,
    oldest_notification=timedelta(minutes=31),
    is_draining=True,
    queue_limit=1000,
)
Samples = Mapping[tuple[str, frozenset[tuple[str, str]]], float]


@dataclass
class Database:
    """A database that answers, fails or hangs."""

    error: Exception | None = None
    hangs: bool = False
    asked: int = 0

    async def read(self) -> Figures:
        self.asked += 1
        if self.hangs:
            await asyncio.Event().wait()
        if self.error is not None:
            raise self.error
        return FIGURES


async def scraped(scrapes: Scrapes) -> Samples:
    text = (await scrapes.scrape()).decode()
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float | None:
    return samples.get((f"zoetrope_{name}", frozenset(labels.items())))


async def test_the_databases_figures_are_exported() -> None:
    samples = await scraped(Scrapes(Instruments(), Database().read))
    for name, labels, expected in (
        ("database_up", {}, 1),
        ("jobs", {"state": "running"}, 3),
        ("jobs", {"state": "delivering"}, 0),
        ("jobs_leased", {"state": "running"}, 2),
        ("oldest_job_age_seconds", {"state": "running"}, 120),
        ("oldest_job_age_seconds", {"state": "queued"}, 240),
        ("overdue_seconds", {"kind": "stage"}, 7),
        ("queue_limit", {}, 1000),
        ("draining", {}, 1),
        ("notifications_pending", {}, 6),
        ("notifications_oldest_seconds", {}, 1860),
        ("gate_open", {"provider": "vtrix"}, 0),
        ("gate_open", {"provider": "dashscope"}, 1),
        ("gate_closed_until_timestamp_seconds", {"provider": "vtrix"}, OPENS_AT.timestamp()),
        ("gate_closed_until_timestamp_seconds", {"provider": "dashscope"}, 0),
        ("gate_failures", {"provider": "vtrix"}, 2),
        ("out_of_budget", {"provider": "vtrix"}, 0),
        ("slots", {"provider": "vtrix"}, 5),
        ("slots_used", {"provider": "vtrix"}, 2),
        ("spent_usd", {"scope": "all", "period": "month"}, 9.25),
        ("spent_usd", {"scope": "dashscope", "period": "month"}, 1.5),
        ("budget_usd", {"scope": "all", "period": "day"}, 10),
        ("budget_usd", {"scope": "dashscope", "period": "month"}, 20),
        ("budget_usd", {"scope": "all", "period": "month"}, None),
        ("budget_usd", {"scope": "vtrix", "period": "day"}, None),
        ("unknown_cost_jobs", {}, 1),
        ("unknown_cost_usd", {}, 0.14),
    ):
        assert value(samples, name, **labels) == expected, (name, labels)


@pytest.mark.parametrize(
    ("database", "reason"),
    [
        (Database(error=StoreError("the disk is full")), "the disk is full"),
        (Database(hangs=True), "no answer in time"),
    ],
)
async def test_without_the_database_the_rest_is_exported_and_the_log_says_it_once(
    database: Database, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    scrapes = Scrapes(Instruments(), database.read, timeout_s=0.01, fresh_s=0, rendered_s=0)
    await scraped(scrapes)
    samples = await scraped(scrapes)
    assert value(samples, "database_up") == 0
    assert value(samples, "jobs", state="queued") is None
    assert value(samples, "jobs_ended_total", state="failed", reason="timed_out") == 0
    assert ("process_resident_memory_bytes", frozenset()) in samples
    assert caplog.messages == [f"metrics are without the database's figures: {reason}"]


async def test_a_database_that_is_back_is_exported_again_and_its_next_failure_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    database = Database(error=StoreError("gone"))
    scrapes = Scrapes(Instruments(), database.read, fresh_s=0, rendered_s=0)
    await scraped(scrapes)
    database.error = None
    assert value(await scraped(scrapes), "database_up") == 1
    database.error = StoreError("gone again")
    assert value(await scraped(scrapes), "database_up") == 0
    assert len(caplog.messages) == 2


async def test_scrapes_that_come_together_or_soon_ask_the_database_once() -> None:
    database = Database()
    scrapes = Scrapes(Instruments(), database.read, fresh_s=3600, rendered_s=0)
    await asyncio.gather(*(scrapes.scrape() for _ in range(10)))
    await scrapes.scrape()
    assert database.asked == 1


async def test_scrapes_that_come_together_or_soon_are_rendered_once(tmp_path: Path) -> None:
    rendered = 0

    def status() -> DiscordStatus:
        nonlocal rendered
        rendered += 1
        return DiscordStatus(is_logged_in=True, is_ready=True, shards=())

    instruments = Instruments()
    instruments.registry.register(ProcessStateCollector(status, {"temporary": tmp_path}))
    registered = rendered  # a registry asks once for the names
    scrapes = Scrapes(instruments, Database().read, rendered_s=3600)
    first, *others = await asyncio.gather(*(scrapes.scrape() for _ in range(10)))
    assert rendered == registered + 1
    assert [*others, await scrapes.scrape()] == [first] * 10


async def test_what_an_observer_is_told_is_counted() -> None:
    instruments = Instruments()
    instruments.looked_for_jobs("poll")
    instruments.stage_started("poll", 0.3)
    instruments.stage_started("submit", None)
    instruments.stage_ended("poll", "moved", 0.2)
    instruments.job_ended("failed", "timed_out", 400)
    instruments.job_cost("vtrix", "wan22_i2v_flash", "reported", Decimal("0.07"))
    instruments.provider_request("vtrix", "poll", "busy", 0.1)
    instruments.discord_request("POST", "/channels/messages", "4xx", 0.1)
    instruments.discord_rate_limited("global")
    instruments.loop_lagged(0.02)
    samples = await scraped(Scrapes(instruments, Database().read))
    for name, labels, expected in (
        ("stages_running", {"stage": "poll"}, 0),
        ("stages_running", {"stage": "submit"}, 1),
        ("stage_lateness_seconds_sum", {"stage": "poll"}, 0.3),
        ("stage_lateness_seconds_count", {"stage": "submit"}, None),
        ("stage_duration_seconds_bucket", {"stage": "poll", "outcome": "moved", "le": "0.25"}, 1),
        ("stage_duration_seconds_bucket", {"stage": "poll", "outcome": "moved", "le": "0.1"}, 0),
        ("jobs_ended_total", {"state": "failed", "reason": "timed_out"}, 1),
        ("job_duration_seconds_sum", {"state": "failed"}, 400),
        ("cost_usd_total", {"provider": "vtrix", "model": "wan22_i2v_flash", "source": "reported"}, 0.07),
        (
            "provider_request_duration_seconds_count",
            {"provider": "vtrix", "operation": "poll", "outcome": "busy"},
            1,
        ),
        (
            "discord_request_duration_seconds_count",
            {"method": "POST", "route": "/channels/messages", "status": "4xx"},
            1,
        ),
        ("discord_rate_limited_total", {"scope": "global"}, 1),
        ("event_loop_lag_seconds_sum", {}, 0.02),
    ):
        assert value(samples, name, **labels) == expected, (name, labels)
    assert (value(samples, "worker_last_look_timestamp_seconds", kind="poll") or 0) > 1_700_000_000
    assert not [name for name, _ in samples if name.endswith("_created")]


async def test_every_end_is_there_before_its_first_so_that_the_first_is_an_increase() -> None:
    samples = await scraped(Scrapes(Instruments(), Database().read))
    for reason in FailureReason:
        assert value(samples, "jobs_ended_total", state="failed", reason=reason) == 0
    for scope in ("user", "global", "shared", "ip"):
        assert value(samples, "discord_rate_limited_total", scope=scope) == 0


async def test_the_registries_of_two_bots_in_one_process_are_apart() -> None:
    one, other = Instruments(), Instruments()
    one.loop_lagged(1)
    assert value(await scraped(Scrapes(other, Database().read)), "event_loop_lag_seconds_count") == 0


async def test_the_state_of_the_process_is_exported(tmp_path: Path) -> None:
    status = DiscordStatus(
        is_logged_in=True,
        is_ready=True,
        shards=(
            ShardStatus(0, is_connected=True, latency_s=0.04),
            ShardStatus(1, is_connected=False, latency_s=None),
        ),
        servers=12,
    )
    instruments = Instruments()
    folders = {"database": tmp_path, "temporary": tmp_path / "gone"}
    instruments.registry.register(ProcessStateCollector(lambda: status, folders))
    samples = await scraped(Scrapes(instruments, Database().read))
    for name, labels, expected in (
        ("build_info", {"version": "0.1.0"}, 1),
        ("discord_logged_in", {}, 1),
        ("discord_gateway_connected", {"shard": "0"}, 1),
        ("discord_gateway_connected", {"shard": "1"}, 0),
        ("discord_gateway_latency_seconds", {"shard": "0"}, 0.04),
        ("discord_gateway_latency_seconds", {"shard": "1"}, None),
        ("discord_servers", {}, 12),
        ("disk_free_bytes", {"folder": "temporary"}, None),
        ("disk_size_bytes", {"folder": "temporary"}, None),
    ):
        assert value(samples, name, **labels) == expected, (name, labels)
    free, size = (value(samples, f"disk_{of}_bytes", folder="database") or 0 for of in ("free", "size"))
    assert 0 < free <= size
    assert value(samples, "discord_servers") == replace(status, servers=12).servers


async def test_a_blocked_event_loop_is_late_by_as_long_as_it_was_blocked() -> None:
    lags: list[float] = []
    loop = asyncio.get_running_loop()
    async with lag_measured(lags.append, every_s=0.001):
        while not lags:
            until = loop.time() + 0.05
            while loop.time() < until:
                pass
            await asyncio.sleep(0)
    assert lags[0] >= 0.02
