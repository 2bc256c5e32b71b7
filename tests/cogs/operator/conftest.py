"""The operator's own server beside two others, and a lost order."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import discord
import pytest
from simcord import ChannelHandle, GuildHandle, InteractionResult, MemberActor, UserHandle

from bot.domain.jobs import FailureReason, Job
from bot.services.operator.service import OperatorService
from tests.cogs.admins import text_of
from tests.cogs.conftest import WITHIN_S, CogHarness, open_cog_harness
from tests.faulty_gateway import Ending, Fault, Route

MANAGE_GUILD = discord.Permissions(manage_guild=True)
OPERATOR_GUILD_ID = 770_000_000_000_000_001


@dataclass
class OperatorServer:
    """The operator's own server, with the operator in it."""

    harness: CogHarness
    guild: GuildHandle
    channel: ChannelHandle
    user: UserHandle
    operator: MemberActor

    @property
    def service(self) -> OperatorService:
        assert self.harness.bot.services.operator is not None
        return self.harness.bot.services.operator

    async def send(self, command: str, who: MemberActor | None = None, /, **options: Any) -> InteractionResult:
        await self.until_servers_are_described()
        result = await (who or self.operator).slash(self.channel, f"operator {command}", **options)
        assert result.ephemeral, "the answer is public"
        return result

    async def ask(self, command: str, /, **options: Any) -> str:
        """The operator sends a command; what the private answer says."""
        return text_of(await self.send(command, **options))

    async def choices(self, command: str, option: str, value: str = "") -> Sequence[Any]:
        await self.until_servers_are_described()
        return await self.operator.autocomplete(self.channel, f"operator {command}", option, value)

    async def until_servers_are_described(self) -> None:
        """The names of new servers are recorded a moment after they arrive."""
        async with asyncio.timeout(WITHIN_S):
            while (await self.service.server_names()).keys() != {guild.id for guild in self.harness.bot.guilds}:
                await asyncio.sleep(0.01)

    def remove_operator(self) -> None:
        """Takes the operator's rights away."""
        self.service.user_ids = frozenset()

    async def job(self) -> Job:
        """The one job of the first member."""
        offline = self.harness.offline
        [job] = await self.harness.app.service.recent(offline.guild.id, offline.viewer.id)
        return job


@asynccontextmanager
async def open_operator_server(folder: Path, **settings: Any) -> AsyncIterator[OperatorServer]:
    given = {"operator_guild_id": OPERATOR_GUILD_ID, "operator_user_ids": (1,), **settings}
    async with open_cog_harness(folder, **given) as harness:
        env = harness.offline._env
        guild = env.create_guild("Office", id=OPERATOR_GUILD_ID)
        channel = guild.create_text_channel("operators")
        operator = env.create_user("operator")
        # The user's id is known only once the user exists.
        assert harness.bot.services.operator is not None
        harness.bot.services.operator.user_ids = frozenset({operator.id})
        role = guild.create_role("Bosses", permissions=MANAGE_GUILD)
        yield OperatorServer(harness, guild, channel, operator, guild.add_member(operator, roles=[role]))


@pytest.fixture
async def operator_server(tmp_path: Path) -> AsyncIterator[OperatorServer]:
    async with open_operator_server(tmp_path) as operator_server:
        yield operator_server


async def a_lost_order(operator_server: OperatorServer) -> Job:
    """A job whose submission was never answered."""
    operator_server.harness.gateway.fault(Route.CREATE, Fault(ending=Ending.RESET))
    await operator_server.harness.animate("the lost one")
    await operator_server.harness.wait_for_message("didn't work")
    job = next(it for it in await _all_jobs(operator_server) if it.order.prompt == "the lost one")
    assert job.failure_reason is FailureReason.OUTCOME_UNKNOWN
    return job


async def _all_jobs(operator_server: OperatorServer) -> list[Job]:
    offline = operator_server.harness.offline
    return await operator_server.harness.app.service.recent(offline.guild.id, offline.viewer.id)
