import asyncio
import io
import logging
import os
import resource
import signal
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from pydantic import SecretStr

from bot.app import App, open_app
from bot.chat.transport.client import RestClient, log_in
from bot.domain.errors import QuotaRefused, StoreError
from bot.domain.jobs import FailureReason, Job, JobState
from bot.domain.policy import Requester
from bot.operations.clock import utc_now
from bot.process import log_diagnostics, run
from bot.services.videos import VideoService
from bot.settings import GivenSettings, Settings
from bot.setup.providers import SUBMIT_TIMEOUT_S, vtrix_client
from bot.store.engine import Database
from bot.store.jobs.job_store import JobStore
from bot.store.maintenance.file_watch import CHECK_INTERVAL_S
from bot.store.maintenance.migrate import migrate
from bot.worker.config import LEASE_DURATIONS
from tests.discord_server import DiscordServer
from tests.fakes import TASK_LIFETIME, prepare_frame_in_thread
from tests.faulty_gateway import Ending, Fault, FaultyGateway, Route

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


async def test_a_worker_on_a_sqlite_file_says_that_no_run_can_work_beside_it(
    local: LocalServices, caplog: pytest.LogCaptureFixture
) -> None:
    await local.order_before_start()
    running = asyncio.create_task(run(local.settings(), commands=False, file_check_s=CHECK_INTERVAL_S))
    await until(lambda: bool(local.upstream.received), running)
    os.kill(os.getpid(), signal.SIGTERM)
    await running

    (warning,) = [
        record.getMessage()
        for record in caplog.records
        if (record.name, record.levelno) == ("bot.process", logging.WARNING)
    ]
    assert f"only finishes the jobs that are in {local.folder / 'app.db'}" in warning
    assert "start `zoetrope run`, which works on jobs too" in warning
    assert "PostgreSQL" in warning


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
