"""Whole jobs through the real Delivery, over HTTP, with a Discord that has bad days; only time is made up.

The store, the steps, the worker, the crier, the upstream's client and discord.py are the real ones. Time stands
still until it is moved to when something is due, so that pauses of hours cost nothing.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

from sqlalchemy import func, select

from bot.chat.messages.notification_texts import render
from bot.chat.transport.client import RestClient
from bot.chat.transport.delivery import Delivery
from bot.chat.transport.notification_sender import DiscordNotificationSender
from bot.chat.transport.request_throttle import RequestThrottle
from bot.chat.views.approval_cards import ApprovalCards
from bot.demo.gateway import LocalGateway
from bot.domain.jobs import Frame, Job, JobState, NewJob, Order, new_job_id
from bot.domain.policy import Requester
from bot.domain.schedule import PollSchedule
from bot.providers.vtrix.client import Vtrix
from bot.store.guilds import guild_settings
from bot.store.jobs.approvals import ApprovalStore
from bot.store.jobs.job_store import JobStore
from bot.store.outbox.notifications import NotificationStore
from bot.store.schema import notifications
from bot.worker.loop import STAGE_TIMEOUTS, Worker
from bot.worker.notifier import Notifier
from bot.worker.stages import StageConfig, StageContext
from tests.cogs.conftest import a_picture
from tests.discord_server import Channel, DiscordServer, Message, logged_in
from tests.fakes import FakeClock
from tests.harness import WORKER_CONFIG

ROUNDS = 2000
KEY = "key-of-the-tests"


@dataclass
class Street:
    """A member orders in `discord.channel`; moderators read `log_channel`."""

    discord: DiscordServer
    upstream: LocalGateway
    store: JobStore
    worker: Worker
    crier: Notifier
    clock: FakeClock
    log_channel: Channel

    @property
    def requester(self) -> Requester:
        """The member, in the first channel."""
        return Requester(self.discord.guild.id, self.discord.channel.id, self.discord.member.id)

    async def order(self) -> Job:
        """The member's order, accepted."""
        at = self.requester
        new = NewJob(new_job_id(), at.guild_id, at.channel_id, at.user_id, Order("waves roll in"))
        self.clock.move(seconds=1)
        return await self.store.add(new, Frame(a_picture(), "image/png"), at, self.clock())

    async def order_at(self, state: JobState, *, greeted: bool = False) -> Job:
        """An order, brought to where the step of such a state is due; `greeted`: its status message stands."""
        job = await self.order()
        for _ in range(ROUNDS):
            if job.state is state and not (greeted and job.status_message_id is None):
                return job
            await self.step()
            job = await self.now(job)
        raise AssertionError(f"it never comes to {state}: {job}")

    async def now(self, job: Job) -> Job:
        found = await self.store.get(job.id)
        assert found is not None
        return found

    async def step(self) -> bool:
        """What is due now or next, jobs and notices; False where nothing is due any more."""
        touched = await self.worker.run_once() + await self.crier.run_once()
        if touched:
            return True
        async with self.store._db.read() as connection:
            waits = select(func.min(notifications.c.due_at)).where(notifications.c.due_at.is_not(None))
            notice_at = (await connection.execute(waits)).scalar_one()
        due = [
            at for at in (await self.store.next_due_at(self.clock(), WORKER_CONFIG.max_running), notice_at) if at
        ]
        if not due:
            return False
        self.clock.now = max(self.clock.now + timedelta(milliseconds=100), min(due))
        return True

    async def settle(self, *, until: timedelta | None = None) -> None:
        """Goes on until nothing is due, or so long at the most."""
        ends_at = None if until is None else self.clock() + until
        for _ in range(ROUNDS):
            if not await self.step() or (ends_at is not None and self.clock() >= ends_at):
                return
        raise AssertionError("it never comes to rest")

    def of(self, *kinds: str) -> list[Message]:
        """The messages in the member's channel under which such a button stands."""
        return [
            message
            for message in self.discord.messages()
            if any(part.split(":")[1] in kinds for part in message.custom_ids)
        ]

    @property
    def videos(self) -> list[Message]:
        return self.of("video")

    @property
    def statuses(self) -> list[Message]:
        return self.of("cancel", "status")

    @property
    def notes(self) -> list[Message]:
        return self.of("note")

    def told(self, text: str) -> int:
        """In how many messages of the log channel that is told."""
        return sum(text in message.content for message in self.discord.messages(self.log_channel.id))

    async def counted(self) -> int:
        """How many videos stand on the member's quota."""
        return len((await self.store.allowance(self.requester, self.clock())).usage.charged_at)


@asynccontextmanager
async def street(
    store: JobStore,
    folder: Path,
    *,
    hang_s: float | None = None,
    approval: bool = False,
    manners: RequestThrottle | None = None,
) -> AsyncIterator[Street]:
    """hang_s: how long a step may hang; None: as long as in production."""
    limits = STAGE_TIMEOUTS if hang_s is None else dict.fromkeys(JobState, timedelta(seconds=hang_s))
    clock = FakeClock()
    async with (
        DiscordServer() as discord,
        LocalGateway(folder=folder / "upstream", api_key=KEY, render=False) as upstream,
        Vtrix(upstream.url, KEY) as provider,
        logged_in(RestClient(manners), discord) as client,
    ):
        log_channel = discord.world.add_channel(discord.guild, "mods")
        async with store._db.write() as connection:
            columns = {"approval_required": approval, "log_channel_id": log_channel.id}
            await guild_settings.write(connection, discord.guild.id, columns)
        policy = StageConfig(timedelta(minutes=30), timedelta(hours=24), PollSchedule(min_s=5, max_s=30))
        tools = StageContext(
            provider=provider,
            messenger=Delivery(client),
            store=store,
            config=policy,
            clock=clock,
            workdir=folder / "scratch",
            jitter=lambda: 0.0,
            approval_messenger=ApprovalCards(client),
            approvals=ApprovalStore(store._db),
        )
        herald = DiscordNotificationSender(client)
        crier = Notifier(
            NotificationStore(store._db, render), herald, operator_channel_id=None, clock=clock, jitter=lambda: 0.0
        )
        worker = Worker(store, tools, replace(WORKER_CONFIG, stage_timeouts=limits))
        yield Street(discord, upstream, store, worker, crier, clock, log_channel)
