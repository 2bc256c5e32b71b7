"""`/operator` is offered in one server; where that can't be done, the bot starts all the same."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest

from bot.chat.permissions.operator_permissions import offer_to_operator, operator_of
from bot.chat.transport.client import ZoetropeBot
from bot.domain.errors import NotPossible
from bot.domain.guilds import OperatorDefaults
from bot.services.operator.service import OperatorService
from bot.store.engine import Database
from tests.discord_server import Answer, DiscordServer, User, ill, refused
from tests.discord_server.clients import logged_in
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
        bot.operator = OperatorService(
            database, OperatorDefaults(), guild_id=place, user_ids=(1,), wake=lambda: None, clock=lambda: NOW
        )
        yield bot


def offered(discord: DiscordServer) -> list[str]:
    """The commands of the first server, and of no other."""
    return [command["name"] for command in discord.commands.listed(discord.guild.id)]


async def test_the_operators_server_alone_is_told_of_the_command(discord: DiscordServer, bot: ZoetropeBot) -> None:
    async with logged_in(bot, discord):
        assert offered(discord) == ["operator"]
        assert "operator" not in [command["name"] for command in discord.commands.listed(None)]


@pytest.mark.parametrize(
    ("fault", "advice"),
    [
        (refused(403, 50001, "Missing Access"), "Invite it there, then start it again"),
        (refused(404, 10004, "Unknown Guild"), "Invite it there, then start it again"),
        (ill(503), "start again to have it"),
    ],
    ids=["no access", "no server", "ill"],
)
async def test_a_bot_that_can_not_offer_it_says_so_and_starts(
    discord: DiscordServer, bot: ZoetropeBot, fault: Answer, advice: str, caplog: pytest.LogCaptureFixture
) -> None:
    discord.fail_next("PUT", "/applications/*/guilds/*/commands", fault, times=9)

    async with logged_in(bot, discord):
        assert offered(discord) == []
        assert "animate" in [command["name"] for command in discord.commands.listed(None)]

    assert "`/operator`" in caplog.text
    assert advice in caplog.text


@dataclass(frozen=True)
class Acting:
    """As much of an interaction as says who acts, and where."""

    client: ZoetropeBot
    guild_id: int | None
    user: User


async def may(bot: ZoetropeBot, guild_id: int | None, user_id: int) -> bool:
    acting = cast("Any", Acting(bot, guild_id, User("somebody", id=user_id)))
    try:
        operator = await operator_of(acting)
    except NotPossible:
        return False
    return operator.user_id == user_id


async def test_only_the_operators_users_in_the_operators_server_may(
    discord: DiscordServer, bot: ZoetropeBot
) -> None:
    home = discord.guild.id
    assert await may(bot, home, 1)
    assert not await may(bot, home, 2)
    assert not await may(bot, home + 1, 1)
    assert not await may(bot, None, 1)
    bot.operator = None
    assert not await may(bot, home, 1)


async def test_without_an_operator_no_server_is_told(discord: DiscordServer, bot: ZoetropeBot) -> None:
    bot.operator = None
    async with logged_in(bot, discord):
        await offer_to_operator(bot)

    assert not discord.calls("PUT", f"/applications/{discord.world.bot.id}/guilds")
