"""Who the requester is; `/operator` is registered in one server, and if that fails, the bot starts anyway."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest
from discord import Intents
from discord.ext import commands

from bot.chat.authorization import operator_of, requester
from bot.chat.context import Interaction, ServiceBot
from bot.chat.transport.client import ZoetropeBot
from bot.domain.errors import NotPossible
from bot.domain.guilds import OperatorDefaults
from bot.services.operator.service import OperatorService
from bot.store.engine import Database
from tests.chat.some_services import some_services
from tests.discord_server import Answer, DiscordServer, User, refused, server_error
from tests.discord_server.clients import connected, logged_in
from tests.store.factories import NOW


@pytest.fixture
async def discord() -> AsyncIterator[DiscordServer]:
    async with DiscordServer() as discord:
        yield discord


@pytest.fixture
async def bot(discord: DiscordServer, tmp_path: Path) -> AsyncIterator[ZoetropeBot]:
    """A bot to which the first server is the operator's, not logged in yet."""
    async with Database.open(f"sqlite:///{tmp_path / 'none.db'}") as database:
        bot, place = ZoetropeBot(), discord.guild.id
        operator = OperatorService(
            database, OperatorDefaults(), guild_id=place, user_ids=(1,), wake=lambda: None, clock=lambda: NOW
        )
        bot.services = some_services(operator=operator)
        yield bot


def registered_commands(discord: DiscordServer) -> list[str]:
    """The commands of the first server, and of no other."""
    return [command["name"] for command in discord.commands.listed(discord.guild.id)]


async def test_the_operator_command_is_registered_only_in_the_operators_server(
    discord: DiscordServer, bot: ZoetropeBot
) -> None:
    async with logged_in(bot, discord):
        assert registered_commands(discord) == ["operator"]
        assert "operator" not in [command["name"] for command in discord.commands.listed(None)]


@pytest.mark.full
@pytest.mark.parametrize(
    ("fault", "advice"),
    [
        (refused(403, 50001, "Missing Access"), "Invite it there, then restart it"),
        (refused(404, 10004, "Unknown Guild"), "Invite it there, then restart it"),
        (server_error(503), "restart the bot to try again"),
        (Answer(403, "<html>Attention Required!</html>"), "restart the bot to try again"),
        (Answer(200, "<html>Just a moment...</html>"), "restart the bot to try again"),
    ],
    ids=["no access", "no server", "unavailable", "a proxy's 403", "a proxy's page"],
)
async def test_a_failure_to_register_the_command_is_logged_and_the_bot_starts(
    discord: DiscordServer, bot: ZoetropeBot, fault: Answer, advice: str, caplog: pytest.LogCaptureFixture
) -> None:
    discord.fail_next("PUT", "/applications/*/guilds/*/commands", fault, times=9)

    async with logged_in(bot, discord):
        assert registered_commands(discord) == []
        assert "animate" in [command["name"] for command in discord.commands.listed(None)]

    assert "`/operator`" in caplog.text
    assert advice in caplog.text


@dataclass(frozen=True)
class FakeInteraction:
    """As much of an interaction as says who sent it, and where."""

    client: ZoetropeBot
    guild_id: int | None
    user: User


async def is_operator(bot: ZoetropeBot, guild_id: int | None, user_id: int) -> bool:
    acting = cast("Any", FakeInteraction(bot, guild_id, User("somebody", id=user_id)))
    try:
        _, operator = await operator_of(acting)
    except NotPossible:
        return False
    return operator.user_id == user_id


async def test_only_the_operators_users_in_the_operators_server_are_authorized(
    discord: DiscordServer, bot: ZoetropeBot
) -> None:
    home = discord.guild.id
    assert await is_operator(bot, home, 1)
    assert not await is_operator(bot, home, 2)
    assert not await is_operator(bot, home + 1, 1)
    assert not await is_operator(bot, None, 1)
    bot.services = some_services()
    assert not await is_operator(bot, home, 1)


async def test_without_an_operator_the_command_is_not_registered(discord: DiscordServer, bot: ZoetropeBot) -> None:
    bot.services = some_services()
    async with logged_in(bot, discord):
        pass

    assert not discord.calls("PUT", f"/applications/{discord.state.bot.id}/guilds")


def whoami_bot() -> ServiceBot:
    """It answers `/whoami` with the requester's server, or with the reason why it is not known."""
    bot = ServiceBot(commands.when_mentioned, intents=Intents(guilds=True), help_command=None)

    @bot.tree.command(name="whoami", description="says where somebody asks")
    async def whoami(interaction: Interaction) -> None:
        try:
            said = f"in {requester(interaction).guild_id}"
        except NotPossible as error:
            said = str(error)
        await interaction.response.send_message(said)

    return bot


@pytest.mark.parametrize(
    ("how", "said"),
    [("described", "in "), ("in an outage", "just starting"), ("not yet described", "just starting")],
)
async def test_the_requester_is_known_only_if_the_server_is(how: str, said: str) -> None:
    """An interaction brings a little of its server along, but no roles that a member's are looked up in."""
    async with DiscordServer() as server, connected(whoami_bot(), server) as bot:
        await bot.tree.sync()
        guild_id = server.guild.id
        await server.state.until(lambda: bot.get_guild(guild_id))
        if how == "in an outage":
            away = {"id": str(guild_id), "unavailable": True}
            server.gateway.dispatch("GUILD_DELETE", away, intent="guilds")
        elif how == "not yet described":
            server.gateway.dispatch("GUILD_DELETE", {"id": str(guild_id)}, intent="guilds")

        answer = await (await server.slash("whoami")).answer()

    assert said in answer.content
