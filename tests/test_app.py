import asyncio
import io
import logging
import os
import resource
import signal
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from pydantic import SecretStr

from bot.app import App, open_app
from bot.chat.transport.client import RestClient, ZoetropeBot, log_in
from bot.domain.errors import QuotaRefused, StoreError
from bot.domain.jobs import DEFAULT_MODEL, FailureReason, Job, JobState, Resolution
from bot.domain.models import WAN25_PREVIEW
from bot.domain.policy import Requester
from bot.domain.provider_limits import ProviderLimits
from bot.domain.task_durations import TaskDuration
from bot.operations.clock import utc_now
from bot.process import log_diagnostics, run
from bot.provider_setup import SUBMIT_TIMEOUT_S, vtrix_client
from bot.services.videos import VideoService
from bot.settings import GivenSettings, Settings
from bot.store.engine import Database
from bot.store.jobs.job_store import JobStore
from bot.store.jobs.task_durations import record
from bot.store.maintenance.file_watch import CHECK_INTERVAL_S
from bot.store.maintenance.migrate import migrate
from bot.worker.config import LEASE_DURATIONS
from bot.worker.duration_learner import DurationLearner
from bot.worker.notifier import Notifier
from bot.worker.retention import RetentionWorker
from tests.discord_server import DiscordServer
from tests.fakes import TASK_LIFETIME, prepare_frame_in_thread
from tests.faulty_gateway import Ending, Fault, FaultyGateway, Route
from tests.providers_asked import DASHSCOPE, P480, P720, VTRIX, kind

KEY = "key-of-the-tests"


@dataclass
class LocalServices:
    """A local Discord, a local gateway, and the settings that lead to them."""

    folder: Path
    discord: DiscordServer
    upstream: FaultyGateway

    def settings(self, **changes: Any) -> GivenSettings:
        given: dict[str, Any] = {
            "discord_token": SecretStr(self.discord.token),
            "vtrix_api_key": SecretStr(KEY),
            "vtrix_base_url": self.upstream.url,
            "database_url": f"sqlite:///{self.folder / 'app.db'}",
            "discord_api_url": self.discord.api_url,
            "discord_gateway_url": self.discord.gateway_url,
            "poll_min_seconds": 0.1,
            "poll_max_seconds": 0.2,
        }
        return GivenSettings(**given | changes)

    async def order(self, service: VideoService) -> Job:
        """The first member orders a video."""
        requester = Requester(self.discord.guild.id, self.discord.channel.id, self.discord.member.id)
        return (await service.accept(requester, sample_picture, prompt="waves roll in")).job

    async def order_before_start(self) -> Job:
        """An order that the bot finds when it starts."""
        async with Database.open(self.settings().database_url) as database:
            await migrate(database)
            service = VideoService(
                JobStore(database),
                wake=lambda: None,
                clock=utc_now,
                prepare_first_frame=prepare_frame_in_thread,
                task_lifetime=TASK_LIFETIME,
            )
            return await self.order(service)

    async def stored(self, job: Job) -> Job:
        """The job as stored in the database after the bot stopped."""
        async with Database.open(self.settings().database_url) as database:
            found = await JobStore(database).get(job.id)
        assert found is not None
        return found


async def sample_picture() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (640, 480), "steelblue").save(file, "PNG")
    return file.getvalue()


async def run_until(app: App, job: Job, *states: JobState) -> Job:
    """Runs the worker until the job is in one of the states."""
    while (found := await app.store.get(job.id)) is not None and found.state not in states:
        await app.worker.run_once()
    assert found is not None
    return found


@pytest.fixture
async def local(tmp_path: Path) -> AsyncIterator[LocalServices]:
    async with (
        DiscordServer() as discord,
        FaultyGateway(tmp_path / "upstream", KEY) as upstream,
    ):
        yield LocalServices(tmp_path, discord, upstream)


def background_service(app: App, kind: type[Any]) -> Any:
    """The worker's background service of that class."""
    [service] = [service for service in app.worker._background_services if isinstance(service, kind)]
    return service


AT_DASHSCOPE = kind(Resolution.P720, DASHSCOPE)


def asked(app: App, place: int = 0) -> ProviderLimits:
    """What is asked of a provider, by its place."""
    return app.worker._config.providers[place]


