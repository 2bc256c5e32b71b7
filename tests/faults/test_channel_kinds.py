"""Every kind of channel that members talk in, and how each may keep the bot out: whole jobs, over HTTP."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from discord import Permissions

from bot.domain.jobs import JobState
from bot.store.jobs.job_store import JobStore
from tests.discord_server import DiscordServer, Overwrite
from tests.discord_server.messages import Message
from tests.discord_server.models import (
    ANNOUNCEMENT,
    ANNOUNCEMENT_THREAD,
    FORUM,
    PRIVATE_THREAD,
    STAGE,
    VOICE,
    Channel,
)
from tests.faults.discord_harness import DiscordHarness, discord_harness
from tests.faults.test_discord_matrix import check_delivered_once, refuse_direct_messages

pytestmark = pytest.mark.full

Make = Callable[[DiscordServer], Channel]
KeepOut = Callable[[DiscordHarness], None]


def of_kind(kind: int) -> Make:
    return lambda discord: discord.state.add_channel(discord.guild, "a channel", kind=kind)


def thread_in(parent: Make, **kind: int) -> Make:
    return lambda discord: discord.state.add_thread(parent(discord), "a thread", **kind)


def slow(discord: DiscordServer) -> Channel:
    channel = discord.state.add_channel(discord.guild, "slow")
    channel.slow_mode_s = 21_600
    return channel


def archived(discord: DiscordServer) -> Channel:
    thread = THREAD(discord)
    thread.archived = True
    return thread


TEXT_CHANNEL = of_kind(0)
THREAD = thread_in(TEXT_CHANNEL)
PRIVATE = thread_in(TEXT_CHANNEL, kind=PRIVATE_THREAD)
KINDS: dict[str, Make] = {
    "a thread": THREAD,
    "an archived thread": archived,
    "a private thread that the bot is in": PRIVATE,
    "a forum's post": thread_in(of_kind(FORUM)),
    "a voice channel": of_kind(VOICE),
    "a stage": of_kind(STAGE),
    "an announcement channel": of_kind(ANNOUNCEMENT),
    "a thread of announcements": thread_in(of_kind(ANNOUNCEMENT), kind=ANNOUNCEMENT_THREAD),
    "a channel in slow mode": slow,
}


@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)
async def test_a_video_is_posted_in_every_kind_of_channel(store: JobStore, tmp_path: Path, make: Make) -> None:
    async with discord_harness(store, tmp_path) as harness:
        harness.discord.channel = make(harness.discord)
        job = await harness.order()
        await harness.settle()

        await check_delivered_once(harness, job)


def deny(**permissions: bool) -> KeepOut:
    def keep_out(harness: DiscordHarness) -> None:
        channel, bot = harness.discord.channel, harness.discord.state.bot
        (channel.parent or channel).overwrites[bot.id] = Overwrite(deny=Permissions(**permissions))

    return keep_out


def leave_thread(harness: DiscordHarness) -> None:
    harness.discord.channel.members.clear()


def time_out(harness: DiscordHarness) -> None:
    bot = harness.discord.guild.members[harness.discord.state.bot.id]
    bot.timed_out_until = datetime.now(UTC) + timedelta(days=28)


OUTSIDE: dict[str, tuple[Make, KeepOut]] = {
    "removed from a private thread": (PRIVATE, leave_thread),
    "no Send Messages in Threads": (THREAD, deny(send_messages_in_threads=True)),
    "no Attach Files in a forum": (KINDS["a forum's post"], deny(attach_files=True)),
    "no Connect in a voice channel": (of_kind(VOICE), deny(connect=True)),
    "timed out": (TEXT_CHANNEL, time_out),
}


def direct(harness: DiscordHarness) -> list[Message]:
    discord = harness.discord
    return discord.messages(discord.state.direct(discord.member).id)


@pytest.mark.parametrize(("make", "keep_out"), OUTSIDE.values(), ids=OUTSIDE)
async def test_where_the_bot_is_kept_out_its_member_gets_the_video(
    store: JobStore, tmp_path: Path, make: Make, keep_out: KeepOut
) -> None:
    async with discord_harness(store, tmp_path) as harness:
        harness.discord.channel = make(harness.discord)
        job = await harness.order_at(JobState.DELIVERING)
        keep_out(harness)
        await harness.settle()

        [message] = direct(harness)
        job = await harness.reload(job)
        assert (job.state, job.result_message_id) == (JobState.DELIVERED, message.id)
        assert message.attachments[0].upload.data[4:8] == b"ftyp"
        assert (harness.videos, await harness.charged_count()) == ([], 1)


UNPOSTABLE = {name: where for name, where in OUTSIDE.items() if "Attach Files" not in name}
"""Where no message can be posted at all, not only none with a file."""


@pytest.mark.parametrize(("make", "keep_out"), UNPOSTABLE.values(), ids=UNPOSTABLE)
async def test_where_the_bot_is_kept_out_from_the_start_nothing_is_paid_for(
    store: JobStore, tmp_path: Path, make: Make, keep_out: KeepOut
) -> None:
    async with discord_harness(store, tmp_path) as harness:
        harness.discord.channel = make(harness.discord)
        keep_out(harness)
        refuse_direct_messages(harness)
        job = await harness.order()
        await harness.settle()

        assert (await harness.reload(job)).state is JobState.FAILED
        assert not harness.upstream.received
        assert await harness.charged_count() == 0


async def test_a_timeout_that_ends_soon_only_delays_the_video(store: JobStore, tmp_path: Path) -> None:
    async with discord_harness(store, tmp_path) as harness:
        job = await harness.order_at(JobState.DELIVERING)
        time_out(harness)
        await harness.settle(until=timedelta(minutes=20))
        harness.discord.guild.members[harness.discord.state.bot.id].timed_out_until = None
        await harness.settle()

        await check_delivered_once(harness, job)
        assert direct(harness) == []
