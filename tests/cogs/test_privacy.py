"""`/videos privacy`, in the offline Discord."""

import asyncio
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from simcord import InteractionResult, MemberActor, ResponseMessage
from sqlalchemy import update

from bot.chat.views.member_buttons import EraseButton
from bot.chat.views.persistent_button import row_of
from bot.domain.jobs import Job, JobState
from bot.store.schema import jobs
from tests.cogs.conftest import WITHIN_S, CogHarness, open_cog_harness

LABEL = "Delete my data"


def answer(result: InteractionResult) -> ResponseMessage:
    """The private answer to a click or a command."""
    assert result.response is not None
    assert result.ephemeral
    return result.response


async def ask(harness: CogHarness, command: str, who: MemberActor | None = None) -> ResponseMessage:
    """A member, the first one unless said otherwise, sends `/videos privacy …`."""
    return answer(
        await (who or harness.offline.viewer).slash(harness.offline.channel, f"videos privacy {command}")
    )


async def export(harness: CogHarness, who: MemberActor | None = None) -> dict[str, Any]:
    """What the file of an export says."""
    [file] = (await ask(harness, "export", who)).attachments
    found: dict[str, Any] = json.loads(await file.read())
    return found


async def delete(harness: CogHarness) -> str:
    """The first member asks for their data to be deleted and confirms; returns the text after that."""
    question = await ask(harness, "delete")
    await harness.offline.viewer.click(question, label=LABEL)
    [message] = [it for it in harness.offline.messages() if it.id == question.id]
    assert message.flags.ephemeral
    assert message.components == []
    return message.content


async def the_job(harness: CogHarness) -> Job:
    [job] = await harness.app.service.recent(harness.offline.guild.id, harness.offline.viewer.id)
    return job


async def wait_until_processed(harness: CogHarness, job: Job) -> None:
    """Returns once nobody works on the job any more."""
    async with asyncio.timeout(WITHIN_S):
        while (found := await harness.app.store.get(job.id)) is not None and found.due_at is not None:
            await asyncio.sleep(0)


async def a_finished_job(harness: CogHarness, prompt: str = "waves roll in") -> Job:
    await harness.animate(prompt)
    await harness.wait_for_video()
    await wait_until_processed(harness, await the_job(harness))
    return await the_job(harness)


async def test_the_privacy_text_shows_the_configured_retention(tmp_path: Path) -> None:
    async with open_cog_harness(tmp_path, retention_days=17, erase_after_leaving_days=4) as harness:
        text = (await ask(harness, "show")).content

    assert "17 days after a video is over" in text
    assert "I delete what I keep for it 4 days later" in text


async def test_an_erasure_delay_of_zero_days_is_shown_as_within_the_hour(tmp_path: Path) -> None:
    async with open_cog_harness(tmp_path, erase_after_leaving_days=0) as harness:
        assert "I delete what I keep for it within the hour" in (await ask(harness, "show")).content


async def test_an_export_is_a_file_with_the_members_own_videos(harness: CogHarness) -> None:
    job = await a_finished_job(harness)

    found = await export(harness)

    assert [it["id"] for it in found["videos"]] == [job.id]
    assert found["videos"][0]["prompt"] == "waves roll in"
    assert found["ledger"][-1]["why"] == "accepted"
    assert found["user_id"] == str(harness.offline.viewer.id)


async def test_the_export_of_a_new_member_is_empty(harness: CogHarness) -> None:
    await a_finished_job(harness)

    found = await export(harness, harness.another_member())

    assert found["videos"] == found["ledger"] == []


async def test_nothing_is_deleted_before_the_confirmation(harness: CogHarness) -> None:
    job = await a_finished_job(harness)

    question = await ask(harness, "delete")

    assert "1 video of yours" in question.content
    assert "Messages in Discord" in question.content
    assert await the_job(harness) == job


async def test_a_confirmed_deletion_erases_the_videos_and_keeps_the_quota_used(harness: CogHarness) -> None:
    job = await a_finished_job(harness)

    assert "I've forgotten 1 video" in await delete(harness)

    found = await harness.app.store.get(job.id)
    assert found is not None
    assert (found.user_id, found.order.prompt) == (0, "")
    assert "any videos here yet" in await harness.offline.command("videos list")
    assert "**1 of 5**" in await harness.offline.command("videos quota")
    assert (await export(harness))["deletion_asked_at"] is not None


async def test_a_confirmed_deletion_without_any_data_is_done_at_once(harness: CogHarness) -> None:
    assert (await delete(harness)).startswith("Done. I've deleted everything about you")
    assert (await export(harness))["deletion_asked_at"] is None


async def test_a_deletion_cancels_unfinished_videos(tmp_path: Path) -> None:
    async with open_cog_harness(tmp_path, upstream_max_running=1) as harness:
        await harness.order_endless("under way")
        await harness.animate("waits")
        waiting = await harness.wait_for_message("waits")
        question = await ask(harness, "delete")
        assert "1 video waiting to start: cancelled for free" in question.content
        assert "1 video being made: never posted" in question.content

        await harness.offline.viewer.click(question, label=LABEL)

        await harness.wait_until_gone(waiting)
        states = await harness.app.service.recent(harness.offline.guild.id, harness.offline.viewer.id)
        running = next(it for it in states if it.order.prompt == "under way")
        assert (running.cancel_requested, running.state) == (True, JobState.RUNNING)


async def test_another_member_cannot_use_the_delete_button(harness: CogHarness) -> None:
    job = await a_finished_job(harness)
    channel: Any = harness.bot.get_channel(harness.offline.channel.id)
    public = await channel.send("for all to see", view=row_of(EraseButton(harness.offline.viewer.id)))
    shown = next(it for it in harness.offline.messages() if it.id == public.id)

    result = await harness.another_member().click(shown, label=LABEL)

    assert "for somebody else" in answer(result).content
    assert await the_job(harness) == job


async def test_a_deletion_can_be_repeated(harness: CogHarness) -> None:
    await a_finished_job(harness)

    assert "I've forgotten 1 video" in await delete(harness)
    assert "I've forgotten 0 videos" in await delete(harness)
    assert "You already asked for this" in (await ask(harness, "delete")).content


@pytest.mark.parametrize("command", ["show", "export", "delete"])
async def test_every_reply_is_private(harness: CogHarness, command: str) -> None:
    await ask(harness, command)

    assert harness.public() == []


async def test_retention_runs_with_the_worker(tmp_path: Path) -> None:
    async with open_cog_harness(tmp_path) as harness:
        job = await a_finished_job(harness)
        async with harness.app.database.write() as connection:
            long_ago = job.state_changed_at - timedelta(days=2)
            await connection.execute(update(jobs).values(state_changed_at=long_ago))
    async with open_cog_harness(tmp_path, retention_days=1) as harness, asyncio.timeout(WITHIN_S):
        while (found := await harness.app.store.get(job.id)) is not None and found.user_id != 0:
            await asyncio.sleep(0)
