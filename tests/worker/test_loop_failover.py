"""Jobs that change their provider, and jobs that must not."""

import pytest

from bot.domain.errors import (
    ContentRefused,
    OutcomeUnknown,
    UpstreamBusy,
    UpstreamClosed,
    UpstreamError,
    UpstreamRefused,
    UpstreamUnreached,
)
from bot.domain.jobs import FailureReason, Job, JobState
from bot.worker.config import LEASE_DURATIONS
from tests.harness import POLL_INTERVAL_S, WorkerHarness, run_until_idle
from tests.providers_asked import BOTH, DASHSCOPE, VTRIX, takes
from tests.store.money.sums import wrong_sums


async def ended(harness: WorkerHarness, *errors: UpstreamError, response_lost: bool = False) -> Job:
    """What became of an order whose creates at the first provider failed like that."""
    harness.provider.fail("submit", *errors, response_lost=response_lost)
    worker = harness.worker(providers=BOTH)
    job = await harness.order()
    await run_until_idle(worker)
    harness.second.finish_all()
    harness.provider.finish_all()
    harness.advance_clock(seconds=POLL_INTERVAL_S)
    await run_until_idle(worker)
    async with harness.store._db.read() as connection:
        assert await wrong_sums(connection) == []
    return await harness.reload(job)


def creates(harness: WorkerHarness) -> tuple[int, int]:
    return harness.provider.submit_count, harness.second.submit_count


@pytest.mark.parametrize(
    "error",
    [
        UpstreamRefused("the picture is too wide", code="400"),
        UpstreamClosed("no balance", status=403),
        UpstreamBusy("slow down", retry_after_s=None),
        UpstreamUnreached("connection refused"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_a_job_without_a_task_is_made_by_the_next_provider(
    harness: WorkerHarness, error: UpstreamError
) -> None:
    done = await ended(harness, error)
    assert (done.state, done.provider, creates(harness)) == (JobState.DELIVERED, DASHSCOPE, (1, 1))
    assert len(harness.messenger.posted("video", done)) == 1
    assert await harness.charged_count() == 1


@pytest.mark.parametrize("response_lost", [False, True])
async def test_after_a_lost_answer_no_provider_is_asked_again(
    harness: WorkerHarness,
    response_lost: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    done = await ended(harness, OutcomeUnknown("the connection broke"), response_lost=response_lost)
    assert (done.failure_reason, done.provider) == (FailureReason.OUTCOME_UNKNOWN, VTRIX)
    assert creates(harness) == (1, 0)
    assert await harness.charged_count() == 0


async def test_rejected_content_is_shown_to_no_other_provider(harness: WorkerHarness) -> None:
    done = await ended(harness, ContentRefused("inappropriate content", code="DataInspectionFailed"))
    assert (done.failure_reason, creates(harness)) == (FailureReason.REJECTED, (1, 0))


async def test_a_job_that_all_providers_refuse_fails_and_is_free(harness: WorkerHarness) -> None:
    harness.second.fail("submit", UpstreamRefused("400: not this either", code="400", said="not this either"))
    done = await ended(harness, UpstreamRefused("not this", code="400"))
    assert (done.failure_reason, done.provider, creates(harness)) == (FailureReason.REFUSED, DASHSCOPE, (1, 1))
    assert done.failure_detail is not None
    assert done.failure_detail.quote == "not this either"
    assert await harness.charged_count() == 0


async def test_a_refused_job_waits_for_the_next_provider_rather_than_for_the_one_that_refused_it(
    harness: WorkerHarness,
) -> None:
    harness.second.fail("submit", UpstreamBusy("slow down", retry_after_s=60))
    waiting = await ended(harness, UpstreamRefused("not this", code="400"))
    assert (waiting.state, waiting.provider, creates(harness)) == (JobState.QUEUED, None, (1, 1))
    harness.advance_clock(minutes=1)
    await run_until_idle(harness.worker(providers=BOTH))
    assert ((await harness.reload(waiting)).provider, creates(harness)) == (DASHSCOPE, (1, 2))


async def test_a_refused_job_ends_if_no_other_provider_may_ever_spend_so_much(harness: WorkerHarness) -> None:
    harness.provider.fail("submit", UpstreamRefused("not this", code="400"))
    job = await harness.order()
    await run_until_idle(harness.worker(providers=(takes(VTRIX), takes(DASHSCOPE, usd_per_day="0.01"))))
    done = await harness.reload(job)
    assert (done.failure_reason, creates(harness)) == (FailureReason.REFUSED, (1, 0))


async def test_a_process_that_dies_between_claim_and_create_leaves_the_job_to_nobody_else(
    harness: WorkerHarness,
) -> None:
    worker = harness.worker(providers=BOTH)
    job = await harness.queued_job(worker)
    assert await harness.store.claim_queued(harness.clock(), BOTH, LEASE_DURATIONS[JobState.SUBMITTING])
    harness.advance_clock(minutes=5)
    await run_until_idle(harness.worker(providers=BOTH))
    done = await harness.reload(job)
    assert (done.failure_reason, creates(harness)) == (FailureReason.OUTCOME_UNKNOWN, (0, 0))


async def test_a_task_is_asked_about_where_it_was_made(harness: WorkerHarness) -> None:
    """Both providers call their first task the same."""
    worker = harness.worker(providers=(takes(VTRIX, 1), takes(DASHSCOPE, 1)))
    first, second = [await harness.order() for _ in range(2)]
    await run_until_idle(worker)
    assert list(harness.provider.tasks) == list(harness.second.tasks) == ["task-1"]
    harness.second.finish_all()
    harness.advance_clock(seconds=POLL_INTERVAL_S)
    await run_until_idle(worker)
    assert (await harness.state(first), await harness.state(second)) == (JobState.RUNNING, JobState.DELIVERED)


async def test_a_provider_that_gets_no_new_jobs_any_more_finishes_those_that_it_has(
    harness: WorkerHarness,
) -> None:
    worker = harness.worker(providers=BOTH[::-1])
    job = await harness.running_job(worker)
    harness.second.finish_all()
    harness.advance_clock(seconds=POLL_INTERVAL_S)
    await run_until_idle(harness.worker())
    assert await harness.state(job) is JobState.DELIVERED


async def test_a_job_whose_next_provider_was_taken_out_of_the_settings_fails_as_refused(
    harness: WorkerHarness,
) -> None:
    harness.provider.fail("submit", *[UpstreamRefused("not this", code="400")] * 2)
    job = await harness.order()
    await run_until_idle(harness.worker())
    done = await harness.reload(job)
    assert (done.failure_reason, creates(harness)) == (FailureReason.REFUSED, (1, 0))
