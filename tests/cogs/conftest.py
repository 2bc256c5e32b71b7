"""The whole bot in an offline Discord: real client, cogs, service, worker, SQLite, upstream over HTTP."""

import asyncio
import io
import shutil
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import discord
import pytest
from PIL import Image
from pydantic import SecretStr
from simcord import InteractionResult, MemberActor
from simcord.backend.models.interaction import Interaction
from simcord.backend.ops.commands import CommandsMixin

from bot.app import App, open_app
from bot.chat.form_times import FormTimes
from bot.chat.posting import shown_text
from bot.chat.transport.client import ZoetropeBot
from bot.demo.offline_discord import OfflineDiscord
from bot.domain.jobs import Job, JobState
from bot.domain.schedule import PollSchedule
from bot.settings import GivenSettings
from bot.worker.loop import Worker
from bot.worker.notifier import Notifier
from tests.fakes import prepare_frame_in_thread
from tests.faulty_gateway import FaultyGateway

WITHIN_S = 60.0


def sample_picture(size: tuple[int, int] = (640, 480)) -> bytes:
    """A small, well-formed PNG."""
    file = io.BytesIO()
    Image.new("RGB", size, "steelblue").save(file, "PNG")
    return file.getvalue()


@dataclass
class CogHarness:
    """The bot, its Discord and its upstream, with the worker running."""

    app: App
    bot: ZoetropeBot
    offline: OfflineDiscord
    gateway: FaultyGateway

    def another_member(self, name: str = "other", **kwargs: Any) -> MemberActor:
        """A second member of the server."""
        return self.offline.guild.add_member(self.offline._env.create_user(name), **kwargs)

    async def animate(self, prompt: str = "waves roll in", **options: Any) -> str:
        """The first member sends `/animate` with a good picture."""
        return await self.offline.animate(sample_picture(), "sea.png", prompt, **options)

    async def wait_for_message_where(self, wanted: Callable[[discord.Message], bool]) -> discord.Message:
        """The first public message for which `wanted` holds."""
        return await self.offline.wait_for_message(
            lambda message: not message.flags.ephemeral and wanted(message), timeout_s=WITHIN_S
        )

    async def wait_for_message(self, text: str) -> discord.Message:
        """The first public message that shows `text`."""
        return await self.wait_for_message_where(lambda message: text in shown(message))

    async def order_endless(self, prompt: str) -> discord.Message:
        """Orders a video that keeps running, as do all later ones; returns its status card."""
        self.gateway.task_seconds = 3600
        await self.animate(prompt)
        card = await self.wait_for_message(prompt)
        async with asyncio.timeout(WITHIN_S):
            while not any(
                job.order.prompt == prompt and job.state is JobState.RUNNING
                for job in await self.jobs_of([self.offline.viewer])
            ):
                await asyncio.sleep(0.01)
        return card

    async def wait_for_video(self, prompt: str = "") -> discord.Message:
        """The first public message with a video of this prompt, once its job is over and its status card gone."""
        posted = await self.wait_for_message_where(lambda message: is_video(message) and prompt in message.content)
        async with asyncio.timeout(WITHIN_S):
            while not any(self._is_over(job, posted.id) for job in await self.jobs_of(posted.mentions)):
                await asyncio.sleep(0.01)
        return posted

    def _is_over(self, job: Job, message_id: int) -> bool:
        return job.result_message_id == message_id and job.state is JobState.DELIVERED and job.due_at is None

    async def jobs_of(self, members: Iterable[discord.abc.User | MemberActor]) -> list[Job]:
        """The latest jobs of these members."""
        guild_id = self.offline.guild.id
        return [job for member in members for job in await self.app.service.recent(guild_id, member.id)]

    async def wait_until_gone(self, message: discord.Message) -> None:
        """Waits until a public message is deleted."""
        async with asyncio.timeout(WITHIN_S):
            while True:
                changed = self.offline.changed
                if message.id not in {other.id for other in self.public()}:
                    return
                await changed.wait()

    def public(self) -> list[discord.Message]:
        """All public messages."""
        return [message for message in self.offline.messages() if not message.flags.ephemeral]

    def videos(self) -> list[discord.Message]:
        """All public messages with a video."""
        return [message for message in self.public() if is_video(message)]

    async def click(
        self, message: discord.Message, label: str, who: MemberActor | None = None
    ) -> InteractionResult:
        """A member, the first one unless said otherwise, clicks a button."""
        return await (who or self.offline.viewer).click(message, label=label)


def shown(message: discord.Message) -> str:
    """The text of a message, whether it is an ordinary one or one of components."""
    return message.content or shown_text(message.components)


def is_video(message: discord.Message) -> bool:
    """Whether a video is attached; a status card has a picture."""
    return any(file.filename.endswith(".mp4") for file in message.attachments)


async def skip(_pause_s: float) -> None:
    """Doesn't pause between two welcomes: SimCord waits for everything that an event starts."""


def skip_pauses(worker: Worker) -> None:
    """Polls sooner than a setting may ask for, and writes each outcome without waiting for others."""
    context = worker._context
    poll_schedule = PollSchedule(min_s=0.03, max_s=0.3)
    worker._context = replace(context, config=replace(context.config, poll_schedule=poll_schedule))
    worker._outcome_writer._batch_delay = timedelta(0)
    worker._config = replace(worker._config, poll_interval=timedelta(milliseconds=50))
    for service in worker._background_services:
        if isinstance(service, Notifier):
            service._batch_delay_s = 0.02


@asynccontextmanager
async def open_cog_harness(folder: Path, **changes: Any) -> AsyncIterator[CogHarness]:
    bot = ZoetropeBot()
    async with FaultyGateway(folder / "upstream", "key-for-tests") as gateway:
        settings = GivenSettings(
            **{
                "discord_token": SecretStr("token-for-tests"),
                "vtrix_api_key": SecretStr("key-for-tests"),
                "vtrix_base_url": gateway.url,
                "database_url": f"sqlite:///{folder / 'zoetrope.db'}",
                "upstream_submits_per_second": 100,
                "server_budget_usd_per_day": None,
                "server_budget_usd_per_month": None,
                **changes,
            }
        )
        async with open_app(settings, bot, prepare_first_frame=prepare_frame_in_thread, sleep=skip) as app:
            skip_pauses(app.worker)
            bot.services = replace(bot.services, form_times=FormTimes(WITHIN_S, WITHIN_S))
            assert app.guild_events is not None
            app.guild_events.describe_after_s = 0.01  # before there is a server: SimCord waits for its timer
            async with OfflineDiscord(bot) as offline:
                worker = asyncio.create_task(app.worker.run())
                try:
                    yield CogHarness(app, bot, offline, gateway)
                finally:
                    await app.worker.stop(grace_s=30)
                    await worker


@pytest.fixture(autouse=True)
def no_deadline_for_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """SimCord counts the three seconds for an answer on the real clock, which a busy machine overruns."""
    create = CommandsMixin.new_interaction

    def without_deadline(backend: CommandsMixin, *args: Any) -> Interaction:
        interaction = create(backend, *args)
        interaction.initial_response_deadline = None
        return interaction

    monkeypatch.setattr(CommandsMixin, "new_interaction", without_deadline)


@pytest.fixture(autouse=True)
def migrated_database(migrated_file: Path, tmp_path: Path) -> None:
    """Provides a migrated database, because copying is quicker than migrating."""
    shutil.copy(migrated_file, tmp_path / "zoetrope.db")


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncIterator[CogHarness]:
    async with open_cog_harness(tmp_path) as harness:
        yield harness