COMPOSED: list[tuple[str, Any, Callable[[Any], Any], Any]] = [
    ("upstream_max_running", 3, lambda app: asked(app).max_running, 3),
    (
        "upstream_submits_per_second",
        0.25,
        lambda app: asked(app).submit_interval,
        timedelta(seconds=4),
    ),
    ("job_timeout_seconds", 77, lambda app: app.worker._context.config.job_timeout, timedelta(seconds=77)),
    (
        "upstream_max_pause_seconds",
        66,
        lambda app: app.worker._context.config.longest_closure,
        timedelta(seconds=66),
    ),
    (
        "upstream_task_lifetime_seconds",
        99,
        lambda app: app.worker._context.config.task_lifetime,
        timedelta(seconds=99),
    ),
    ("poll_min_seconds", 0.15, lambda app: app.worker._context.config.poll_schedule.min_s, 0.15),
    ("poll_max_seconds", 11, lambda app: app.worker._context.config.poll_schedule.max_s, 11),
    ("quota_videos_per_day", 9, lambda app: app.store._operator_defaults.limits.videos_per_window, 9),
    ("quota_running", 7, lambda app: app.store._operator_defaults.limits.max_active, 7),
    ("quota_pause_seconds", 8, lambda app: app.store._operator_defaults.limits.cooldown_s, 8),
    ("quota_window_hours", 48, lambda app: app.store._operator_defaults.window_hours, 48),
    ("price_usd_480p", Decimal(3), lambda app: app.store._operator_defaults.catalog.estimate(P480), 3),
    ("price_usd_720p", Decimal(4), lambda app: app.store._operator_defaults.catalog.estimate(P720), 4),
    ("budget_usd_per_day", Decimal(5), lambda app: app.store._operator_defaults.budget.usd_per_day, 5),
    ("budget_usd_per_month", Decimal(6), lambda app: app.store._operator_defaults.budget.usd_per_month, 6),
    (
        "server_budget_usd_per_day",
        Decimal(7),
        lambda app: app.store._operator_defaults.guild_budget.usd_per_day,
        7,
    ),
    (
        "server_budget_usd_per_month",
        Decimal(8),
        lambda app: app.store._operator_defaults.guild_budget.usd_per_month,
        8,
    ),
    ("queue_max", 12, lambda app: app.store._operator_defaults.max_queued, 12),
    ("open_to_all_servers", False, lambda app: app.store._operator_defaults.open_to_all, False),
    ("operator_guild_id", 77, lambda app: app.client.services.operator.guild_id, 77),
    ("operator_log_channel_id", 78, lambda app: background_service(app, Notifier)._operator_channel_id, 78),
    ("retention_days", 5, lambda app: background_service(app, RetentionWorker)._policy.days, 5),
    (
        "erase_after_leaving_days",
        6,
        lambda app: background_service(app, RetentionWorker)._policy.days_after_leaving,
        6,
    ),
    (
        "pictures_kept_days",
        7,
        lambda app: background_service(app, RetentionWorker)._policy.days_of_pictures,
        7,
    ),
    ("direct_orders", True, lambda app: app.store._operator_defaults.direct.enabled, True),
    ("direct_videos_per_day", 4, lambda app: app.store._operator_defaults.direct.videos_per_window, 4),
    (
        "direct_budget_usd_per_day",
        Decimal(9),
        lambda app: app.store._operator_defaults.direct.budget.usd_per_day,
        9,
    ),
    (
        "direct_budget_usd_per_month",
        Decimal(10),
        lambda app: app.store._operator_defaults.direct.budget.usd_per_month,
        10,
    ),
    ("extend_max_seconds", 15, lambda app: app.client.services.extensions._max_seconds, 15),
    ("operator_user_ids", (1, 2), lambda app: app.client.services.operator.user_ids, {1, 2}),
    ("providers", (DASHSCOPE,), lambda app: asked(app).provider, DASHSCOPE),
    ("models", (WAN25_PREVIEW.name,), lambda app: app.store._operator_defaults.catalog.default, WAN25_PREVIEW),
    ("vtrix_budget_usd_per_day", Decimal(1), lambda app: asked(app).budget.usd_per_day, 1),
    (
        "vtrix_budget_usd_per_month",
        Decimal(2),
        lambda app: asked(app).budget.usd_per_month,
        2,
    ),
    ("dashscope_max_running", 3, lambda app: asked(app, 1).max_running, 3),
    (
        "dashscope_submits_per_second",
        0.5,
        lambda app: asked(app, 1).submit_interval,
        timedelta(seconds=2),
    ),
    (
        "dashscope_usd_per_cny",
        Decimal("0.2"),
        lambda app: (
            app.store._operator_defaults.catalog.estimate(AT_DASHSCOPE),
            app.worker._context.providers[DASHSCOPE]._prices[DEFAULT_MODEL, Resolution.P720],
        ),
        (Decimal("0.2"), Decimal("0.04")),
    ),
    (
        "dashscope_price_cny_480p",
        Decimal(5),
        lambda app: app.worker._context.providers[DASHSCOPE]._prices[DEFAULT_MODEL, Resolution.P480],
        Decimal("0.14"),
    ),
    (
        "dashscope_price_cny_720p",
        Decimal(10),
        lambda app: app.store._operator_defaults.catalog.estimate(AT_DASHSCOPE),
        Decimal("1.4"),
    ),
    (
        "dashscope_budget_usd_per_day",
        Decimal(3),
        lambda app: asked(app, 1).budget.usd_per_day,
        3,
    ),
    (
        "dashscope_budget_usd_per_month",
        Decimal(4),
        lambda app: asked(app, 1).budget.usd_per_month,
        4,
    ),
]
OPERATOR = {
    "operator_guild_id": 5,
    "operator_user_ids": (11,),
    "providers": (VTRIX, DASHSCOPE),
    "dashscope_api_key": SecretStr("key-for-tests"),
}


