"""Where a channel won't take a video that was made: whole jobs, over HTTP, with a clock that jumps."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from discord import Permissions

from bot.chat.messages import video_list_texts
from bot.domain.jobs import Job, JobState
from bot.domain.video_list import VideoFilter, VideoPage
from bot.services.videos import VideoService
from bot.store.jobs.job_store import JobStore
from tests.discord_server import FaultPhase, Message, Overwrite, Reset, refused
from tests.fakes import TASK_LIFETIME, prepare_frame_in_thread
from tests.faults.discord_harness import DiscordHarness, discord_harness
from tests.faulty_gateway import Fault, Route
from tests.media.test_transcode import write_noise

pytestmark = pytest.mark.full


def deny(harness: DiscordHarness) -> None:
    bot = harness.discord.state.bot
    harness.discord.channel.overwrites[bot.id] = Overwrite(deny=Permissions(send_messages=True))


def lock(harness: DiscordHarness) -> None:
    harness.discord.channel.archived = harness.discord.channel.locked = True


def delete(harness: DiscordHarness) -> None:
    harness.discord.remove_channel(harness.discord.channel)


def refuse_every_file(harness: DiscordHarness) -> None:
    between = harness.discord.state.direct(harness.discord.member)
    for guild in (harness.discord.guild, between.guild):
        guild.upload_limit_bytes = 0


def direct(harness: DiscordHarness) -> list[Message]:
    discord = harness.discord
    return discord.messages(discord.state.direct(discord.member).id)


def listed(harness: DiscordHarness, job: Job) -> str:
    service = VideoService(
        harness.store,
        wake=lambda: None,
        clock=harness.clock,
        prepare_first_frame=prepare_frame_in_thread,
        task_lifetime=TASK_LIFETIME,
    )
    page = VideoPage(VideoFilter.ALL, (job,), downloads=service.downloads([job]))
    return "\n".join(video_list_texts.entries(page))


@pytest.mark.parametrize("make", [deny, lock, delete])
async def test_the_video_goes_to_its_member_once_and_counts(
    store: JobStore, tmp_path: Path, make: Callable[[DiscordHarness], None]
) -> None:
    async with discord_harness(store, tmp_path) as harness:
        job = await harness.order_at(JobState.DELIVERING)
        make(harness)
        path = f"/channels/{harness.discord.state.direct(harness.discord.member).id}/messages"
        harness.discord.fail_next("POST", path, Reset(FaultPhase.AFTER))
        while not direct(harness):
            await harness.run_next()
        harness.discord.state.forget_nonces()
        while (await harness.reload(job)).state is JobState.DELIVERING:
            await harness.run_next()
        harness.discord.channel.locked = harness.discord.channel.archived = False
        await harness.settle()

        [message] = direct(harness)
        job = await harness.reload(job)
        assert (job.state, job.charged) == (JobState.DELIVERED, True)
        assert (job.result_message_id, job.result_channel_id) == (message.id, message.channel.id)
        assert message.attachments[0].upload.data[4:8] == b"ftyp"
        assert harness.videos == []
        assert await harness.charged_count() == 1
        assert f"/channels/@me/{message.channel.id}/{message.id}" in listed(harness, job)


@pytest.mark.parametrize(("limit_mib", "fits"), [(3, True), (1, False)])
async def test_a_video_is_made_smaller_until_the_channel_takes_it_and_is_sent_as_it_is_where_none_does(
    store: JobStore, tmp_path: Path, limit_mib: int, *, fits: bool
) -> None:
    """Nobody told the bot the channel's limit, so it tries."""
    async with discord_harness(store, tmp_path) as harness:
        video = write_noise(tmp_path / "upstream" / "same.mp4", 480, 360, frames=30)
        harness.discord.guild.upload_limit_bytes = limit_mib * 2**20
        job = await harness.order_at(JobState.DELIVERING)
        await harness.settle()

        posted, sent = harness.videos, direct(harness)
        assert (len(posted), len(sent)) == ((1, 0) if fits else (0, 1))
        data = (posted or sent)[0].attachments[0].upload.data
        assert (len(data) <= 3 * 2**20) if fits else (data == video.read_bytes())
        refusals = [call for call in harness.discord.requests if call.status == 413]
        assert len(refusals) == (2 if fits else 3)
        assert (await harness.reload(job)).state is JobState.DELIVERED
        assert await harness.charged_count() == 1


async def test_a_link_is_sent_where_no_file_can_be(store: JobStore, tmp_path: Path) -> None:
    async with discord_harness(store, tmp_path) as harness:
        job = await harness.order_at(JobState.DELIVERING)
        refuse_every_file(harness)
        await harness.settle()

        assert (await harness.reload(job)).state is JobState.DELIVERED
        assert "[Your video](" in direct(harness)[0].content
        assert harness.status_cards == []


async def test_a_right_that_returns_brings_the_video_to_its_channel(store: JobStore, tmp_path: Path) -> None:
    async with discord_harness(store, tmp_path) as harness:
        job = await harness.order_at(JobState.DELIVERING)
        deny(harness)
        await harness.settle(until=timedelta(minutes=20))
        harness.discord.channel.overwrites.clear()
        await harness.settle()

        assert [message.id for message in harness.videos] == [(await harness.reload(job)).result_message_id]
        assert direct(harness) == []


async def test_a_video_that_nobody_takes_is_free_and_linked_to_while_its_link_lives(
    store: JobStore, tmp_path: Path
) -> None:
    async with discord_harness(store, tmp_path) as harness:
        job = await harness.order_at(JobState.DELIVERING)
        delete(harness)
        path = f"/channels/{harness.discord.state.direct(harness.discord.member).id}/messages"
        harness.discord.fail_next(
            "POST", path, refused(403, 50007, "Cannot send messages to this user"), times=1000
        )
        await harness.settle()

        job = await harness.reload(job)
        assert (job.state, await harness.charged_count()) == (JobState.FAILED, 0)
        assert f"[get the video](<{job.result_url}>)" in listed(harness, job)
        harness.clock.move(hours=24)
        assert "get the video" not in listed(harness, job)


@pytest.mark.parametrize("state", [JobState.FAILED, JobState.DELIVERED])
async def test_an_end_whose_right_is_away_for_two_seconds_is_told(
    store: JobStore, tmp_path: Path, state: JobState
) -> None:
    """It was in the making for ever."""
    async with discord_harness(store, tmp_path) as harness:
        if state is JobState.FAILED:
            failed = {"id": "x", "status": "failed", "error": {"code": 1, "message": "the picture is odd"}}
            harness.upstream.fault(Route.POLL, Fault(status=200, body=failed))
        await harness.order_at(state)
        bot = harness.discord.state.bot
        harness.discord.channel.overwrites[bot.id] = Overwrite(deny=Permissions(view_channel=True))
        await harness.run_next()
        harness.discord.channel.overwrites.clear()
        await harness.settle()

        assert harness.status_cards == []
        assert len(harness.failure_notes) == (state is JobState.FAILED)
        assert direct(harness) == []
