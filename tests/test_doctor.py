"""What the doctor finds of the operator's settings; the rest of it is tested as a process, in tests/e2e."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from discord import Permissions
from pydantic import SecretStr

from bot.doctor import Finding, examine
from bot.settings import GivenSettings
from tests.discord_server import DiscordServer, ill
from tests.discord_server.state import Overwrite


@pytest.fixture
async def discord() -> AsyncIterator[DiscordServer]:
    async with DiscordServer() as discord:
        yield discord


async def findings(
    discord: DiscordServer, folder: Path, subject: str = "operator", **settings: Any
) -> list[Finding]:
    given = {
        "discord_token": SecretStr(discord.token),
        "vtrix_api_key": SecretStr("key-of-the-tests"),
        "vtrix_base_url": "http://127.0.0.1:9",  # nobody listens there
        "database_url": f"sqlite:///{folder / 'none.db'}",
        "discord_api_url": discord.api_url,
        **settings,
    }
    found = [finding async for finding in examine(GivenSettings(**given))]
    return [finding for finding in found if finding.subject.startswith(subject)]


async def test_without_an_operator_nothing_is_said_of_one(discord: DiscordServer, tmp_path: Path) -> None:
    assert await findings(discord, tmp_path) == []


async def test_an_operator_who_can_be_served_and_told_is_well(discord: DiscordServer, tmp_path: Path) -> None:
    found = await findings(
        discord,
        tmp_path,
        operator_guild_id=discord.guild.id,
        operator_user_ids=(discord.member.id,),
        operator_log_channel_id=discord.channel.id,
    )

    assert [(finding.subject, finding.well) for finding in found] == [("operator", True), ("operator's log", True)]


async def test_a_server_without_the_bot_is_named(discord: DiscordServer, tmp_path: Path) -> None:
    [finding] = await findings(discord, tmp_path, operator_guild_id=5, operator_user_ids=(1,))

    assert not finding.well
    assert "not in the server 5 of OPERATOR_GUILD_ID; invite it there." in finding.text


async def test_a_user_who_is_not_in_the_server_is_named(discord: DiscordServer, tmp_path: Path) -> None:
    users = (discord.member.id, 77)
    [finding] = await findings(discord, tmp_path, operator_guild_id=discord.guild.id, operator_user_ids=users)

    assert not finding.well
    assert "the user 77 of OPERATOR_USER_IDS is no member of Moving Pictures." in finding.text


async def test_a_log_channel_that_is_not_there_is_named(discord: DiscordServer, tmp_path: Path) -> None:
    [finding] = await findings(discord, tmp_path, operator_log_channel_id=77)

    assert not finding.well
    assert "can't see the channel 77 of OPERATOR_LOG_CHANNEL_ID" in finding.text


async def test_a_log_channel_where_the_bot_may_not_write_is_named_with_what_it_lacks(
    discord: DiscordServer, tmp_path: Path
) -> None:
    discord.channel.overwrites[discord.guild.id] = Overwrite(deny=Permissions(send_messages=True))
    managed = next(role for role in discord.guild.roles.values() if role.bot_id)
    managed.permissions &= ~Permissions(administrator=True)

    [finding] = await findings(discord, tmp_path, operator_log_channel_id=discord.channel.id)

    assert not finding.well
    assert "lacks Send Messages in #general" in finding.text


async def test_a_discord_that_is_ill_is_no_traceback(discord: DiscordServer, tmp_path: Path) -> None:
    discord.fail_next("GET", "/channels/*", ill(503), times=9)

    [finding] = await findings(discord, tmp_path, operator_log_channel_id=discord.channel.id)

    assert not finding.well
    assert "can't be looked up" in finding.text


async def test_what_the_host_gives_away_is_a_warning_and_no_failure(
    discord: DiscordServer, tmp_path: Path
) -> None:
    file = tmp_path / "house.db"
    file.touch()
    file.chmod(0o644)
    found = await findings(discord, tmp_path, "host", database_url=f"sqlite:///{file}")
    assert [(said.well, said.bearable) for said in found if str(file) in said.text] == [(False, True)]
