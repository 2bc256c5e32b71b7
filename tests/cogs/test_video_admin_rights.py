from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import discord
import pytest

from bot.chat.context import Services
from bot.chat.permissions.command_permissions import CommandPermissions
from tests.cogs.admins import (
    admin,
    another_guild,
    ask,
    bypass_client_check,
    choices_bypassing_client_check,
    plain,
    text_of,
)
from tests.cogs.conftest import CogHarness, sample_picture

REFUSAL = "Manage Server"


def command_id(harness: CogHarness) -> int:
    return harness.bot.services.command_permissions.command_ids["video-admin"]


async def test_a_member_without_the_right_is_refused_privately(harness: CogHarness) -> None:
    result = await bypass_client_check(plain(harness), harness.offline.channel, "video-admin pause")

    assert REFUSAL in text_of(result)
    assert result.ephemeral
    assert "Open" in await ask(harness, admin(harness), "video-admin settings")


async def test_somebody_whom_the_integration_settings_allow_may(harness: CogHarness) -> None:
    helper = plain(harness)
    harness.offline.guild.set_command_permissions(command_id(harness), {helper: True})

    assert "Paused new videos" in await ask(harness, helper, "video-admin pause")


async def test_a_role_that_the_integration_settings_allow_may(harness: CogHarness) -> None:
    role = harness.offline.guild.create_role("Helpers")
    helper = harness.another_member("helper", roles=[role])
    harness.offline.guild.set_command_permissions(command_id(harness), {role: True})

    assert "Paused new videos" in await ask(harness, helper, "video-admin pause")


async def test_an_admin_whom_the_integration_settings_deny_is_refused(harness: CogHarness) -> None:
    denied = admin(harness)
    harness.offline.guild.set_command_permissions(command_id(harness), {denied: False})

    assert REFUSAL in text_of(await bypass_client_check(denied, harness.offline.channel, "video-admin pause"))


async def test_what_one_server_allows_counts_there_alone(harness: CogHarness) -> None:
    guild, channel = another_guild(harness)
    helper = plain(harness, guild=guild)
    harness.offline.guild.set_command_permissions(command_id(harness), {plain(harness, "namesake"): True})

    assert REFUSAL in text_of(await bypass_client_check(helper, channel, "video-admin pause"))


@pytest.mark.parametrize("button", ["Pause", "Resume"])
async def test_an_admin_who_lost_the_right_is_refused_at_the_click(harness: CogHarness, button: str) -> None:
    guild = harness.offline.guild
    role = guild.create_role("Managers", permissions=discord.Permissions(manage_guild=True))
    once = harness.another_member("once", roles=[role])
    admin_user = admin(harness)
    if button == "Resume":
        await ask(harness, admin_user, "video-admin pause")
    shown = (await once.slash(harness.offline.channel, "video-admin settings")).response
    assert shown is not None
    harness.offline._env.backend.edit_role(guild.id, role.id, {"permissions": 0})

    refused = await once.click(shown, label=button)

    assert REFUSAL in text_of(refused)
    assert refused.ephemeral
    paused = "Paused" in await ask(harness, admin_user, "video-admin settings")
    assert paused == (button == "Resume")


async def test_an_allowance_that_was_taken_back_counts_at_the_click(harness: CogHarness) -> None:
    helper = plain(harness)
    guild = harness.offline.guild
    guild.set_command_permissions(command_id(harness), {helper: True})
    shown = (await helper.slash(harness.offline.channel, "video-admin settings")).response
    assert shown is not None
    guild.set_command_permissions(command_id(harness), {})

    assert REFUSAL in text_of(await helper.click(shown, label="Pause"))


async def test_autocomplete_gives_nothing_to_those_who_may_not(harness: CogHarness) -> None:
    harness.gateway.task_seconds = 3600
    await harness.animate("a secret prompt")
    assert await admin(harness).autocomplete(harness.offline.channel, "video-admin jobs cancel", "video", "secret")

    choices = await choices_bypassing_client_check(
        plain(harness), harness.offline.channel, "video-admin jobs cancel", "video"
    )

    assert choices == []


async def says_nothing(guild_id: int, target_id: int) -> Iterable[Mapping[str, Any]]:
    """A Discord that does not tell who manages."""
    del guild_id, target_id
    raise TimeoutError


def silence(harness: CogHarness) -> Services:
    """Makes the bot one that has just started, while Discord does not report any settings; what it had before."""
    before = harness.bot.services
    command_permissions = CommandPermissions(says_nothing)
    command_permissions.command_ids = before.command_permissions.command_ids
    harness.bot.services = replace(before, command_permissions=command_permissions)
    return before


async def test_a_click_waits_where_discord_never_told_who_manages(harness: CogHarness) -> None:
    admin_user = admin(harness)
    shown = (await admin_user.slash(harness.offline.channel, "video-admin settings")).response
    assert shown is not None
    harness.offline.guild.set_command_permissions(command_id(harness), {admin_user: False})
    before = silence(harness)

    refused = await admin_user.click(shown, label="Pause")

    assert "click again in a moment" in text_of(refused)
    assert refused.ephemeral
    harness.bot.services = before
    assert "Open" in await ask(harness, admin(harness, "another"), "video-admin settings")


async def test_a_command_that_discord_guards_itself_goes_by_manage_server_then(harness: CogHarness) -> None:
    silence(harness)

    assert "Paused new videos" in await ask(harness, admin(harness), "video-admin pause")
    assert REFUSAL in text_of(
        await bypass_client_check(plain(harness), harness.offline.channel, "video-admin resume")
    )


def forget_server(harness: CogHarness, how: str) -> None:
    """Brings about what the bot knows of a server before Discord has described it, or in an outage."""
    guild = harness.bot.get_guild(harness.offline.guild.id)
    assert guild is not None
    if how == "listed only":
        guild.unavailable = True
    else:
        harness.bot._connection._remove_guild(guild)


@pytest.mark.parametrize("how", ["listed only", "unknown"])
async def test_nobody_gets_past_a_denied_role_while_the_server_is_not_known(harness: CogHarness, how: str) -> None:
    muted = harness.offline.guild.create_role("Muted", permissions=discord.Permissions(manage_guild=True))
    member = harness.another_member("muted", roles=[muted])
    await ask(harness, admin(harness), "video-admin roles deny", role=muted)
    harness.offline.guild.set_command_permissions(command_id(harness), {muted: False})
    forget_server(harness, how)

    refused = await bypass_client_check(member, harness.offline.channel, "video-admin pause")

    assert "just starting" in text_of(refused)
    assert refused.ephemeral
    ordered = await bypass_client_check(
        member, harness.offline.channel, "animate", prompt="waves", image=("sea.png", sample_picture())
    )
    assert "just starting" in text_of(ordered)
