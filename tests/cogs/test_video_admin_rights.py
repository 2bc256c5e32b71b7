from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import discord
import pytest

from bot.chat.context import Services
from bot.chat.permissions.command_permissions import CommandPermissions
from tests.cogs.admins import admin, another_guild, ask, plain, slip, slipped_choices, text_of
from tests.cogs.conftest import Town, a_picture

REFUSAL = "Manage Server"


def command_id(town: Town) -> int:
    return town.bot.services.command_permissions.command_ids["video-admin"]


async def test_a_member_without_the_right_is_refused_privately(town: Town) -> None:
    result = await slip(plain(town), town.offline._channel, "video-admin pause")

    assert REFUSAL in text_of(result)
    assert result.ephemeral
    assert "Open" in await ask(town, admin(town), "video-admin settings")


async def test_somebody_whom_the_integration_settings_allow_may(town: Town) -> None:
    helper = plain(town)
    town.offline._guild.set_command_permissions(command_id(town), {helper: True})

    assert "Paused new videos" in await ask(town, helper, "video-admin pause")


async def test_a_role_that_the_integration_settings_allow_may(town: Town) -> None:
    role = town.offline._guild.create_role("Helpers")
    helper = town.another_member("helper", roles=[role])
    town.offline._guild.set_command_permissions(command_id(town), {role: True})

    assert "Paused new videos" in await ask(town, helper, "video-admin pause")


async def test_an_admin_whom_the_integration_settings_deny_is_refused(town: Town) -> None:
    denied = admin(town)
    town.offline._guild.set_command_permissions(command_id(town), {denied: False})

    assert REFUSAL in text_of(await slip(denied, town.offline._channel, "video-admin pause"))


async def test_what_one_server_allows_counts_there_alone(town: Town) -> None:
    guild, channel = another_guild(town)
    helper = plain(town, guild=guild)
    town.offline._guild.set_command_permissions(command_id(town), {plain(town, "namesake"): True})

    assert REFUSAL in text_of(await slip(helper, channel, "video-admin pause"))


@pytest.mark.parametrize("button", ["Pause", "Resume"])
async def test_an_admin_who_lost_the_right_is_refused_at_the_click(town: Town, button: str) -> None:
    guild = town.offline._guild
    role = guild.create_role("Managers", permissions=discord.Permissions(manage_guild=True))
    once = town.another_member("once", roles=[role])
    boss = admin(town)
    if button == "Resume":
        await ask(town, boss, "video-admin pause")
    shown = (await once.slash(town.offline._channel, "video-admin settings")).response
    assert shown is not None
    town.offline._env.backend.edit_role(guild.id, role.id, {"permissions": 0})

    refused = await once.click(shown, label=button)

    assert REFUSAL in text_of(refused)
    assert refused.ephemeral
    paused = "Paused" in await ask(town, boss, "video-admin settings")
    assert paused == (button == "Resume")


async def test_an_allowance_that_was_taken_back_counts_at_the_click(town: Town) -> None:
    helper = plain(town)
    guild = town.offline._guild
    guild.set_command_permissions(command_id(town), {helper: True})
    shown = (await helper.slash(town.offline._channel, "video-admin settings")).response
    assert shown is not None
    guild.set_command_permissions(command_id(town), {})

    assert REFUSAL in text_of(await helper.click(shown, label="Pause"))


async def test_autocomplete_gives_nothing_to_those_who_may_not(town: Town) -> None:
    town.gateway.task_seconds = 3600
    await town.animate("a secret prompt")
    assert await admin(town).autocomplete(town.offline._channel, "video-admin jobs cancel", "video", "secret")

    choices = await slipped_choices(plain(town), town.offline._channel, "video-admin jobs cancel", "video")

    assert choices == []


async def says_nothing(guild_id: int, target_id: int) -> Iterable[Mapping[str, Any]]:
    """A Discord that does not tell who manages."""
    del guild_id, target_id
    raise TimeoutError


def silence(town: Town) -> Services:
    """Makes the bot one that has just started, while Discord does not report any settings; what it had before."""
    before = town.bot.services
    command_permissions = CommandPermissions(says_nothing)
    command_permissions.command_ids = before.command_permissions.command_ids
    town.bot.services = replace(before, command_permissions=command_permissions)
    return before


async def test_a_click_waits_where_discord_never_told_who_manages(town: Town) -> None:
    boss = admin(town)
    shown = (await boss.slash(town.offline._channel, "video-admin settings")).response
    assert shown is not None
    town.offline._guild.set_command_permissions(command_id(town), {boss: False})
    before = silence(town)

    refused = await boss.click(shown, label="Pause")

    assert "click again in a moment" in text_of(refused)
    assert refused.ephemeral
    town.bot.services = before
    assert "Open" in await ask(town, admin(town, "another"), "video-admin settings")


async def test_a_command_that_discord_guards_itself_goes_by_manage_server_then(town: Town) -> None:
    silence(town)

    assert "Paused new videos" in await ask(town, admin(town), "video-admin pause")
    assert REFUSAL in text_of(await slip(plain(town), town.offline._channel, "video-admin resume"))


def forget_server(town: Town, how: str) -> None:
    """Brings about what the bot knows of a server before Discord has described it, or in an outage."""
    guild = town.bot.get_guild(town.offline.guild_id)
    assert guild is not None
    if how == "listed only":
        guild.unavailable = True
    else:
        town.bot._connection._remove_guild(guild)


@pytest.mark.parametrize("how", ["listed only", "unknown"])
async def test_nobody_gets_past_a_denied_role_while_the_server_is_not_known(town: Town, how: str) -> None:
    muted = town.offline._guild.create_role("Muted", permissions=discord.Permissions(manage_guild=True))
    member = town.another_member("muted", roles=[muted])
    await ask(town, admin(town), "video-admin roles deny", role=muted)
    town.offline._guild.set_command_permissions(command_id(town), {muted: False})
    forget_server(town, how)

    refused = await slip(member, town.offline._channel, "video-admin pause")

    assert "just starting" in text_of(refused)
    assert refused.ephemeral
    ordered = await slip(member, town.offline._channel, "animate", prompt="waves", image=("sea.png", a_picture()))
    assert "just starting" in text_of(ordered)