@pytest.mark.parametrize(("name", "value", "look", "expected"), COMPOSED, ids=[row[0] for row in COMPOSED])
async def test_a_setting_is_passed_to_the_component_that_uses_it(
    local: LocalServices, name: str, value: float, look: Callable[[App], object], expected: object
) -> None:
    async with open_app(local.settings(**OPERATOR | {name: value}), ZoetropeBot()) as app:
        assert look(app) == expected


async def test_the_schedule_of_the_polls_learns_from_the_database(local: LocalServices) -> None:
    async with open_app(local.settings(), RestClient()) as app:
        async with app.database.write() as connection:
            for _ in range(5):
                await record(connection, P720, TaskDuration(40, 43))
        await background_service(app, DurationLearner).run_once()
        remaining = app.worker._context.config.poll_schedule.remaining(P720, 0)
        assert remaining is not None
        assert 35 < remaining.p50_s < 48


async def test_without_an_operator_guild_there_is_no_operator_service(local: LocalServices) -> None:
    client = ZoetropeBot()
    async with open_app(local.settings(), client):
        assert client.services.operator is None


def test_every_setting_is_tested() -> None:
    # Without these no test here would reach anything.
    addresses = {"discord_token", "discord_api_url", "discord_gateway_url", "database_url"}
    keys = {"vtrix_api_key", "vtrix_base_url", "dashscope_api_key", "dashscope_base_url"}
    behaviour = {"upstream_body", "upstream_result_max_bytes", "shutdown_grace_seconds"}
    command_line = {"log_level"}
    composed = {row[0] for row in COMPOSED}
    assert Settings.model_fields.keys() == composed | addresses | keys | behaviour | command_line


async def test_a_picture_is_decoded_outside_of_the_bots_process(local: LocalServices) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    async with open_app(local.settings(), RestClient()) as app:
        await local.order(app.service)
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime > before


async def test_a_used_up_quota_refuses_an_order(local: LocalServices) -> None:
    async with open_app(local.settings(quota_videos_per_day=1), RestClient()) as app:
        await local.order(app.service)

        with pytest.raises(QuotaRefused) as refused:
            await local.order(app.service)
        assert refused.value.limit == "window"


@pytest.mark.parametrize(("form", "shape"), [("envelope", list), ("flat", dict)])
async def test_a_create_has_the_configured_body_shape(local: LocalServices, form: str, shape: type) -> None:
    async with open_app(local.settings(upstream_body=form), RestClient()) as app:
        await log_in(app.client, local.discord.token)
        await run_until(app, await local.order(app.service), JobState.RUNNING, JobState.DELIVERING)

    (received,) = local.upstream.received
    assert isinstance(received.body["input"], shape)


