"""Variations share one card, which is posted once, follows each of them, and goes when all have ended."""

import asyncio
from dataclasses import replace

import pytest
from sqlalchemy import select

from bot.domain.jobs import FailureCause, FailureDetail, FailureReason, Job, JobState, NewJob, Order, new_job_id
from bot.domain.outcomes import Fail, JobUpdate, MoveTo, Outcome, Reschedule
from bot.domain.policy import Requester
from bot.domain.variations import variations_of
from bot.store.jobs.job_store import JobStore
from bot.store.schema import status_cards
from tests.fakes import FRAME
from tests.providers_asked import vtrix
from tests.store.factories import MINUTE, claim, set_guild
from tests.worker.test_status_cards import CardHarness

REFUSED = Fail(FailureReason.REFUSED, FailureDetail(FailureCause.REFUSED_BY_SERVICE))
CANCELLED = MoveTo(JobState.CANCELLED)
FRAME_WITH_THUMBNAIL = replace(FRAME, thumbnail=b"small")


class VariationHarness(CardHarness):
    """Variations in a real store, whose card one or several workers keep."""

    async def ordered(self, count: int = 3) -> list[Job]:
        news = [NewJob(new_job_id(), 10, 100, 1, order) for order in variations_of(Order("a fox"), count)]
        return await self.store.add_together(news, FRAME_WITH_THUMBNAIL, Requester(10, 100, 1), self.clock())

    async def posted(self, count: int = 3) -> list[Job]:
        """Variations in the queue whose card is posted."""
        jobs = await self.ordered(count)
        self.clock.move(milliseconds=1)
        for job in jobs:
            held = await claim(self.store, job.id, self.clock())
            message_id = await self.cards.post(held, check_existing=False)
            outcome = Reschedule(None, JobUpdate(status_message_id=message_id))
            assert await self.store.apply(held, outcome, self.clock())
        return [await self.reload(job) for job in jobs]

    async def end(self, job: Job, outcome: Outcome = REFUSED) -> Job:
        """Ends the job as its stage does."""
        if outcome is CANCELLED:
            await self.store.cancel(job.id, self.clock(), even_if_paid=True)
        else:
            held = await self.store.claim_queued(self.clock(), vtrix(99), MINUTE)
            assert held is not None
            assert held.id == job.id
            assert await self.store.apply(held, outcome, self.clock())
        ended = await self.reload(job)
        await self.cards.remove(ended)
        return ended

    async def refresh(self) -> None:
        self.clock.move(seconds=2)
        await self.cards.run_once()

    def states(self, jobs: list[Job]) -> list[JobState]:
        """What the card says about each."""
        return [self.messenger.cards[job.id].state for job in jobs]

    def messages(self) -> list[int]:
        return [message.id for message in self.messenger.messages.values() if message.kind == "status"]


@pytest.fixture
def harness(store: JobStore) -> VariationHarness:
    return VariationHarness(store)


async def test_whichever_comes_first_posts_the_card_and_all_know_it(harness: VariationHarness) -> None:
    jobs = await harness.posted()

    assert harness.messages() == [jobs[0].status_message_id]
    assert {job.status_message_id for job in jobs} == {jobs[0].status_message_id}
    assert harness.states(jobs) == [JobState.QUEUED] * 3
    assert [harness.messenger.cards[job.id].wait.ahead for job in jobs] == [0, 1, 2]
    assert harness.messenger.calls == ["show_status"]


async def test_those_that_are_posted_at_the_same_time_post_one_card(harness: VariationHarness) -> None:
    jobs = await harness.ordered()

    ids = await asyncio.gather(*(harness.cards.post(job, check_existing=False) for job in jobs))

    assert len(set(ids)) == 1
    assert harness.messages() == ids[:1]


async def test_another_worker_goes_on_with_the_card_that_one_of_them_knows(harness: VariationHarness) -> None:
    first, *rest = await harness.ordered()
    held = await claim(harness.store, first.id, harness.clock())
    message_id = await harness.cards.post(held, check_existing=False)
    outcome = Reschedule(None, JobUpdate(status_message_id=message_id))
    assert await harness.store.apply(held, outcome, harness.clock())

    other = harness.worker()
    assert [await other.post(job, check_existing=False) for job in rest] == [message_id, message_id]
    assert harness.messages() == [message_id]


