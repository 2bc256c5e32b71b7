"""The status message of a queued job is shown again when the submission gate closes or opens."""

from dataclasses import replace
from datetime import timedelta

import pytest

from bot.domain.errors import DeliveryForbidden
from bot.domain.jobs import JobState, JobUpdate, Reschedule
from bot.store.jobs.submission_gate import Gate
from bot.worker.stages.acceptance import MAX_STATUS_ATTEMPTS, post_status
from tests.fakes import NOW
from tests.stage_harness import FORBIDDEN, GONE, StageHarness, failure

CLOSED = Gate(NOW + timedelta(minutes=5), "no balance", 1, None)
OPEN = Gate(None, None, 0, None)


@pytest.mark.parametrize("gate", [CLOSED, OPEN])
async def test_what_the_message_says_of_the_video_service_is_recorded(stages: StageHarness, gate: Gate) -> None:
    stages.store.submission_gate = gate
    job = stages.job(JobState.QUEUED)

    outcome = await post_status(job, stages.context)

    assert outcome == Reschedule(None, JobUpdate(status_message_id=1000, status_says_closed=gate is CLOSED))
    assert stages.messenger.service_closed == {job.id: gate is CLOSED}


async def test_a_permission_that_is_away_for_seconds_ends_no_job_whose_status_was_shown(
    stages: StageHarness,
) -> None:
    message_id = await stages.messenger.show_status(stages.job(JobState.QUEUED), check_existing=False)
    stages.messenger.fail("show_status", FORBIDDEN)
    job = stages.job(JobState.QUEUED, status_message_id=message_id)

    outcome = await post_status(job, stages.context)
    assert isinstance(outcome, Reschedule)
    assert outcome.due_at is not None

    shown = JobUpdate(status_message_id=message_id, status_says_closed=False)
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
