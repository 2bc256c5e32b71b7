from typing import Any

import discord
import pytest
from simcord import ChannelHandle, MemberActor

from tests.cogs.admins import admin, another_guild, ask, text_of
from tests.cogs.conftest import Town


def channel(town: Town, name: str = "log", *, bot: dict[str, bool], public: bool = False) -> ChannelHandle:
    """A channel with those permissions for the bot, closed to everybody else unless it is public."""
    user: Any = town.bot.user
    guild = town.offline._guild
    overwrites = {user: discord.PermissionOverwrite(**bot)}
    if not public:
        overwrites[guild.default_role] = discord.PermissionOverwrite(view_channel=False)
    return guild.create_text_channel(name, overwrites=overwrites)


MAY = {"view_channel": True, "send_messages": True, "attach_files": True}


def seeing(town: Town) -> MemberActor:
    """An admin who sees every channel, closed ones too."""
    role = town.offline._guild.create_role("Bosses", permissions=discord.Permissions(administrator=True))
    return town.another_member("boss", roles=[role])


async def test_the_log_channel_is_set_moved_and_unset(town: Town) -> None:
    first, second = channel(town, "first", bot=MAY), channel(town, "second", bot=MAY)
    boss = seeing(town)

    assert f"nothing → <#{first.id}>" in await ask(town, boss, "video-admin log channel", channel=first)
    assert f"<#{first.id}> → <#{second.id}>" in await ask(town, boss, "video-admin log channel", channel=second)
    assert f"<#{second.id}>" in await ask(town, boss, "video-admin settings")
    assert f"<#{second.id}> → nothing" in await ask(town, boss, "video-admin log off")
    assert "**nowhere**" in await ask(town, boss, "video-admin settings")


@pytest.mark.parametrize(
    ("denied", "lacks"),
    [  # who may send nothing may attach nothing, either
        ("send_messages", "I need **Send Messages** and **Attach Files** there."),
        ("attach_files", "I need **Attach Files** there."),
    ],
)
async def test_a_channel_where_the_bot_may_not_post_is_refused_and_says_what_is_missing(
    town: Town, denied: str, lacks: str
) -> None:
    closed = channel(town, bot=MAY | {denied: False})
    boss = seeing(town)

    answer = await ask(town, boss, "video-admin log channel", channel=closed)

    assert lacks in answer
    assert "**nowhere**" in await ask(town, boss, "video-admin settings")


async def test_a_channel_that_everybody_reads_is_taken_with_a_warning(town: Town) -> None:
    public = channel(town, bot=MAY, public=True)

    answer = await ask(town, seeing(town), "video-admin log channel", channel=public)

    assert f"nothing → <#{public.id}>" in answer
    assert "Everybody in this server can read" in answer


async def test_a_closed_channel_needs_no_warning(town: Town) -> None:
    closed = channel(town, bot=MAY)

    assert "⚠️" not in await ask(town, seeing(town), "video-admin log channel", channel=closed)


async def test_an_empty_trail_says_so(town: Town) -> None:
    assert "Nothing has been changed here yet." in await ask(town, admin(town), "video-admin log show")


async def test_the_trail_tells_who_changed_what_newest_first(town: Town) -> None:
    first, second = admin(town, "first"), admin(town, "second")
    await ask(town, first, "video-admin limits server", videos=7)
    await ask(town, second, "video-admin pause")

    lines = (await ask(town, first, "video-admin log show")).splitlines()

    assert len(lines) == 2
    assert f"<@{second.id}> **new videos**: taken → paused" in lines[0]
    assert f"<@{first.id}> **videos in the window**: 5, operator's default → 7" in lines[1]


async def test_a_change_that_changes_nothing_leaves_no_line(town: Town) -> None:
    boss = admin(town)

    await ask(town, boss, "video-admin resume")
    await ask(town, boss, "video-admin limits server")

    assert "Nothing has been changed here yet." in await ask(town, boss, "video-admin log show")


async def test_a_long_trail_comes_whole_as_a_file(town: Town) -> None:
    boss, second = admin(town), admin(town, "second")  # one alone would be told to go slower
    for number in range(1, 31):
        await ask(town, (boss, second)[number % 2], "video-admin limits server", videos=number, running=number)

    result = await boss.slash(town.offline._channel, "video-admin log show", number=100)

    assert result.response is not None
    assert len(result.response.content) <= 2000
    [file] = result.response.attachments
    assert len((await file.read()).decode().splitlines()) == 60


async def test_the_trail_of_another_server_is_not_shown(town: Town) -> None:
    guild, there = another_guild(town)
    elsewhere = admin(town, "elsewhere", guild=guild)
    await ask(town, admin(town), "video-admin pause")

    assert "Nothing has been changed here yet." in text_of(await elsewhere.slash(there, "video-admin log show"))
