"""After Remove, nothing says that the video is still there: neither the status message nor `/videos list`."""

import asyncio
from pathlib import Path

from bot.domain.jobs import REMOVED
from tests.cogs.conftest import CogHarness
from tests.discord_server import DiscordServer, Message, refused
from tests.faulty_gateway import FaultyGateway
from tests.forged.harness import KEY, WITHIN_S, ForgeryHarness, open_harness


async def test_the_status_message_and_the_list_say_that_the_video_was_removed(harness: CogHarness) -> None:
    await harness.animate("waves roll in")
    status = await harness.wait_for_message("is ready")
    video = await harness.wait_for_message_where(lambda message: bool(message.attachments))

    await harness.click(video, "Remove")
    status = await harness.wait_for_message("was removed")

    assert video.id not in [message.id for message in harness.public()]
    assert "waves roll in" not in status.content
    assert "discord.com" not in status.content
    listed = await harness.offline.command("videos list")
    assert "🗑️ removed" in listed
    assert "discord.com" not in listed


async def test_a_status_message_that_was_removed_first_is_not_posted_anew(harness: CogHarness) -> None:
    await harness.animate()
    status = await harness.wait_for_message("is ready")
    video = await harness.wait_for_message_where(lambda message: bool(message.attachments))

    await harness.click(status, "Remove")
    await harness.click(video, "Remove")
    member = harness.offline.viewer
    while True:
        [job] = await harness.app.service.recent(harness.offline.guild.id, member.id)
        if job.result_message_id == REMOVED and job.due_at is None:
            break
        await asyncio.sleep(0.01)

    assert harness.public() == []


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
    await harness.wait_for_message("sent it as a direct message")
    return (await harness.job("a heron")).id, message


async def test_a_direct_message_is_removed_by_its_member_alone(tmp_path: Path) -> None:
    async with (
        DiscordServer() as server,
        FaultyGateway(tmp_path / "upstream", KEY) as upstream,
        open_harness(tmp_path, server, upstream) as harness,
        harness.worker_running(),
    ):
        job_id, message = await sent_video(harness)
        button = f"zoetrope:video:{job_id}"
        other = server.state.add_member(server.guild, "other")

        for custom_id in (button, f"zoetrope:note:{job_id}"):
            refusal = harness.click(custom_id, other, server.state.direct(other), outside=True)
            assert "isn't one of your videos" in await harness.private_reply(refusal)
        status = harness.click(f"zoetrope:status:{job_id}", server.member, message.channel, outside=True)
        assert "isn't one of your videos" in await harness.private_reply(status)
        assert server.messages(message.channel.id) == [message]

        click = harness.click(button, server.member, message.channel, outside=True, message=message)
        assert await harness.private_reply(click) == "Removed."
        await harness.wait_for_message("was removed")

        assert server.messages(message.channel.id) == []
        assert (await harness.job("a heron")).result_message_id == REMOVED
