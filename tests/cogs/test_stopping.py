"""A member or an admin cancels a video whose provider can stop its task."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import discord
import pytest
from simcord import InteractionResult, ResponseMessage

from bot.chat.posting import shown_text
from bot.domain.jobs import Frame, Job, JobState, Order, StopResult
from bot.providers.base import Provider, Task, TaskRef, TaskStatus
from tests.cogs.admins import admin, text_of
from tests.cogs.conftest import CogHarness, open_cog_harness
from tests.providers_asked import VTRIX


@dataclass
class StoppingProvider(Provider):
    """The gateway, as if it could stop tasks. stops: whether it does; asked: the tasks that it was to stop."""

    gateway: Provider
    result: StopResult = StopResult.STOPPED
    stops: bool = True
    asked: list[str] = field(default_factory=list)

    async def submit(self, order: Order, frame: Frame, *, request_id: str) -> Task:
        return replace(await self.gateway.submit(order, frame, request_id=request_id), can_be_stopped=True)

    async def status(self, task: TaskRef) -> Task:
        is_stopped = self.stops and task.id in self.asked
        return Task(task.id, TaskStatus.CANCELLED) if is_stopped else await self.gateway.status(task)

    async def stop(self, task: TaskRef) -> StopResult:
        self.asked.append(task.id)
        return self.result

    async def download(self, url: str, to: Path) -> int:
        return await self.gateway.download(url, to)

    async def check(self) -> None:
        await self.gateway.check()


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncIterator[CogHarness]:
    async with open_cog_harness(tmp_path) as harness:
        context = harness.app.worker._context
        harness.app.worker._context = replace(
            context, providers={VTRIX: StoppingProvider(context.providers[VTRIX])}
        )
        yield harness


def provider(harness: CogHarness) -> StoppingProvider:
    found = harness.app.worker._context.providers[VTRIX]
    assert isinstance(found, StoppingProvider)
    return found


def answer(result: InteractionResult) -> ResponseMessage:
    assert result.response is not None
    return result.response


async def cancel(harness: CogHarness, card: discord.Message) -> None:
    """The member clicks on the card, and confirms."""
    question = answer(await harness.click(card, "Cancel"))
    await harness.click(question.message, "Cancel anyway")


async def the_job(harness: CogHarness) -> Job:
    (job,) = await harness.jobs_of([harness.offline.viewer])
    return job


async def shown(harness: CogHarness, job: Job) -> str:
    result = await harness.offline.viewer.slash(harness.offline.channel, "videos show", video=job.id)
    return shown_text(answer(result).message.components)


async def test_a_member_is_asked_told_and_gets_a_stopped_video_back(harness: CogHarness) -> None:
    card = await harness.order_endless("slow one")

    question = answer(await harness.click(card, "Cancel"))
    assert question.content.startswith("It's already with the video service. I'll ask it to stop")
    assert provider(harness).asked == []

    await harness.click(question.message, "Cancel anyway")
    await harness.wait_until_gone(card)

    job = await the_job(harness)
    assert (job.state, job.charged, job.stop_result) == (JobState.CANCELLED, False, StopResult.STOPPED)
    assert "**0 of 5**" in await harness.offline.command("videos quota")
    assert "stopped in time, doesn't count" in await harness.offline.command("videos list")
    assert "The video service stopped it before it began." in await shown(harness, job)
    assert harness.public() == []


async def test_a_task_that_is_stopped_later_on_request_does_not_count(harness: CogHarness) -> None:
    provider(harness).result = StopResult.ASKED
    card = await harness.order_endless("slow one")
    await cancel(harness, card)
    await harness.wait_until_gone(card)

    job = await the_job(harness)
    assert (job.charged, job.stop_result) == (False, StopResult.ASKED)
    assert len(provider(harness).asked) == 1
    assert "was asked to stop it, and made no video" in await shown(harness, job)


async def test_a_task_that_could_not_be_stopped_counts_and_its_member_reads_why(harness: CogHarness) -> None:
    provider(harness).result, provider(harness).stops = StopResult.RUNNING, False
    card = await harness.order_endless("slow one")
    await cancel(harness, card)
    harness.gateway.task_seconds = 0
    await harness.wait_until_gone(card)

    job = await the_job(harness)
    assert (job.charged, job.stop_result) == (True, StopResult.RUNNING)
    assert "couldn't stop it any more" in await shown(harness, job)
    assert "**1 of 5**" in await harness.offline.command("videos quota")
    assert harness.public() == []


async def test_an_admin_is_asked_and_told_that_it_may_cost_nothing(harness: CogHarness) -> None:
    card = await harness.order_endless("slow one")
    job = await the_job(harness)
    who = admin(harness)

    question = await who.slash(harness.offline.channel, "video-admin jobs cancel", video=job.id)
    assert "I'll ask the service to stop" in text_of(question)
    await harness.click(answer(question).message, "Cancel it anyway", who)
    await harness.wait_until_gone(card)

    told = await harness.wait_for_message("stopped it before it began")
    assert "A server admin cancelled it." in told.content
