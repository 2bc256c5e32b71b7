"""`/animate` where the bot couldn't post the video: refused before anything is paid for, with what to change."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from discord import Permissions

from tests.discord_server import Channel, DiscordServer, Overwrite
from tests.discord_server.models import STAGE, VOICE
from tests.faulty_gateway import FaultyGateway
from tests.forged.harness import KEY, open_harness

UNTIL = datetime.now(UTC).replace(microsecond=0) + timedelta(days=28)


def denied(channel: Channel, **permissions: bool) -> Channel:
    bot = next(role.bot_id for role in channel.guild.roles.values() if role.bot_id is not None)
    (channel.parent or channel).overwrites[bot] = Overwrite(deny=Permissions(**permissions))
    return channel


def voice(server: DiscordServer) -> Channel:
    return denied(server.state.add_channel(server.guild, "talk", kind=VOICE), connect=True)


def stage(server: DiscordServer) -> Channel:
    return denied(server.state.add_channel(server.guild, "stage", kind=STAGE), connect=True)


def thread(server: DiscordServer) -> Channel:
    parent = server.state.add_channel(server.guild, "talks")
    return denied(server.state.add_thread(parent, "a talk"), send_messages_in_threads=True)


def locked(server: DiscordServer) -> Channel:
    thread = server.state.add_thread(server.state.add_channel(server.guild, "talks"), "a talk")
    thread.locked = True
    return thread


def timed_out(server: DiscordServer) -> Channel:
    server.guild.members[server.state.bot.id].timed_out_until = UNTIL
    return server.channel


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (voice, "I need **Connect**."),
        (stage, "I need **Connect**."),
        (thread, "I need **Send Messages in Threads**."),
        (locked, "this thread is locked. Ask a moderator to unlock it"),
        (timed_out, f"I'm timed out in this server, which ends <t:{int(UNTIL.timestamp())}:R>."),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",  # the same in every process, whatever the time
)
async def test_an_order_from_where_nothing_can_be_posted_is_refused_at_once(
    tmp_path: Path, make: Callable[[DiscordServer], Channel], says: str
) -> None:
    async with DiscordServer() as server:
        channel = make(server)
        async with (
            FaultyGateway(tmp_path / "upstream", KEY) as upstream,
            open_harness(tmp_path, server, upstream) as harness,
        ):
            answer = await harness.private_reply(await harness.order("a heron", channel=channel))

            assert answer.startswith("I can't post videos here: ")
            assert says in answer
            assert answer.endswith("Nothing was charged.")
            assert await harness.app.store.recent(server.guild.id, server.member.id, 10) == []