async def test_a_video_over_the_configured_size_is_not_downloaded(local: LocalServices) -> None:
    large = b"\x00\x00\x00\x18ftypisom" + bytes(1_000_000)
    local.upstream.fault(Route.RESULT, Fault(status=200, body=large))

    async with open_app(local.settings(upstream_result_max_bytes=1_000_000), RestClient()) as app:
        await log_in(app.client, local.discord.token)
        job = await run_until(app, await local.order(app.service), JobState.FAILED, JobState.DELIVERED)

    assert job.failure_reason is FailureReason.RESULT_UNUSABLE


async def test_every_open_component_is_closed_at_the_end(local: LocalServices) -> None:
    client = RestClient()
    async with open_app(local.settings(), client) as app:
        await log_in(client, local.discord.token)
        folder = app.worker._context.workdir
        assert folder.is_dir()

    assert client.is_closed()
    assert not folder.exists()


def test_a_create_can_finish_within_the_default_grace_of_a_stop(local: LocalServices) -> None:
    timeouts = vtrix_client(local.settings(), "a-key-of-a-test")._session.timeouts
    grace_s = Settings.model_fields["shutdown_grace_seconds"].default

    assert timeouts.submit_s == SUBMIT_TIMEOUT_S
    assert timeouts.connect_s + timeouts.submit_s < grace_s


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_stop_waits_for_a_create_in_progress(local: LocalServices, number: signal.Signals) -> None:
    job = await local.order_before_start()
    local.upstream.task_seconds = 3600
    local.upstream.fault(Route.CREATE, Fault(delay_s=0.5))

    running = asyncio.create_task(run(local.settings(), commands=False, file_check_s=CHECK_INTERVAL_S))
    await until(lambda: bool(local.upstream.received), running)
    os.kill(os.getpid(), number)
    await running

    left = await local.stored(job)
    assert (left.state, left.lease_token) == (JobState.RUNNING, None)
    assert left.upstream_id in local.upstream.tasks


async def test_a_stop_waits_no_longer_than_configured(local: LocalServices) -> None:
    job = await local.order_before_start()
    local.upstream.fault(Route.CREATE, Fault(ending=Ending.HANG))

    running = asyncio.create_task(
        run(local.settings(shutdown_grace_seconds=0), commands=False, file_check_s=CHECK_INTERVAL_S)
    )
    await until(lambda: bool(local.upstream.received), running)
    os.kill(os.getpid(), signal.SIGTERM)
    await running

    assert (await local.stored(job)).state is JobState.SUBMITTING


async def test_the_jobs_of_a_dead_process_on_a_file_continue_at_once(local: LocalServices) -> None:
    job = await local.order_before_start()
    async with Database.open(local.settings().database_url) as database:
        assert await JobStore(database).claim_due(utc_now(), 10, LEASE_DURATIONS)

    async with open_app(local.settings(), RestClient()) as app:
        found = await app.store.get(job.id)

    assert found is not None
    assert (found.lease_token, found.claim_count) == (None, 1)


async def test_a_second_process_on_the_file_is_refused_before_it_changes_anything(local: LocalServices) -> None:
    job = await local.order_before_start()
    async with open_app(local.settings(), RestClient()):
        async with Database.open(local.settings().database_url) as database:
            [held] = await JobStore(database).claim_due(utc_now(), 10, LEASE_DURATIONS)
        with pytest.raises(StoreError, match="in use"):
            async with open_app(local.settings(), RestClient()):
                pass
    assert (await local.stored(job)).lease_token == held.lease_token


async def until(condition: Callable[[], bool], running: asyncio.Task[None]) -> None:
    """Waits for the condition while the bot runs."""
    while not condition() and not running.done():
        await asyncio.sleep(0.01)


async def test_diagnostics_count_the_tasks_and_the_job_stages(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    stage = asyncio.create_task(asyncio.Event().wait(), name="job abc")
    log_diagnostics()
    stage.cancel()
    assert caplog.messages == ["diagnostics: 2 tasks, 1 of them job stages"]
