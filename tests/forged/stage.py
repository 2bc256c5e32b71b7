"""The whole bot over real sockets, and members who send what no client of Discord's would.

Two servers and an operator's office; Mia's videos in the first, Noa's in the second, which wait for moderators.
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
from bot.chat.permissions.user_rate_limiter import UserRateLimiter
from bot.chat.transport.client import ZoetropeBot
from bot.demo.faults import Fault, Route
from bot.demo.gateway import LocalGateway
from bot.domain.guilds import PolicyEntry, PolicyEntryKind
from bot.domain.jobs import Job
from bot.services.admin.audited import Admin
from bot.settings import GivenSettings
from bot.store.jobs.rows import job_of, select_jobs
from bot.store.schema import guilds, metadata, notifications, submission_gate
from tests.cogs.conftest import a_picture, conform_here
from tests.discord_server import Channel, DiscordServer, Guild, Interaction, Message, User
from tests.discord_server.interactions import Kind
from tests.discord_server.state import EPHEMERAL, Json

WITHIN_S = 60.0
KEY = "key-of-the-tests"
MIAS, NOAS = "a heron of mia", "a kestrel of noa"
EVERYTHING = discord.Permissions(manage_guild=True, manage_messages=True)


class Leisure:
    """A clock on which so much time passes between two looks: nobody is ever too quick."""

    def __init__(self, step_s: float = 60) -> None:
        self._step_s = step_s
        self._now_s = 1000.0

    def __call__(self) -> float:
        self._now_s += self._step_s
        return self._now_s


@dataclass
class Stage:
    """The bot, its Discord and its upstream. The worker runs while `working`."""

    folder: Path
    discord: DiscordServer
    upstream: LocalGateway
    app: App
    bot: ZoetropeBot

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        running = asyncio.create_task(self.app.worker.run())
        try:
            yield
        finally:
            await self.app.worker.stop(grace_s=5)
            await running

    async def order(self, prompt: str, user: User | None = None, channel: Channel | None = None) -> Interaction:
        asked = await self.discord.slash(
            "animate", user, channel, options={"prompt": prompt}, attachments={"image": a_picture()}
        )
        await asked.answer(timeout_s=WITHIN_S)
        return asked

    async def saying(self, *texts: str, channel: Channel | None = None) -> Message:
        """The first message that holds all of the texts."""
        changes = channel.id if channel else None
        return await self.discord.world.until(
            lambda: next(
                (m for m in self.discord.messages(changes) if all(text in m.content for text in texts)), None
            ),
            timeout_s=WITHIN_S,
        )

    async def settled(self) -> None:
        """Returns once no notice waits to be told."""
        while True:
            async with self.app.database.read() as connection:
                waiting = await connection.execute(
                    select(notifications.c.id).where(notifications.c.due_at.is_not(None))
                )
                if not waiting.all():
                    return
            await asyncio.sleep(0.05)

    async def welcomed(self) -> None:
        """Returns once every server was seen to, so that nothing changes by itself."""
        while True:
            async with self.app.database.read() as connection:
                seen_to = await connection.execute(select(guilds.c.id).where(guilds.c.welcomed_at.is_not(None)))
                if set(seen_to.scalars()) >= self.discord.world.guilds.keys():
                    return
            await asyncio.sleep(0.02)

    async def job(self, prompt: str) -> Job:
        async with self.app.database.read() as connection:
            for row in await connection.execute(select_jobs()):
                if job_of(row).order.prompt == prompt:
                    return job_of(row)
        raise AssertionError(f"no job with {prompt!r}")

    async def everything(self) -> dict[str, list[str]]:
        """All that the database holds."""
        async with self.app.database.read() as connection:
            return {
                table.name: sorted(map(repr, await connection.execute(select(table))))
                for table in metadata.sorted_tables
                if table not in (submission_gate, notifications)
            }

    def send(
        self, kind: Kind, user: User, channel: Channel, data: Json, message: Message | None = None
    ) -> Interaction:
        """What nobody's client would send: exactly this."""
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
    ) -> Interaction:
        """A click on such a button under a message of the bot's own, unless another author is named.

        outside: as it comes from direct messages, without a server.
        """
        button = {"type": 2, "id": 2, "style": 2, "label": "Press", "custom_id": custom_id}
        row: Json = {"type": 1, "id": 1, "components": [button]}
        message = message or Message(
            channel, author or self.discord.world.bot, content="forged", flags=EPHEMERAL if private else 0
        )
        message.components = [row]
        message.embeds = message.embeds or [{"type": "rich", "description": "what an announcement would hold"}]
        data: Json = {"custom_id": custom_id, "component_type": 2, "id": 2}
        interaction = self.discord.interactions.begin(Kind.COMPONENT, channel, user, data, message)
        sent = interaction.create_json()
        if outside:
            member = sent.pop("member")
            del sent["guild_id"], sent["guild"]
            sent |= {"user": member["user"], "context": 1, "channel": self.discord.world.direct(user).json()}
        self.discord.gateway.dispatch("INTERACTION_CREATE", sent)
        return interaction

    async def said(self, interaction: Interaction) -> str:
        """What the one who acted was told, which must be private."""
        clicked = interaction.clicked

        def answer() -> Message | None:
            if interaction.followups:
                return interaction.followups[-1]
            original = interaction.original
            if original is None or original.loading or (original is clicked and not clicked.edits):
                return None
            return original

        message = await interaction.until(answer, timeout_s=WITHIN_S)
        assert message.ephemeral, f"in front of everybody: {message.content}"
        return message.content

    async def nothing_left(self, user: User) -> None:
        """Returns once all that was sent before has been looked at."""
        asked = await self.discord.slash("videos privacy show", user)
        await asked.answer(timeout_s=WITHIN_S)


