"""Remove or Cancel, clicked before the bot knows that the video was posted: no second one, and no card."""

from datetime import timedelta
from pathlib import Path

import pytest

from bot.domain.jobs import REMOVED, CancelResult, JobState
from bot.store.jobs.job_store import JobStore
from tests.discord_server import FaultPhase, Message, Reset, refused, server_error
from tests.faults.discord_harness import DiscordHarness, discord_harness
from tests.store.factories import resume_failed_job


def lose_answers(harness: DiscordHarness, times: int = 1) -> None:
    """Posts take effect, and the bot never learns it."""
    path = f"/channels/{harness.discord.channel.id}/messages"
    harness.discord.fail_next("POST", path, Reset(FaultPhase.AFTER), times=times)


async def remove(harness: DiscordHarness, video: Message) -> None:
    """What the button does: first the record, then the message."""
    [custom_id] = [one for one in video.custom_ids if one.startswith("zoetrope:video:")]
    assert await harness.store.mark_removed(custom_id.split(":")[2], video.id, harness.clock())
    harness.discord.state.delete(video)
    harness.discord.state.forget_nonces()


async def test_a_video_removed_before_its_delivery_was_written_is_not_posted_again(
    store: JobStore, tmp_path: Path
) -> None:
    async with discord_harness(store, tmp_path) as harness:
        job = await harness.order_at(JobState.DELIVERING)
        lose_answers(harness)
        await harness.run_next()
        [video] = harness.videos
        assert (await harness.reload(job)).state is JobState.DELIVERING

        await remove(harness, video)
        await harness.settle()

        job = await harness.reload(job)
        assert (job.state, job.result_message_id) == (JobState.DELIVERED, REMOVED)
        assert harness.videos == []
        assert harness.status_cards == []
        assert await harness.charged_count() == 1


@pytest.mark.parametrize("when", ["before it is resumed", "while it runs again"])
async def test_a_video_removed_after_its_job_failed_is_not_posted_when_it_is_resumed(
    store: JobStore, tmp_path: Path, when: str
) -> None:
    async with discord_harness(store, tmp_path) as harness:
        job = await harness.order_at(JobState.DELIVERING)
        lose_answers(harness)
        await harness.run_next()
        [video] = harness.videos
        harness.clock.move(hours=25)
        harness.discord.fail_next("GET", "/channels/*/messages", server_error(503))
        await harness.settle()
        assert (await harness.reload(job)).state is JobState.FAILED
        notes = len(harness.failure_notes)

        if when == "before it is resumed":
            await remove(harness, video)
            await harness.settle()
            assert harness.status_cards == []
        await resume_failed_job(store, job.id, harness.clock(), task_lifetime=timedelta(days=9), actor_id=9)
        if when == "while it runs again":
            await remove(harness, video)
        await harness.settle()

        job = await harness.reload(job)
        assert (job.state, job.result_message_id) == (JobState.DELIVERED, REMOVED)
        assert harness.videos == []
        assert harness.status_cards == []
        assert await harness.charged_count() == 0
        assert len(harness.failure_notes) == notes


@pytest.mark.parametrize("where", ["in the channel", "as a direct message"])
async def test_a_video_cancelled_while_it_was_posted_is_removed_and_counts(
    store: JobStore, tmp_path: Path, where: str
) -> None:
    async with discord_harness(store, tmp_path) as harness:
        job = await harness.order_at(JobState.DELIVERING, with_status_message=True)
        channel = harness.discord.channel
        if where == "as a direct message":
            unknown = refused(404, 10003, "Unknown Channel")
            for method in ("GET", "POST"):
                harness.discord.fail_next(method, f"/channels/{channel.id}/messages", unknown, times=9)
            channel = harness.discord.state.direct(harness.discord.member)
        harness.discord.fail_next("POST", f"/channels/{channel.id}/messages", Reset(FaultPhase.AFTER))
        await harness.run_next()
        assert any(message.attachments for message in harness.discord.messages(channel.id))

        assert await store.cancel(job.id, harness.clock(), even_if_paid=True) is CancelResult.FLAGGED
        await harness.settle()

        job = await harness.reload(job)
        assert (job.state, job.result_message_id) == (JobState.DELIVERED, REMOVED)
        assert not any(message.attachments for message in harness.discord.messages(channel.id))
        assert harness.status_cards == []
        assert await harness.charged_count() == 1
