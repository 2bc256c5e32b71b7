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
from tests.cogs.conftest import WITHIN_S, Town, a_town

LABEL = "Delete my data"


def answer(result: InteractionResult) -> ResponseMessage:
    """The private answer to a click or a command."""
    assert result.response is not None
    assert result.ephemeral
    return result.response


async def ask(town: Town, command: str, who: MemberActor | None = None) -> ResponseMessage:
    """A member, the first one unless said otherwise, sends `/videos privacy …`."""
    return answer(await (who or town.offline._viewer).slash(town.offline._channel, f"videos privacy {command}"))


async def export(town: Town, who: MemberActor | None = None) -> dict[str, Any]:
    """What the file of an export says."""
    [file] = (await ask(town, "export", who)).attachments
    found: dict[str, Any] = json.loads(await file.read())
    return found


async def delete(town: Town) -> str:
    """The first member asks for their data to go, and says yes; the text that the question became."""
    question = await ask(town, "delete")
    await town.offline._viewer.click(question, label=LABEL)
    [message] = [it for it in town.offline.messages() if it.id == question.id]
    assert message.flags.ephemeral
    assert message.components == []
    return message.content


async def the_job(town: Town) -> Job:
    [job] = await town.app.service.recent(town.offline.guild_id, town.offline.viewer_id)
    return job


async def until_told(town: Town, job: Job) -> None:
    """Returns once nobody works on the job any more."""
    async with asyncio.timeout(WITHIN_S):
        while (found := await town.app.store.get(job.id)) is not None and found.due_at is not None:
            await asyncio.sleep(0)


async def a_finished_job(town: Town, prompt: str = "waves roll in") -> Job:
    await town.animate(prompt)
    await town.saying("is ready")
    await until_told(town, await the_job(town))
    return await the_job(town)


async def test_it_says_what_is_kept_and_for_how_long_as_it_is_set(tmp_path: Path) -> None:
    async with a_town(tmp_path, retention_days=17, erase_after_leaving_days=4) as town:
        text = (await ask(town, "show")).content

    assert "17 days after a video is over" in text
    assert "I delete what I keep for it 4 days later" in text


async def test_leaving_may_erase_at_once(tmp_path: Path) -> None:
    async with a_town(tmp_path, erase_after_leaving_days=0) as town:
        assert "I delete what I keep for it within the hour" in (await ask(town, "show")).content


async def test_an_export_is_a_file_with_ones_own_videos(town: Town) -> None:
    job = await a_finished_job(town)

    found = await export(town)

    assert [it["id"] for it in found["videos"]] == [job.id]
    assert found["videos"][0]["prompt"] == "waves roll in"
    assert found["ledger"][-1]["why"] == "accepted"
    assert found["user_id"] == str(town.offline.viewer_id)


async def test_an_export_of_somebody_new_is_an_empty_one(town: Town) -> None:
    await a_finished_job(town)

    found = await export(town, town.another_member())

    assert found["videos"] == found["ledger"] == []


async def test_nothing_is_deleted_before_the_yes(town: Town) -> None:
    job = await a_finished_job(town)

    question = await ask(town, "delete")

    assert "1 video of yours" in question.content
    assert "Messages in Discord" in question.content
    assert await the_job(town) == job


async def test_a_yes_deletes_and_the_quota_stays_used(town: Town) -> None:
    job = await a_finished_job(town)

    assert "I've forgotten 1 video" in await delete(town)

    found = await town.app.store.get(job.id)
    assert found is not None
    assert (found.user_id, found.order.prompt) == (0, "")
    assert "any videos here yet" in await town.offline.command("videos list")
    assert "**1 of 5**" in await town.offline.command("videos quota")
    assert (await export(town))["deletion_asked_at"] is not None


async def test_a_yes_where_nothing_is_kept_is_done_at_once(town: Town) -> None:
    assert (await delete(town)).startswith("Done. I've deleted everything about you")
    assert (await export(town))["deletion_asked_at"] is None


async def test_what_is_not_finished_is_cancelled_and_never_posted(tmp_path: Path) -> None:
    async with a_town(tmp_path, upstream_max_running=1) as town:
        town.gateway.task_seconds = 3600
        await town.animate("under way")
        await town.saying("is being made")
        await town.animate("waits")
        await town.saying("waits")
        question = await ask(town, "delete")
        assert "1 video waiting to start: cancelled for free" in question.content
        assert "1 video being made: never posted" in question.content

        await town.offline._viewer.click(question, label=LABEL)

        await town.saying("was cancelled. It doesn't count")
        states = await town.app.service.recent(town.offline.guild_id, town.offline.viewer_id)
        running = next(it for it in states if it.order.prompt == "under way")
        assert (running.cancel_requested, running.state) == (True, JobState.RUNNING)


async def test_the_button_is_the_members_alone(town: Town) -> None:
    job = await a_finished_job(town)
    channel: Any = town.bot.get_channel(town.offline.channel_id)
    public = await channel.send("for all to see", view=row_of(EraseButton(town.offline.viewer_id)))
    shown = next(it for it in town.offline.messages() if it.id == public.id)

    result = await town.another_member().click(shown, label=LABEL)

    assert "for somebody else" in answer(result).content
    assert await the_job(town) == job


async def test_asking_twice_does_no_harm(town: Town) -> None:
    await a_finished_job(town)

    assert "I've forgotten 1 video" in await delete(town)
    assert "I've forgotten 0 videos" in await delete(town)
    assert "You already asked for this" in (await ask(town, "delete")).content


@pytest.mark.parametrize("command", ["show", "export", "delete"])
async def test_every_answer_is_private(town: Town, command: str) -> None:
    await ask(town, command)

    assert town.public() == []


async def test_the_keeper_runs_with_the_worker(tmp_path: Path) -> None:
    async with a_town(tmp_path) as town:
        job = await a_finished_job(town)
        async with town.app.database.write() as connection:
            long_ago = job.state_changed_at - timedelta(days=2)
            await connection.execute(update(jobs).values(state_changed_at=long_ago))
    async with a_town(tmp_path, retention_days=1) as town, asyncio.timeout(WITHIN_S):
        while (found := await town.app.store.get(job.id)) is not None and found.user_id != 0:
            await asyncio.sleep(0)
