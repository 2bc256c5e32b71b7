from typing import Any

import discord
import pytest
from simcord import ChannelHandle, MemberActor

from tests.cogs.admins import admin, another_guild, ask, text_of
from tests.cogs.conftest import CogHarness


def channel(
    harness: CogHarness, name: str = "log", *, bot: dict[str, bool], public: bool = False
) -> ChannelHandle:
    """A channel with those permissions for the bot, closed to everybody else unless it is public."""
    user: Any = harness.bot.user
    guild = harness.offline.guild
    overwrites = {user: discord.PermissionOverwrite(**bot)}
    if not public:
        overwrites[guild.default_role] = discord.PermissionOverwrite(view_channel=False)
    return guild.create_text_channel(name, overwrites=overwrites)


GRANTED = {"view_channel": True, "send_messages": True, "attach_files": True}


def administrator(harness: CogHarness) -> MemberActor:
    """An admin who sees every channel, closed ones too."""
    role = harness.offline.guild.create_role("Bosses", permissions=discord.Permissions(administrator=True))
    return harness.another_member("admin_user", roles=[role])


async def test_the_log_channel_is_set_moved_and_unset(harness: CogHarness) -> None:
    first, second = channel(harness, "first", bot=GRANTED), channel(harness, "second", bot=GRANTED)
    admin_user = administrator(harness)

    assert f"Set the log channel to <#{first.id}>" in await ask(
        harness, admin_user, "video-admin log channel", channel=first
    )
    assert f"Moved the log from <#{first.id}> to <#{second.id}>" in await ask(
        harness, admin_user, "video-admin log channel", channel=second
    )
    assert f"<#{second.id}>" in await ask(harness, admin_user, "video-admin settings")
    assert f"Turned the log off (it was in <#{second.id}>)" in await ask(
        harness, admin_user, "video-admin log off"
    )
    assert "**off**" in await ask(harness, admin_user, "video-admin settings")


@pytest.mark.parametrize(
    ("denied", "lacks"),
    [  # without Send Messages, Attach Files is missing too
        ("send_messages", "I don't have **Send Messages** and **Attach Files** there."),
        ("attach_files", "I don't have **Attach Files** there."),
    ],
)
async def test_a_channel_where_the_bot_may_not_post_is_refused_with_the_missing_permissions(
    harness: CogHarness, denied: str, lacks: str
) -> None:
    closed = channel(harness, bot=GRANTED | {denied: False})
    admin_user = administrator(harness)

    answer = await ask(harness, admin_user, "video-admin log channel", channel=closed)

    assert lacks in answer
    assert "**off**" in await ask(harness, admin_user, "video-admin settings")


async def test_a_public_channel_is_accepted_with_a_warning(harness: CogHarness) -> None:
    public = channel(harness, bot=GRANTED, public=True)

    answer = await ask(harness, administrator(harness), "video-admin log channel", channel=public)

    assert f"Set the log channel to <#{public.id}>" in answer
    assert "Everyone in this server can read" in answer


async def test_a_private_channel_gets_no_warning(harness: CogHarness) -> None:
    closed = channel(harness, bot=GRANTED)

    assert "⚠️" not in await ask(harness, administrator(harness), "video-admin log channel", channel=closed)


async def test_an_empty_audit_log_says_so(harness: CogHarness) -> None:
    assert "Nothing has been changed here yet." in await ask(harness, admin(harness), "video-admin log show")


async def test_the_audit_log_shows_who_changed_what_newest_first(harness: CogHarness) -> None:
    first, second = admin(harness, "first"), admin(harness, "second")
    await ask(harness, first, "video-admin limits server", videos=7)
    await ask(harness, second, "video-admin pause")

    lines = (await ask(harness, first, "video-admin log show")).splitlines()

    assert len(lines) == 2
    assert f"<@{second.id}> paused new videos" in lines[0]
    assert f"<@{first.id}> changed this server's limits: videos per window 5 (default) → 7" in lines[1]


async def test_a_command_that_changes_nothing_adds_no_entry(harness: CogHarness) -> None:
    admin_user = admin(harness)

    await ask(harness, admin_user, "video-admin resume")
    await ask(harness, admin_user, "video-admin limits server")

    assert "Nothing has been changed here yet." in await ask(harness, admin_user, "video-admin log show")


@pytest.mark.full
async def test_a_long_audit_log_is_sent_as_a_file(harness: CogHarness) -> None:
    admin_user, second = admin(harness), admin(harness, "second")  # a single one would be rate limited
    for number in range(1, 31):
        await ask(
            harness, (admin_user, second)[number % 2], "video-admin limits server", videos=number, running=number
        )

    result = await admin_user.slash(harness.offline.channel, "video-admin log show", number=100)

    assert result.response is not None
    assert len(result.response.content) <= 2000
    [file] = result.response.attachments
    assert len((await file.read()).decode().splitlines()) == 30


async def test_the_audit_log_of_another_server_is_not_shown(harness: CogHarness) -> None:
    guild, there = another_guild(harness)
    elsewhere = admin(harness, "elsewhere", guild=guild)
    await ask(harness, admin(harness), "video-admin pause")

    assert "Nothing has been changed here yet." in text_of(await elsewhere.slash(there, "video-admin log show"))
