"""The status card of a queued job: posted before anything costs money."""

from dataclasses import replace

import pytest

from bot.domain.errors import DeliveryForbidden
from bot.domain.jobs import JobState
from bot.domain.outcomes import JobUpdate, Reschedule
from bot.worker.stages.acceptance import MAX_STATUS_ATTEMPTS, post_status
from tests.stage_harness import FORBIDDEN, GONE, StageHarness, failure


async def test_a_permission_that_is_away_for_seconds_ends_no_job_whose_status_was_shown(
    stages: StageHarness,
) -> None:
    message_id = await stages.context.status_cards.post(stages.job(JobState.QUEUED), check_existing=False)
    stages.messenger.fail("show_status", FORBIDDEN)
    job = stages.job(JobState.QUEUED, status_message_id=message_id)

    outcome = await post_status(job, stages.context)
    assert isinstance(outcome, Reschedule)
    assert outcome.due_at is not None

    shown = JobUpdate(status_message_id=message_id)
    assert await post_status(replace(job, attempts=1), stages.context) == Reschedule(None, shown)


@pytest.mark.parametrize(
    ("error", "attempts"), [(FORBIDDEN, MAX_STATUS_ATTEMPTS - 1), (GONE, 0)], ids=["forbidden for long", "gone"]
)
async def test_a_channel_that_was_closed_while_the_job_was_queued_ends_it_before_it_costs_anything(
    stages: StageHarness, error: Exception, attempts: int
) -> None:
    stages.messenger.fail_always("show_status", error)
    job = stages.job(JobState.QUEUED, status_message_id=1000, attempts=attempts)

    assert failure(await post_status(job, stages.context)) == "undeliverable"


async def test_a_channel_that_never_took_a_message_ends_the_job_at_once(stages: StageHarness) -> None:
    stages.messenger.fail_always("show_status", DeliveryForbidden("Missing Access"))

    assert failure(await post_status(stages.job(JobState.QUEUED), stages.context)) == "undeliverable"
