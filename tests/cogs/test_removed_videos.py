"""After Remove, nothing says that the video is still there: neither the channel nor `/videos list`."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import update

from bot.domain.guilds import OUTSIDE_SERVERS
from bot.domain.jobs import NO_CHANNEL, REMOVED, JobState
from bot.store.schema import jobs
from tests.cogs.conftest import CogHarness
from tests.discord_server import DiscordServer, Message, refused, server_error
from tests.faulty_gateway import FaultyGateway
from tests.forged.harness import KEY, WITHIN_S, ForgeryHarness, open_harness

pytestmark = pytest.mark.full


async def test_a_removed_video_leaves_nothing_in_the_channel_and_the_list_says_so(harness: CogHarness) -> None:
    await harness.animate("waves roll in")
    video = await harness.wait_for_video()

    await harness.click(video, "Delete")

    assert harness.public() == []
    listed = await harness.offline.command("videos list")
    assert "🗑️ removed" in listed
    assert "discord.com" not in listed


async def test_a_video_from_before_the_server_had_the_bot_is_deleted_by_its_member(harness: CogHarness) -> None:
    await harness.animate()
    video = await harness.wait_for_video()
    outside = {"guild_id": OUTSIDE_SERVERS, "channel_id": NO_CHANNEL}
    async with harness.app.database.write() as connection:
        await connection.execute(update(jobs).values(outside))

    await harness.click(video, "Delete")

    assert harness.public() == []
    [job] = await harness.app.service.recent(OUTSIDE_SERVERS, harness.offline.viewer.id)
    assert job.is_removed


async def sent_video(harness: ForgeryHarness) -> tuple[str, Message]:
    """A job whose video its channel didn't take, and the direct message with it."""
    server = harness.discord
    harness.upstream.task_seconds = 0.3
    await harness.order("a heron")
    await harness.wait_for_message("a heron")
    blocked = refused(400, 240000, "Message blocked by harmful links filter")
    server.fail_next("POST", f"/channels/{server.channel.id}/messages", blocked, times=1000)
    direct = server.state.direct(server.member)
    [message] = await server.state.until(lambda: server.messages(direct.id), timeout_s=WITHIN_S)
    await server.state.until(lambda: not server.messages(server.channel.id), timeout_s=WITHIN_S)
    return (await harness.job("a heron")).id, message


@pytest.fixture
async def forgery(tmp_path: Path) -> AsyncIterator[ForgeryHarness]:
    async with (
        DiscordServer() as server,
        FaultyGateway(tmp_path / "upstream", KEY) as upstream,
        open_harness(tmp_path, server, upstream) as harness,
    ):
        yield harness


async def test_a_direct_message_is_removed_by_its_member_alone(forgery: ForgeryHarness) -> None:
    server = forgery.discord
    async with forgery.worker_running():
        job_id, message = await sent_video(forgery)
        button = f"zoetrope:video:{job_id}"
        other = server.state.add_member(server.guild, "other")

        for custom_id in (button, f"zoetrope:note:{job_id}"):
            refusal = forgery.click(custom_id, other, server.state.direct(other), outside=True)
            assert "isn't one of your videos" in await forgery.private_reply(refusal)
        status = forgery.click(f"zoetrope:status:{job_id}", server.member, message.channel, outside=True)
        assert "isn't one of your videos" in await forgery.private_reply(status)
        assert server.messages(message.channel.id) == [message]

        click = forgery.click(button, server.member, message.channel, outside=True, message=message)
        assert await forgery.private_reply(click) == "Deleted, and so are its picture and the link to it."

        assert server.messages(message.channel.id) == []
        assert (await forgery.job("a heron")).result_message_id == REMOVED


@pytest.mark.parametrize(
    ("columns", "state"),
    [
        ({"state": JobState.DELIVERING}, JobState.DELIVERED),
        ({"state": JobState.RUNNING, "charged": False}, JobState.RUNNING),
    ],
    ids=["not written", "resumed"],
)
async def test_a_direct_message_can_be_removed_before_its_delivery_was_written(
    forgery: ForgeryHarness, columns: dict[str, object], state: JobState
) -> None:
    async with forgery.worker_running():
        job_id, message = await sent_video(forgery)
    unwritten = {"result_message_id": None, "result_channel_id": None, **columns}
    async with forgery.app.database.write() as connection:
        await connection.execute(update(jobs).where(jobs.c.id == job_id).values(unwritten))

    member = forgery.discord.member
    click = forgery.click(f"zoetrope:video:{job_id}", member, message.channel, outside=True, message=message)
    assert await forgery.private_reply(click) == "Deleted, and so are its picture and the link to it."

    job = await forgery.job("a heron")
    assert (job.state, job.result_message_id) == (state, REMOVED)
    assert forgery.discord.messages(message.channel.id) == []


async def test_a_removal_is_recorded_before_the_message_goes_so_that_the_click_can_be_repeated(
    forgery: ForgeryHarness,
) -> None:
    async with forgery.worker_running():
        job_id, message = await sent_video(forgery)
    custom_id, member = f"zoetrope:video:{job_id}", forgery.discord.member
    forgery.discord.fail_next("DELETE", f"/channels/{message.channel.id}/messages/*", server_error(503))

    click = forgery.click(custom_id, member, message.channel, outside=True, message=message)
    assert await forgery.private_reply(click) != "Deleted, and so are its picture and the link to it."
    assert (await forgery.job("a heron")).result_message_id == REMOVED
    assert forgery.discord.messages(message.channel.id) == [message]

    again = forgery.click(custom_id, member, message.channel, outside=True, message=message)
    assert await forgery.private_reply(again) == "Deleted, and so are its picture and the link to it."
    assert forgery.discord.messages(message.channel.id) == []
