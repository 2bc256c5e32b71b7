"""`/help`: what a member can do here and now."""

import re
from pathlib import Path

import discord
import pytest
from simcord import ChannelHandle, MemberActor

from bot.chat.posting import shown_text
from bot.store.guilds import guild_settings
from tests.cogs.admins import admin, plain
from tests.cogs.conftest import CogHarness, open_cog_harness
from tests.cogs.test_permissions import OPERATOR_GUILD_ID


async def help_for(harness: CogHarness, who: MemberActor, channel: ChannelHandle | None = None) -> str:
    result = await who.slash(channel or harness.offline.channel, "help")
    assert result.response is not None
    assert result.response.ephemeral
    return shown_text(result.response.message.components)


async def test_a_member_sees_what_they_can_do_and_what_is_left(harness: CogHarness) -> None:
    text = await help_for(harness, harness.offline.viewer)
    ids = harness.bot.services.command_permissions.command_ids

    assert "You can make a video here" in text
    assert "**5 of 5** videos left in 24 hours" in text
    for name in ("animate", "videos list", "videos show", "videos settings", "videos privacy delete"):
        assert f"</{name}:{ids[name.split()[0]]}>" in text


async def test_every_command_for_members_is_listed(harness: CogHarness) -> None:
    text = await help_for(harness, harness.offline.viewer)

    member = plain(harness)
    available = [
        name
        for name in member.available_commands(harness.offline.channel)
        if "video-admin" not in name and name != "help"
    ]
    assert [name for name in available if f"</{name}:" not in text] == []


async def test_only_admins_see_commands_for_admins(harness: CogHarness) -> None:
    assert "video-admin" not in await help_for(harness, plain(harness))
    owner = admin(harness)
    named = re.findall(r"</(video-admin [a-z ]+):", await help_for(harness, owner))
    assert "video-admin settings" in named
    assert set(named) <= set(owner.available_commands(harness.offline.channel))


async def test_only_the_operator_sees_their_commands(tmp_path: Path) -> None:
    async with open_cog_harness(tmp_path, operator_guild_id=OPERATOR_GUILD_ID, operator_user_ids=(1,)) as harness:
        guild = harness.offline._env.create_guild("Operators", id=OPERATOR_GUILD_ID)
        channel = guild.create_text_channel("operators")
        operator = plain(harness, "operator", guild=guild)
        assert harness.bot.services.operator is not None
        harness.bot.services.operator.user_ids = frozenset({operator.id})

        text = await help_for(harness, operator, channel)
        named = re.findall(r"/(operator [a-z]+)", text)
        assert named
        there = discord.Object(OPERATOR_GUILD_ID)
        assert set(named) <= {one.qualified_name for one in harness.bot.tree.walk_commands(guild=there)}
        assert "/operator" not in await help_for(harness, plain(harness, guild=guild), channel)


async def test_names_that_discord_has_not_confirmed_are_plain(harness: CogHarness) -> None:
    harness.bot.services.command_permissions.command_ids = {}

    text = await help_for(harness, harness.offline.viewer)

    assert "`/videos list`" in text
    assert "</" not in text


async def test_it_says_why_nothing_can_be_ordered(harness: CogHarness) -> None:
    async with harness.app.database.write() as connection:
        await guild_settings.write(connection, harness.offline.guild.id, {"paused": True})

    text = await help_for(harness, harness.offline.viewer)

    assert "You can't make a video here right now" in text
    assert "paused" in text


async def test_it_says_when_a_full_quota_unlocks(tmp_path: Path) -> None:
    async with open_cog_harness(tmp_path, quota_videos_per_day=1) as harness:
        harness.gateway.task_seconds = 3600
        await harness.animate()

        text = await help_for(harness, harness.offline.viewer)

    assert "You can't make a video here right now" in text
    assert "**0 of 1** videos left" in text
    assert "The next one unlocks <t:" in text


@pytest.mark.parametrize("name", ["attach_files", "send_messages"])
async def test_it_says_what_the_bot_may_not_do_in_the_channel(harness: CogHarness, name: str) -> None:
    me = harness.bot.user
    assert me is not None
    channel = harness.offline.guild.create_text_channel(
        "closed", overwrites={me: discord.PermissionOverwrite(**{name: False})}
    )

    text = await help_for(harness, harness.offline.viewer, channel)

    assert "I can't post videos here" in text
