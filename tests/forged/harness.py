"""Runs the whole bot over real sockets, for members who send what no Discord client would.

There are two servers and the operator's own: Mia's videos are in the first; Noa's, in the second, await approval.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import discord
from pydantic import SecretStr
from sqlalchemy import select

from bot.app import App, open_app
from bot.chat.permissions.command_permissions import CommandPermissions, asking
from bot.chat.permissions.user_rate_limiter import UserRateLimiter
from bot.chat.transport.client import ZoetropeBot
from bot.domain.guilds import PolicyEntry, PolicyEntryKind
from bot.domain.jobs import Job
from bot.services.admin.audited import Admin
from bot.settings import GivenSettings
from bot.store.jobs.rows import job_of, select_jobs
from bot.store.money_tables import metadata
from bot.store.schema import guilds, notifications, submission_gates
from tests.cogs.conftest import sample_picture
from tests.discord_server import Channel, DiscordServer, Guild, Interaction, Message, User
from tests.discord_server.interactions import Kind
from tests.discord_server.messages import EPHEMERAL
from tests.discord_server.models import Json
from tests.fakes import prepare_frame_in_thread
from tests.faulty_gateway import Fault, FaultyGateway, Route

WITHIN_S = 60.0
KEY = "key-of-the-tests"
MIA_PROMPT, NOA_PROMPT = "a heron of mia", "a kestrel of noa"
MANAGER_PERMISSIONS = discord.Permissions(manage_guild=True, manage_messages=True)


class SteppingClock:
    """A clock that advances by `step_s` at each call, so that no rate limit applies."""

    def __init__(self, step_s: float = 60) -> None:
        self._step_s = step_s
        self._now_s = 1000.0

    def __call__(self) -> float:
        self._now_s += self._step_s
        return self._now_s


@dataclass
class ForgeryHarness:
    """The bot, its Discord and its upstream. The worker runs inside `worker_running`."""

    folder: Path
    discord: DiscordServer
    upstream: FaultyGateway
    app: App
    bot: ZoetropeBot

    @asynccontextmanager
    async def worker_running(self) -> AsyncIterator[None]:
        running = asyncio.create_task(self.app.worker.run())
        try:
            yield
        finally:
            await self.app.worker.stop(grace_s=5)
            await running

    async def order(
        self, prompt: str, user: User | None = None, channel: Channel | None = None, **options: Any
    ) -> Interaction:
        asked = await self.discord.slash(
            "animate",
            user,
            channel,
            options={"prompt": prompt, **options},
            attachments={"image": sample_picture()},
        )
        await asked.answer(timeout_s=WITHIN_S)
        return asked

    async def wait_for_message(self, *texts: str, channel: Channel | None = None) -> Message:
        """The first message that contains all the texts."""
        changes = channel.id if channel else None
        return await self.discord.state.until(
            lambda: next(
                (m for m in self.discord.messages(changes) if all(text in m.shown for text in texts)), None
            ),
            timeout_s=WITHIN_S,
        )

    async def wait_until_notified(self) -> None:
        """Returns once no notification is pending."""
        while True:
            async with self.app.database.read() as connection:
                waiting = await connection.execute(
                    select(notifications.c.id).where(notifications.c.due_at.is_not(None))
                )
                if not waiting.all():
                    return
            await asyncio.sleep(0.05)

    async def wait_until_onboarded(self) -> None:
        """Returns once every server has been welcomed and described, so that nothing changes by itself."""
        is_known = guilds.c.welcomed_at.is_not(None) & guilds.c.name.is_not(None)
        while True:
            async with self.app.database.read() as connection:
                seen_to = await connection.execute(select(guilds.c.id).where(is_known))
                if set(seen_to.scalars()) >= self.discord.state.guilds.keys():
                    return
            await asyncio.sleep(0.02)

    async def job(self, prompt: str) -> Job:
        async with self.app.database.read() as connection:
            for row in await connection.execute(select_jobs()):
                if job_of(row).order.prompt == prompt:
                    return job_of(row)
        raise AssertionError(f"no job with {prompt!r}")

    async def database_rows(self) -> dict[str, list[str]]:
        """All rows of the database, by table."""
        async with self.app.database.read() as connection:
            return {
                table.name: sorted(map(repr, await connection.execute(select(table))))
                for table in metadata.sorted_tables
                if table not in (submission_gates, notifications)
            }

    def send(
        self, kind: Kind, user: User, channel: Channel, data: Json, message: Message | None = None
    ) -> Interaction:
        """Sends exactly this, as no client would."""
        interaction = self.discord.interactions.begin(kind, channel, user, data, message)
        self.discord.gateway.dispatch("INTERACTION_CREATE", interaction.create_json())
        return interaction

    def click(
        self,
        custom_id: str,
        user: User,
        channel: Channel,
        *,
        author: User | None = None,
        private: bool = True,
        message: Message | None = None,
        outside: bool = False,
        chosen: str | None = None,
    ) -> Interaction:
        """Clicks a button under a message by the bot, or by `author` if given.

        outside: as sent from direct messages, without a server. chosen: the value chosen in a menu, instead of a
        button.
        """
        kind = 2 if chosen is None else 3
        part: Json = {"type": kind, "id": 2, "custom_id": custom_id}
        if chosen is None:
            part |= {"style": 2, "label": "Press"}
        else:
            part["options"] = [{"label": chosen, "value": chosen}]
        row: Json = {"type": 1, "id": 1, "components": [part]}
        message = message or Message(
            channel, author or self.discord.state.bot, content="forged", flags=EPHEMERAL if private else 0
        )
        message.components = [row]
        message.embeds = message.embeds or [{"type": "rich", "description": "what an announcement would hold"}]
        data: Json = {"custom_id": custom_id, "component_type": kind, "id": 2}
        if chosen is not None:
            data["values"] = [chosen]
        interaction = self.discord.interactions.begin(Kind.COMPONENT, channel, user, data, message)
        sent = interaction.create_json()
        if outside:
            member = sent.pop("member")
            del sent["guild_id"], sent["guild"]
            sent |= {"user": member["user"], "context": 1, "channel": self.discord.state.direct(user).json()}
        self.discord.gateway.dispatch("INTERACTION_CREATE", sent)
        return interaction

    async def private_reply(self, interaction: Interaction) -> str:
        """The reply to the interaction, which must be ephemeral."""
        clicked = interaction.clicked

        def answer() -> Message | None:
            if interaction.followups:
                return interaction.followups[-1]
            original = interaction.finished
            return None if original is clicked and clicked is not None and not clicked.edits else original

        message = await interaction.until(answer, timeout_s=WITHIN_S)
        assert message.ephemeral, f"public reply: {message.content}"
        return message.content

    async def wait_until_handled(self, user: User) -> None:
        """Returns once everything sent before has been handled."""
        asked = await self.discord.slash("videos privacy show", user)
        await asked.answer(timeout_s=WITHIN_S)


@asynccontextmanager
async def open_harness(
    folder: Path,
    server: DiscordServer,
    upstream: FaultyGateway,
    *,
    limiter: UserRateLimiter | None = None,
    **changes: Any,
) -> AsyncIterator[ForgeryHarness]:
    """limiter: by default, one that never refuses."""
    given: dict[str, Any] = {
        "discord_token": SecretStr(server.token),
        "vtrix_api_key": SecretStr(KEY),
        "vtrix_base_url": upstream.url,
        "upstream_body": "envelope",  # so that an order that is refused is sent once
        "database_url": f"sqlite:///{folder / 'zoetrope.db'}",
        "discord_api_url": server.api_url,
        "discord_gateway_url": server.gateway_url,
        "poll_min_seconds": 0.1,
        "poll_max_seconds": 0.2,
        "upstream_submits_per_second": 100,
        "server_budget_usd_per_day": None,
        "server_budget_usd_per_month": None,
    }
    bot = ZoetropeBot()
    bot._connection.guild_ready_timeout = 0.05  # discord.py waits 2 s for further servers
    async with (
        open_app(GivenSettings(**given | changes), bot, prepare_first_frame=prepare_frame_in_thread) as app,
        bot,
    ):
        bot.services = replace(
            bot.services,
            limiter=limiter or UserRateLimiter(clock=SteppingClock()),
            command_permissions=CommandPermissions(asking(bot), timeout_s=WITHIN_S),  # however busy the machine is
        )
        assert app.guild_events is not None
        app.guild_events.describe_after_s = 0.01
        await bot.login(server.token)
        connection = asyncio.create_task(bot.connect())
        await server.state.until(lambda: server.gateway.live or connection.done(), timeout_s=WITHIN_S)
        await bot.wait_until_ready()
        harness = ForgeryHarness(folder, server, upstream, app, bot)
        await harness.wait_until_onboarded()
        try:
            yield harness
        finally:
            await bot.close()
            await connection


@dataclass(frozen=True)
class Seed:
    """The members, channels and jobs. *_job: ids; `other_job` awaits approval in the other server."""

    mia: User
    plain_member: User
    former_admin: User
    admin: User
    noa: User
    other_admin: User
    elsewhere: Channel
    operator: User
    operator_channel: Channel
    running_job: str
    failed_job: str
    other_job: str


def add_members(server: DiscordServer) -> dict[str, Any]:
    """Servers, channels and members."""
    world = server.state
    there, operator_guild = world.add_guild("Elsewhere"), world.add_guild("Operators")
    elsewhere = world.add_channel(there, "elsewhere")
    return {
        "mia": server.member,
        "plain_member": world.add_member(server.guild, "plain_member"),
        "former_admin": world.add_member(server.guild, "former_admin", permissions=MANAGER_PERMISSIONS),
        "admin": world.add_member(server.guild, "admin", permissions=MANAGER_PERMISSIONS),
        "noa": world.add_member(there, "noa"),
        "other_admin": world.add_member(there, "other admin", permissions=MANAGER_PERMISSIONS),
        "elsewhere": elsewhere,
        "operator": operator_guild.owner,
        "operator_channel": world.add_channel(operator_guild, "operators"),
    }


def operator_settings(operator_guild: Guild) -> dict[str, Any]:
    """The settings that make this server's owner the operator."""
    return {"operator_guild_id": operator_guild.id, "operator_user_ids": (operator_guild.owner.id,)}