@asynccontextmanager
async def a_stage(
    folder: Path,
    place: DiscordServer,
    upstream: LocalGateway,
    *,
    pace: UserRateLimiter | None = None,
    **changes: Any,
) -> AsyncIterator[Stage]:
    """pace: nobody is ever too quick, if left out."""
    given: dict[str, Any] = {
        "discord_token": SecretStr(place.token),
        "vtrix_api_key": SecretStr(KEY),
        "vtrix_base_url": upstream.url,
        "database_url": f"sqlite:///{folder / 'stage.db'}",
        "discord_api_url": place.api_url,
        "discord_gateway_url": place.gateway_url,
        "poll_min_seconds": 0.1,
        "poll_max_seconds": 0.2,
        "upstream_submits_per_second": 100,
        "server_budget_usd_per_day": None,
        "server_budget_usd_per_month": None,
    }
    bot = ZoetropeBot()
    bot._connection.guild_ready_timeout = 0.05  # for more servers than it was told of, discord.py waits 2 s
    async with open_app(GivenSettings(**given | changes), bot, prepare_first_frame=conform_here) as app, bot:
        bot.services = replace(bot.services, limiter=pace or UserRateLimiter(clock=Leisure()))
        await bot.login(place.token)
        connection = asyncio.create_task(bot.connect())
        await place.world.until(lambda: place.gateway.live or connection.done(), timeout_s=WITHIN_S)
        await bot.wait_until_ready()
        stage = Stage(folder, place, upstream, app, bot)
        await stage.welcomed()
        try:
            yield stage
        finally:
            await bot.close()
            await connection


@dataclass(frozen=True)
class Cast:
    """Who and what there is. *_job: ids; `mias` runs, `ended` failed, `noas` waits for a moderator elsewhere."""

    mia: User
    stranger: User
    ousted: User
    boss: User
    noa: User
    boss_elsewhere: User
    elsewhere: Channel
    operator: User
    office: Channel
    mias: str
    ended: str
    noas: str


def people(place: DiscordServer) -> dict[str, Any]:
    """Servers, channels and members."""
    world = place.world
    there, office = world.add_guild("Elsewhere"), world.add_guild("Office")
    elsewhere = world.add_channel(there, "elsewhere")
    return {
        "mia": place.member,
        "stranger": world.add_member(place.guild, "stranger"),
        "ousted": world.add_member(place.guild, "ousted", may=EVERYTHING),
        "boss": world.add_member(place.guild, "boss", may=EVERYTHING),
        "noa": world.add_member(there, "noa"),
        "boss_elsewhere": world.add_member(there, "boss elsewhere", may=EVERYTHING),
        "elsewhere": elsewhere,
        "operator": office.owner,
        "office": world.add_channel(office, "desk"),
    }


def operated_from(office: Guild) -> dict[str, Any]:
    """The settings by which that server's owner is the operator."""
    return {"operator_guild_id": office.id, "operator_user_ids": (office.owner.id,)}


async def a_day_before(stage: Stage, who: dict[str, Any]) -> Cast:
    """Brings everything there that could be forged; the worker has stopped when this returns."""
    here, there = stage.discord.channel, who["elsewhere"]
    admins, elsewhere = stage.bot.services.admins, Admin(there.guild.id, who["boss_elsewhere"].id)
    await admins.settings.log_to(elsewhere, there.id)
    await admins.policy.set_approval(elsewhere, needed=True)
    await admins.policy.block_terms(elsewhere, "gore")
    for kind in PolicyEntryKind:
        await admins.policy.set_entry(elsewhere, PolicyEntry(kind, 7, allowed=False))
    async with stage.working():
        stage.upstream.fault(Route.CREATE, Fault(status=422, body={"message": "no such thing"}))
        await stage.order("an egret of mia")
        await stage.saying("didn't work", "egret", channel=here)
        stage.upstream.task_seconds = 3600
        await stage.order(MIAS)
        await stage.saying("is being made", channel=here)
        await stage.order(NOAS, who["noa"], there)
        await stage.saying("🔍", channel=there)
    roles = stage.discord.guild.members[who["ousted"].id].roles
    roles.clear()
    return Cast(
        **who,
        mias=(await stage.job(MIAS)).id,
        ended=(await stage.job("an egret of mia")).id,
        noas=(await stage.job(NOAS)).id,
    )


@contextmanager
def errors_logged() -> Iterator[list[str]]:
    """What the program logs as an error, or as an exception of a task of its own."""
    found: list[str] = []

    class Catcher(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(record.getMessage())

    catcher = Catcher(level=logging.ERROR)
    logging.getLogger().addHandler(catcher)
    try:
        yield found
    finally:
        logging.getLogger().removeHandler(catcher)
