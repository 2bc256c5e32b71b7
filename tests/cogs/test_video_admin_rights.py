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


async def test_a_member_without_manage_server_is_refused_privately(harness: CogHarness) -> None:
    result = await bypass_client_check(plain(harness), harness.offline.channel, "video-admin pause")

    assert REFUSAL in text_of(result)
    assert result.ephemeral
    assert "Open" in await ask(harness, admin(harness), "video-admin settings")


async def test_a_member_allowed_by_integration_settings_is_accepted(harness: CogHarness) -> None:
    helper = plain(harness)
    harness.offline.guild.set_command_permissions(command_id(harness), {helper: True})

    assert "Paused new videos" in await ask(harness, helper, "video-admin pause")


async def test_a_role_allowed_by_integration_settings_is_accepted(harness: CogHarness) -> None:
    role = harness.offline.guild.create_role("Helpers")
    helper = harness.another_member("helper", roles=[role])
    harness.offline.guild.set_command_permissions(command_id(harness), {role: True})

    assert "Paused new videos" in await ask(harness, helper, "video-admin pause")


async def test_an_admin_denied_by_integration_settings_is_refused(harness: CogHarness) -> None:
    denied = admin(harness)
    harness.offline.guild.set_command_permissions(command_id(harness), {denied: False})

    assert REFUSAL in text_of(await bypass_client_check(denied, harness.offline.channel, "video-admin pause"))


async def test_integration_settings_apply_to_their_own_server_only(harness: CogHarness) -> None:
    guild, channel = another_guild(harness)
    helper = plain(harness, guild=guild)
    harness.offline.guild.set_command_permissions(command_id(harness), {plain(harness, "namesake"): True})

    assert REFUSAL in text_of(await bypass_client_check(helper, channel, "video-admin pause"))


@pytest.mark.parametrize("button", ["Pause", "Resume"])
async def test_an_admin_who_lost_manage_server_is_refused_at_the_click(harness: CogHarness, button: str) -> None:
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


async def test_a_member_no_longer_allowed_by_integration_settings_is_refused_at_the_click(
    harness: CogHarness,
) -> None:
    helper = plain(harness)
    guild = harness.offline.guild
    guild.set_command_permissions(command_id(harness), {helper: True})
    shown = (await helper.slash(harness.offline.channel, "video-admin settings")).response
    assert shown is not None
    guild.set_command_permissions(command_id(harness), {})

    assert REFUSAL in text_of(await helper.click(shown, label="Pause"))


async def test_autocomplete_gives_no_choices_to_a_plain_member(harness: CogHarness) -> None:
    harness.gateway.task_seconds = 3600
    await harness.animate("a secret prompt")
    assert await admin(harness).autocomplete(harness.offline.channel, "video-admin jobs cancel", "video", "secret")

    choices = await choices_bypassing_client_check(
        plain(harness), harness.offline.channel, "video-admin jobs cancel", "video"
    )

    assert choices == []


async def never_responds(guild_id: int, target_id: int) -> Iterable[Mapping[str, Any]]:
    """A Discord that does not return the integration settings."""
    del guild_id, target_id
    raise TimeoutError


def hide_integration_settings(harness: CogHarness) -> Services:
    """Leaves the bot as after a start without a response from Discord; returns its previous services."""
    before = harness.bot.services
    command_permissions = CommandPermissions(never_responds)
    command_permissions.command_ids = before.command_permissions.command_ids
    harness.bot.services = replace(before, command_permissions=command_permissions)
    return before


async def test_a_click_is_refused_while_the_integration_settings_are_unknown(harness: CogHarness) -> None:
    admin_user = admin(harness)
    shown = (await admin_user.slash(harness.offline.channel, "video-admin settings")).response
    assert shown is not None
    harness.offline.guild.set_command_permissions(command_id(harness), {admin_user: False})
    before = hide_integration_settings(harness)

    refused = await admin_user.click(shown, label="Pause")

    assert "click again in a moment" in text_of(refused)
    assert refused.ephemeral
    harness.bot.services = before
    assert "Open" in await ask(harness, admin(harness, "another"), "video-admin settings")


async def test_a_command_requires_manage_server_while_the_integration_settings_are_unknown(
    harness: CogHarness,
) -> None:
    hide_integration_settings(harness)

    assert "Paused new videos" in await ask(harness, admin(harness), "video-admin pause")
    assert REFUSAL in text_of(
        await bypass_client_check(plain(harness), harness.offline.channel, "video-admin resume")
    )


def forget_server(harness: CogHarness, how: str) -> None:
    """Leaves the bot as before Discord sent the server's data, or as in an outage."""
    guild = harness.bot.get_guild(harness.offline.guild.id)
    assert guild is not None
    if how == "listed only":
        guild.unavailable = True
    else:
        harness.bot._connection._remove_guild(guild)


@pytest.mark.parametrize("how", ["listed only", "unknown"])
async def test_a_denied_role_is_refused_while_the_server_is_unknown(harness: CogHarness, how: str) -> None:
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
