"""Runs whole jobs through the real Delivery, over HTTP, against a Discord with scripted faults and a fake clock.

The store, worker, notifier, upstream client and discord.py are real. The clock jumps to the next due time, so
that pauses of hours take no time.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

from sqlalchemy import func, select

from bot.chat.messages.notification_texts import render
from bot.chat.transport.client import RestClient
from bot.chat.transport.delivery import Delivery, DiscordNotificationSender
from bot.chat.transport.request_throttle import RequestThrottle
from bot.chat.transport.status_messages import StatusMessages
from bot.chat.views.approval_cards import ApprovalCards
from bot.domain.jobs import Frame, Job, JobState, NewJob, Order, new_job_id
from bot.domain.policy import Requester
from bot.domain.schedule import PollSchedule
from bot.providers.vtrix.client import BodyForm, Vtrix
from bot.store.guilds import guild_settings
from bot.store.jobs.approvals import ApprovalStore
from bot.store.jobs.job_store import JobStore
from bot.store.outbox.notifications import NotificationStore
from bot.store.schema import notifications
from bot.worker.config import STAGE_TIMEOUTS
from bot.worker.loop import Worker
from bot.worker.notifier import Notifier
from bot.worker.stages.context import StageConfig, StageContext
from tests.cogs.conftest import sample_picture
from tests.discord_server import Channel, DiscordServer, Message, logged_in
from tests.fake_messengers import status_cards
from tests.fakes import FakeClock
from tests.faulty_gateway import FaultyGateway
from tests.harness import WORKER_CONFIG
from tests.providers_asked import VTRIX

ROUNDS = 2000
KEY = "key-of-the-tests"


@dataclass
class DiscordHarness:
    """A member orders in `discord.channel`; moderators read `log_channel`."""

    discord: DiscordServer
    upstream: FaultyGateway
    store: JobStore
    worker: Worker
    notifier: Notifier
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
        return await self.store.add(new, Frame(sample_picture(), "image/png"), at, self.clock())

    async def order_at(self, state: JobState, *, with_status_message: bool = False) -> Job:
        """A new job that has reached `state`; with_status_message: and has its status card."""
        job = await self.order()
        for _ in range(ROUNDS):
            if job.state is state and not (with_status_message and job.status_message_id is None):
                return job
            await self.run_next()
            job = await self.reload(job)
        raise AssertionError(f"the job never reaches {state}: {job}")

    async def reload(self, job: Job) -> Job:
        current = await self.store.get(job.id)
        assert current is not None
        return current

    async def run_next(self) -> bool:
        """Runs the jobs and notifications due now, or moves the clock to the next ones; False if none are left."""
        handled = await self.worker.run_once() + await self.notifier.run_once()
        if handled:
            return True
        async with self.store._db.read() as connection:
            pending_due_at = select(func.min(notifications.c.due_at)).where(notifications.c.due_at.is_not(None))
            notification_due_at = (await connection.execute(pending_due_at)).scalar_one()
        due = [
            at
            for at in (
                await self.store.next_due_at(self.clock(), WORKER_CONFIG.providers),
                notification_due_at,
            )
            if at
        ]
        if not due:
            return False
        self.clock.now = max(self.clock.now + timedelta(milliseconds=100), min(due))
        return True

    async def settle(self, *, until: timedelta | None = None) -> None:
        """Runs until nothing is due, or for `until` at most."""
        ends_at = None if until is None else self.clock() + until
        for _ in range(ROUNDS):
            if not await self.run_next() or (ends_at is not None and self.clock() >= ends_at):
                return
        raise AssertionError("jobs or notifications are always due")

    def messages_with_button(self, *kinds: str) -> list[Message]:
        """The messages in the member's channel with a button of these kinds."""
        return [
            message
            for message in self.discord.messages()
            if any(part.split(":")[1] in kinds for part in message.custom_ids)
        ]

    @property
    def videos(self) -> list[Message]:
        return self.messages_with_button("video")

    @property
    def status_cards(self) -> list[Message]:
        return self.messages_with_button("cancel", "status")

    @property
    def failure_notes(self) -> list[Message]:
        return self.messages_with_button("note")

    def log_channel_count(self, text: str) -> int:
        """How many messages of the log channel contain `text`."""
        return sum(text in message.content for message in self.discord.messages(self.log_channel.id))

    async def charged_count(self) -> int:
        """How many videos are charged to the member's quota."""
        return len((await self.store.allowance(self.requester, self.clock())).usage.charged_at)


@asynccontextmanager
async def discord_harness(
    store: JobStore,
    folder: Path,
    *,
    stage_timeout_s: float | None = None,
    approval: bool = False,
    throttle: RequestThrottle | None = None,
) -> AsyncIterator[DiscordHarness]:
    """stage_timeout_s: how long a stage may hang; None: as in production."""
    limits = (
        STAGE_TIMEOUTS if stage_timeout_s is None else dict.fromkeys(JobState, timedelta(seconds=stage_timeout_s))
    )
    clock = FakeClock()
    async with (
        DiscordServer() as discord,
        FaultyGateway(folder / "upstream", KEY) as upstream,
        Vtrix(upstream.url, KEY, body=BodyForm.ENVELOPE) as provider,
        logged_in(RestClient(throttle), discord) as client,
    ):
        log_channel = discord.state.add_channel(discord.guild, "mods")
        async with store._db.write() as connection:
            columns = {"approval_required": approval, "log_channel_id": log_channel.id}
            await guild_settings.write(connection, discord.guild.id, columns)
        config = StageConfig(timedelta(minutes=30), timedelta(hours=24), PollSchedule(min_s=5, max_s=30))
        context = StageContext(
            providers={VTRIX: provider},
            messenger=Delivery(client),
            status_cards=status_cards(store, StatusMessages(client), clock),
            store=store,
            config=config,
            clock=clock,
            workdir=folder / "workdir",
            jitter=lambda: 0.0,
            approval_messenger=ApprovalCards(client),
            approvals=ApprovalStore(store._db),
        )
        sender = DiscordNotificationSender(client)
        notifier = Notifier(
            NotificationStore(store._db, render), sender, operator_channel_id=None, clock=clock, jitter=lambda: 0.0
        )
        worker = Worker(store, context, replace(WORKER_CONFIG, stage_timeouts=limits))
        yield DiscordHarness(discord, upstream, store, worker, notifier, clock, log_channel)
