"""Of several variations, the first that is there calls its member."""

from dataclasses import replace

import pytest

from bot.domain.jobs import JobState
from bot.domain.outcomes import MoveTo
from bot.worker.stages.delivery import deliver
from tests.stage_harness import StageHarness


@pytest.mark.parametrize(
    ("other", "pings"),
    [
        (JobState.RUNNING, True),
        (JobState.DELIVERING, True),
        (JobState.FAILED, True),
        (JobState.CANCELLED, True),
        (JobState.DELIVERED, False),
    ],
)
async def test_one_pings_unless_another_was_delivered_before(
    stages: StageHarness, other: JobState, *, pings: bool
) -> None:
    job = stages.job(JobState.DELIVERING)
    stages.store.variations = [replace(job, id="job-0", state=other), job]

    outcome = await deliver(job, stages.context)

    assert isinstance(outcome, MoveTo)
    assert (job.id not in stages.messenger.silent) is pings


async def test_a_delivered_one_whose_message_is_found_again_calls_nobody_twice(stages: StageHarness) -> None:
    job = stages.job(JobState.DELIVERING)
    stages.store.variations = [job]

    await deliver(job, stages.context)
    await deliver(replace(job, attempts=1), stages.context)

    assert stages.messenger.calls.count("post_video") == 1


async def test_a_video_that_was_ordered_alone_pings(stages: StageHarness) -> None:
    await deliver(stages.job(JobState.DELIVERING), stages.context)

    assert not stages.messenger.silent
