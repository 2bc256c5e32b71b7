"""Of several variations that await a moderator, one asks about all, and the request is open while one waits."""

from dataclasses import replace
from datetime import timedelta

import pytest

from bot.domain.approvals import APPROVAL_TIMEOUT, Decision, Verdict
from bot.domain.jobs import Job, JobState
from bot.domain.outcomes import Fail, JobUpdate, Reschedule
from bot.worker.stages.acceptance import post_status, request_approval
from bot.worker.stages.delivery import finalise_status
from tests.fakes import FRAME, NOW
from tests.stage_harness import GONE, StageHarness

EXPIRES_AT = NOW + APPROVAL_TIMEOUT
APPROVED = Decision(Verdict.APPROVED, 77, NOW)


def variations(stages: StageHarness, *states: JobState, **changes: object) -> list[Job]:
    """Jobs that were ordered together, in these states."""
    job = stages.job(JobState.AWAITING)
    jobs = [
        replace(job, id=f"job-{number}", state=state, **changes)  # type: ignore[arg-type]  # mypy: a dict is any field
        for number, state in enumerate(states, 1)
    ]
    stages.store.frames |= {job.id: FRAME for job in jobs}
    stages.store.variations = jobs
    return jobs


def update(stages: StageHarness, job: Job, **changes: object) -> Job:
    """The job as it was written."""
    changed = replace(job, **changes)  # type: ignore[arg-type]  # mypy: a dict is any field
    stages.store.variations = [changed if one.id == job.id else one for one in stages.store.variations]
    return changed


async def test_the_first_asks_about_all_of_them(stages: StageHarness) -> None:
    first, *_ = variations(stages, *[JobState.AWAITING] * 3)

    outcome = await request_approval(first, stages.context)

    assert outcome == Reschedule(EXPIRES_AT, JobUpdate(status_message_id=1000, approval_message_id=5000))
    [request] = stages.approval_messenger.requests_for(first)
    assert request.count == 3


async def test_the_others_ask_nobody_and_wait_until_the_first_has_asked(stages: StageHarness) -> None:
    first, second = variations(stages, *[JobState.AWAITING] * 2)

    assert await request_approval(second, stages.context) == Reschedule(NOW + timedelta(seconds=10))
    update(stages, first, approval_message_id=5000)
    assert await request_approval(second, stages.context) == Reschedule(EXPIRES_AT)
    assert stages.approval_messenger.calls == []


@pytest.mark.parametrize("has_asked", [False, True])
async def test_if_the_first_is_cancelled_the_next_asks_unless_it_was_asked_already(
    stages: StageHarness, *, has_asked: bool
) -> None:
    first, second = variations(stages, *[JobState.AWAITING] * 2)
    if has_asked:  # and here its worker lost it to the member who cancelled it
        await request_approval(first, stages.context)
    update(stages, first, state=JobState.CANCELLED)

    outcome = await request_approval(second, stages.context)

    assert isinstance(outcome, Reschedule)
    assert outcome.update.approval_message_id == 5000
    [request] = stages.approval_messenger.requests.values()
    assert (request.id, request.job_id) == (5000, first.id)


async def test_a_request_that_one_of_them_knows_is_not_posted_again(stages: StageHarness) -> None:
    first, second = variations(stages, JobState.CANCELLED, JobState.AWAITING)
    update(stages, first, approval_message_id=5000)

    outcome = await request_approval(second, stages.context)

    assert isinstance(outcome, Reschedule)
    assert outcome.update.approval_message_id == 5000
    assert stages.approval_messenger.calls == []


async def test_the_request_stays_open_as_long_as_one_waits(stages: StageHarness) -> None:
    first, second = variations(stages, *[JobState.AWAITING] * 2)
    await request_approval(first, stages.context)
    first = update(stages, first, approval_message_id=5000, state=JobState.CANCELLED)

    await finalise_status(first, stages.context)
    assert "close" not in stages.approval_messenger.calls

    second = update(stages, second, state=JobState.CANCELLED)
    await finalise_status(second, stages.context)
    [request] = stages.approval_messenger.requests.values()
    assert request.closed is not None
    assert (request.closed[0].approval_message_id, request.closed[1]) == (5000, None)


async def test_approved_ones_close_the_request_with_the_decision(stages: StageHarness) -> None:
    first, second = variations(stages, *[JobState.AWAITING] * 2)
    await request_approval(first, stages.context)
    update(stages, first, approval_message_id=5000, state=JobState.CANCELLED)
    second = update(stages, second, approval_message_id=5000, state=JobState.QUEUED)
    stages.approvals.decisions[second.id] = APPROVED

    await post_status(second, stages.context)

    [request] = stages.approval_messenger.requests.values()
    assert request.closed is not None
    assert request.closed[1] == APPROVED


async def test_where_nobody_can_be_asked_each_fails_for_free(stages: StageHarness) -> None:
    first, second = variations(stages, *[JobState.AWAITING] * 2)
    stages.approval_messenger.fail_always("post", GONE)

    assert isinstance(await request_approval(first, stages.context), Fail)
    update(stages, first, state=JobState.FAILED)
    assert isinstance(await request_approval(second, stages.context), Fail)