async def seed_data(harness: ForgeryHarness, who: dict[str, Any]) -> Seed:
    """Creates data that forged requests could target; the worker has stopped when this returns."""
    here, there = harness.discord.channel, who["elsewhere"]
    admins, elsewhere = harness.bot.services.admins, Admin(there.guild.id, who["other_admin"].id)
    await admins.settings.log_to(elsewhere, there.id)
    await admins.policy.set_approval(elsewhere, needed=True)
    await admins.policy.block_terms(elsewhere, "gore")
    for kind in PolicyEntryKind:
        await admins.policy.set_entry(elsewhere, PolicyEntry(kind, 7, allowed=False))
    async with harness.worker_running():
        harness.upstream.fault(Route.CREATE, Fault(status=422, body={"message": "no such thing"}))
        await harness.order("an egret of mia")
        await harness.wait_for_message("didn't work", "egret", channel=here)
        harness.upstream.task_seconds = 3600
        await harness.order(MIA_PROMPT)
        await harness.wait_for_message("Being made", channel=here)
        await harness.order(NOA_PROMPT, who["noa"], there)
        await harness.wait_for_message("🔍", channel=there)
    roles = harness.discord.guild.members[who["former_admin"].id].roles
    roles.clear()
    return Seed(
        **who,
        running_job=(await harness.job(MIA_PROMPT)).id,
        failed_job=(await harness.job("an egret of mia")).id,
        other_job=(await harness.job(NOA_PROMPT)).id,
    )


@contextmanager
def errors_logged() -> Iterator[list[str]]:
    """Collects everything logged as an error."""
    found: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(record.getMessage())

    collector = Collector(level=logging.ERROR)
    logging.getLogger().addHandler(collector)
    try:
        yield found
    finally:
        logging.getLogger().removeHandler(collector)
