"""Remove, clicked at any moment: before it was written that the video was posted, and after the job failed."""

from dataclasses import replace
from decimal import Decimal

import pytest

from bot.domain.jobs import REMOVED, FailureReason, Job, JobState
from bot.domain.outcomes import Fail, JobUpdate, MoveTo, Outcome, Reschedule
from bot.store.jobs.job_store import JobStore
from tests.store.factories import (
    DETAIL,
    MINUTE,
    NOW,
    add_waiting,
    bring_to,
    claim,
    entries,
    read,
    resume_failed_job,
)

MESSAGE, OTHER_MESSAGE = 2000, 3000
SOON = NOW + MINUTE
POSTED = MoveTo(JobState.DELIVERED, JobUpdate(result_message_id=MESSAGE))
LATE_OUTCOMES: list[Outcome] = [
    POSTED,
    Reschedule(SOON, attempt=True),
    Fail(FailureReason.UNDELIVERABLE, DETAIL),
    MoveTo(JobState.CANCELLED),
]


async def usage(store: JobStore, job: Job) -> tuple[int, Decimal]:
    """What the ledger says that the job takes: videos and USD."""
    written = await entries(store, job)
    return sum(entry.videos for entry in written), sum((entry.usd for entry in written), Decimal(0))


@pytest.mark.parametrize("outcome", LATE_OUTCOMES, ids=["posted", "delayed", "failed", "cancelled"])
async def test_a_video_removed_before_its_delivery_was_written_is_delivered_and_counts(
    store: JobStore, outcome: Outcome
) -> None:
    delivering = await bring_to(store, JobState.DELIVERING)
    before = await usage(store, delivering)

    assert await store.mark_removed(delivering.id, MESSAGE, SOON)
    assert not await store.apply(delivering, outcome, SOON)

    job = await read(store, delivering)
    assert (job.state, job.result_message_id, job.charged) == (JobState.DELIVERED, REMOVED, True)
    assert job.due_at == SOON, "its status card is to say so"
    assert await usage(store, job) == before


async def test_a_cancelled_video_that_was_posted_all_the_same_counts_once_it_is_removed(store: JobStore) -> None:
    delivering = await bring_to(store, JobState.DELIVERING)
    await store.cancel(delivering.id, NOW, even_if_paid=True)

    assert await store.mark_removed(delivering.id, MESSAGE, SOON)

    job = await read(store, delivering)
    assert (job.state, job.result_message_id, job.charged) == (JobState.DELIVERED, REMOVED, True)


async def test_a_video_removed_after_its_delivery_failed_stays_removed_when_the_job_is_resumed(
    store: JobStore,
) -> None:
    delivering = await bring_to(store, JobState.DELIVERING)
    _, reserved = await usage(store, delivering)
    assert await store.apply(delivering, Fail(FailureReason.UNDELIVERABLE, DETAIL), NOW)

    assert await store.mark_removed(delivering.id, MESSAGE, SOON)
    assert (await read(store, delivering)).due_at == SOON, "its status card is to say so"
    await resume_failed_job(store, delivering.id, SOON, actor_id=9)
    running = await claim(store, delivering.id, SOON)
    assert await store.apply(running, MoveTo(JobState.DELIVERING, JobUpdate(result_url="https://x")), SOON)

    job = await read(store, delivering)
    assert (job.state, job.is_removed, job.charged) == (JobState.DELIVERING, True, False)
    videos, usd = await usage(store, job)
    assert (videos, usd) == (0, reserved)


async def test_a_video_removed_while_its_job_runs_again_does_not_disturb_the_worker(store: JobStore) -> None:
    running = await bring_to(store, JobState.RUNNING)

    assert await store.mark_removed(running.id, MESSAGE, SOON)
    assert await store.apply(running, MoveTo(JobState.DELIVERING, JobUpdate(result_url="https://x")), SOON)

    job = await read(store, running)
    assert (job.state, job.is_removed) == (JobState.DELIVERING, True)


@pytest.mark.parametrize("state", [JobState.QUEUED, JobState.SUBMITTING, JobState.CANCELLED])
async def test_a_job_that_can_not_have_a_video_is_left_alone(store: JobStore, state: JobState) -> None:
    job = await read(store, await (add_waiting(store) if state is JobState.QUEUED else bring_to(store, state)))

    assert not await store.mark_removed(job.id, MESSAGE, SOON)

    assert await read(store, job) == job


async def test_removing_another_copy_of_a_delivered_video_leaves_the_one_that_is_known(store: JobStore) -> None:
    delivering = await bring_to(store, JobState.DELIVERING)
    assert await store.apply(delivering, POSTED, NOW)

    assert not await store.mark_removed(delivering.id, OTHER_MESSAGE, SOON)
    assert (await read(store, delivering)).result_message_id == MESSAGE
    assert await store.mark_removed(delivering.id, MESSAGE, SOON)
    assert not await store.mark_removed(delivering.id, MESSAGE, SOON), "clicked twice"


async def test_a_worker_that_shows_the_end_meanwhile_shows_it_again(store: JobStore) -> None:
    delivering = await bring_to(store, JobState.DELIVERING)
    assert await store.apply(delivering, POSTED, NOW)
    showing = await claim(store, delivering.id)

    assert await store.mark_removed(delivering.id, MESSAGE, SOON)
    assert await store.reschedule([(showing, Reschedule(None))], SOON) == 0

    assert (await read(store, delivering)).due_at == SOON


async def test_an_unknown_job_has_no_video(store: JobStore) -> None:
    job = replace(await add_waiting(store), id="unknown")
    assert not await store.mark_removed(job.id, MESSAGE, SOON)
