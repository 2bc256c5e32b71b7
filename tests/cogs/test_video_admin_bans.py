"""Banning and unbanning members."""

from typing import Any

import pytest
from simcord import InteractionResult

from bot.services.admin.audited import Admin
from tests.cogs.admins import admin, another_guild, ask, bypass_client_check, plain, text_of
from tests.cogs.conftest import CogHarness


def answer(result: InteractionResult) -> str:
    assert result.ephemeral
    return text_of(result)


async def banned(harness: CogHarness) -> list[int]:
    return [
        ban.user_id for ban in await harness.bot.services.admins.bans.active(Admin(harness.offline.guild.id, 0))
    ]


async def test_a_banned_member_is_told_why_and_until_when(harness: CogHarness) -> None:
    said = await ask(
        harness, admin(harness), "video-admin ban", member=harness.offline.viewer, reason="*Spam*", expires="7d"
    )

    assert f"Banned <@{harness.offline.viewer.id}> until" in said
    refusal = await harness.animate()
    assert "until <t:" in refusal
    assert r"\*Spam\*" in refusal


async def test_a_ban_without_an_end_is_permanent_and_needs_no_reason(harness: CogHarness) -> None:
    said = await ask(harness, admin(harness), "video-admin ban", member=harness.offline.viewer)

    assert "permanently: no reason given" in said
    assert "No reason was given." in await harness.animate()


@pytest.mark.parametrize("expires", ["soon", "-1h", "7", "0m", "9999999w"])
async def test_an_unreadable_duration_bans_nobody(harness: CogHarness, expires: str) -> None:
    said = await ask(harness, admin(harness), "video-admin ban", member=harness.offline.viewer, expires=expires)

    assert "Banned" not in said
    assert await banned(harness) == []


async def test_a_ban_says_that_ordered_videos_are_still_made(harness: CogHarness) -> None:
    harness.gateway.task_seconds = 3600
    await harness.animate("slow one")

    said = await ask(harness, admin(harness), "video-admin ban", member=harness.offline.viewer)

    assert "1 video they already ordered will still be made" in said
    assert "`/video-admin jobs cancel`" in said


async def test_an_unbanned_member_can_order_again(harness: CogHarness) -> None:
    admin_user = admin(harness)
    await ask(harness, admin_user, "video-admin ban", member=harness.offline.viewer, reason="Spam in general")
    other = harness.another_member()
    await ask(harness, admin_user, "video-admin ban", member=other, reason="Gore")

    said = await ask(harness, admin_user, "video-admin unban", member=harness.offline.viewer)

    assert "(was banned permanently: Spam in general)" in said
    assert "Got it!" in await harness.animate()
    assert await banned(harness) == [other.id]


async def test_a_member_who_left_can_be_unbanned(harness: CogHarness) -> None:
    admin_user, gone = admin(harness), harness.offline._env.create_user("gone")
    await ask(harness, admin_user, "video-admin ban", member=gone)

    assert "Unbanned <@" in await ask(harness, admin_user, "video-admin unban", member=gone)

    assert await banned(harness) == []


async def test_unbanning_a_member_who_is_not_banned_says_so(harness: CogHarness) -> None:
    admin_user = admin(harness)
    await ask(harness, admin_user, "video-admin ban", member=harness.offline.viewer)

    assert "neither banned nor paused" in await ask(
        harness, admin_user, "video-admin unban", member=harness.another_member()
    )

    assert await banned(harness) == [harness.offline.viewer.id]


async def test_the_bans_are_listed_with_their_end_reason_and_admin(harness: CogHarness) -> None:
    admin_user = admin(harness)
    assert "Nobody is banned" in await ask(harness, admin_user, "video-admin bans")
    await ask(
        harness, admin_user, "video-admin ban", member=harness.offline.viewer, reason="**Spam**", expires="12h"
    )

    said = await ask(harness, admin_user, "video-admin bans")

    assert f"<@{harness.offline.viewer.id}> until <t:" in said
    assert f"banned by <@{admin_user.id}>" in said
    assert r"\*\*Spam\*\*" in said


async def test_many_bans_are_sent_as_a_file(harness: CogHarness) -> None:
    admin_user = admin(harness)
    for number in range(30):
        await harness.bot.services.admins.bans.ban(
            Admin(harness.offline.guild.id, admin_user.id), number, "x" * 100, None
        )

    result = await admin_user.slash(harness.offline.channel, "video-admin bans")

    assert result.response is not None
    assert result.ephemeral
    assert "**30 members**" in result.response.content
    (file,) = result.response.attachments
    assert file.filename == "bans.txt"


async def test_unbanning_also_ends_a_pause_for_blocked_prompts(harness: CogHarness) -> None:
    admin_user = admin(harness)
    await ask(harness, admin_user, "video-admin words add", words="gore")
    await ask(harness, admin_user, "video-admin words strikes", count=1)
    await harness.animate("gore")

    assert "by the bot" in await ask(harness, admin_user, "video-admin bans")
    await ask(harness, admin_user, "video-admin unban", member=harness.offline.viewer)

    assert "Got it!" in await harness.animate("waves roll in")


async def test_a_member_without_manage_server_is_refused_by_every_command(harness: CogHarness) -> None:
    admin_user, stranger = admin(harness), plain(harness)
    await ask(harness, admin_user, "video-admin ban", member=harness.offline.viewer)
    channel = harness.offline.channel

    commands: dict[str, dict[str, Any]] = {
        "ban": {"member": admin_user},
        "unban": {"member": harness.offline.viewer},
        "bans": {},
    }

    for command, options in commands.items():
        assert "Manage Server" in answer(
            await bypass_client_check(stranger, channel, f"video-admin {command}", **options)
        )

    assert await banned(harness) == [harness.offline.viewer.id]


async def test_another_servers_admin_neither_sees_nor_removes_this_servers_bans(harness: CogHarness) -> None:
    await ask(harness, admin(harness), "video-admin ban", member=harness.offline.viewer)
    guild, channel = another_guild(harness)
    other = admin(harness, "other admin", guild=guild)

    assert "Nobody is banned" in answer(await other.slash(channel, "video-admin bans"))
    viewer = guild.add_member(harness.offline.viewer.user)
    lifted = await other.slash(channel, "video-admin unban", member=viewer)
    assert "neither banned nor paused" in answer(lifted)

    assert await banned(harness) == [harness.offline.viewer.id]