async def test_the_card_of_a_worker_that_died_before_it_wrote_its_id_is_found(harness: VariationHarness) -> None:
    first, second, _ = await harness.ordered()
    posted = await harness.cards.post(first, check_existing=False)

    harness.clock.move(minutes=2)  # the lease of the one that died runs out; another variation is taken first
    found = await harness.worker().post(second, check_existing=False)

    assert found == posted
    assert harness.messages() == [posted]


async def test_each_is_followed_on_its_way_to_its_end(harness: VariationHarness) -> None:
    first, second, third = jobs = await harness.posted()
    running = await harness.submit(first)
    await harness.end(second)
    await harness.end(third, CANCELLED)

    await harness.refresh()

    assert harness.states(jobs) == [JobState.RUNNING, JobState.FAILED, JobState.CANCELLED]
    assert harness.messages() == [running.status_message_id]
    assert harness.edits() == 1
    await harness.refresh()
    assert harness.edits() == 1


async def test_the_card_goes_with_the_last_of_them_and_nothing_is_kept_of_it(harness: VariationHarness) -> None:
    first, second, third = await harness.posted()
    await harness.end(first)
    await harness.end(second, CANCELLED)
    assert len(harness.messages()) == 1

    await harness.end(third, CANCELLED)

    assert harness.messages() == []
    async with harness.store._db.read() as connection:
        assert (await connection.execute(select(status_cards))).all() == []


async def test_the_card_of_a_worker_that_died_goes_too(harness: VariationHarness) -> None:
    first, second = await harness.ordered(2)
    await harness.cards.post(first, check_existing=False)
    for job in (first, second):
        await harness.store.cancel(job.id, harness.clock(), even_if_paid=True)

    await harness.cards.remove(await harness.reload(second))

    assert harness.messages() == []


async def test_a_card_that_can_not_be_posted_is_tried_again_by_the_next(harness: VariationHarness) -> None:
    first, second = await harness.ordered(2)
    harness.messenger.fail("show_status", TimeoutError())

    with pytest.raises(TimeoutError):
        await harness.cards.post(first, check_existing=False)

    assert await harness.cards.post(second, check_existing=False)
    assert len(harness.messages()) == 1


async def test_two_workers_edit_the_card_once(harness: VariationHarness) -> None:
    first, *_ = await harness.posted()
    await harness.submit(first)
    other = harness.worker()
    harness.clock.move(seconds=2)

    await asyncio.gather(harness.cards.run_once(), other.run_once())

    assert harness.edits() == 1


async def test_beside_other_cards_of_the_channel_it_counts_as_one(harness: VariationHarness) -> None:
    jobs = await harness.posted()
    alone = await harness.queued(2)
    await harness.submit(jobs[0])
    await harness.submit(alone)

    await harness.refresh()
    assert harness.edits() == 1
    await harness.refresh()
    assert harness.edits() == 2
    assert harness.states([jobs[0], alone]) == [JobState.RUNNING] * 2


async def test_a_failure_that_no_message_can_tell_is_told_by_the_card_once_all_have_ended(
    harness: VariationHarness,
) -> None:
    first, second = await harness.posted(2)
    ended = await harness.end(first)

    await harness.cards.close(ended)
    assert "close_status" not in harness.messenger.calls

    await harness.store.cancel(second.id, harness.clock(), even_if_paid=True)
    await harness.cards.close(await harness.reload(second))
    assert "close_status" in harness.messenger.calls


async def test_while_they_wait_for_a_moderator_the_card_shows_no_picture_and_who_is_cancelled(
    harness: VariationHarness,
) -> None:
    await set_guild(harness.store, approval_required=True, log_channel_id=700)
    jobs = await harness.posted(2)
    assert not harness.messenger.cards[jobs[0].id].has_thumbnail

    await harness.end(jobs[0], CANCELLED)

    assert harness.states(jobs) == [JobState.CANCELLED, JobState.AWAITING]
