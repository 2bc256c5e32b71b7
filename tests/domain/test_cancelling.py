"""What cancelling comes to, and which jobs can still be stopped."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from bot.domain.cancelling import Cancelled, CancelledTogether
from bot.domain.jobs import CancelResult, Job, JobState, Order, StopResult

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
RUNNING = Job("job-1", JobState.RUNNING, 10, 100, 1, Order("a fox"), NOW, NOW, can_be_stopped=True)


@pytest.mark.parametrize("state", JobState)
def test_only_a_running_task_may_be_stopped(state: JobState) -> None:
    assert replace(RUNNING, state=state).may_be_stopped == (state is JobState.RUNNING)


@pytest.mark.parametrize("result", StopResult)
def test_a_task_may_be_stopped_until_the_provider_said_what_it_did(result: StopResult) -> None:
    assert replace(RUNNING, stop_result=result).may_be_stopped == (result is StopResult.ASKED)


def test_a_provider_that_stops_nothing_is_not_expected_to() -> None:
    assert not replace(RUNNING, can_be_stopped=False).may_be_stopped


def test_variations_that_are_cancelled_together_are_counted() -> None:
    unstoppable = replace(RUNNING, can_be_stopped=False)
    queued = replace(RUNNING, state=JobState.QUEUED)
    done = CancelledTogether.of(
        [
            Cancelled(queued, CancelResult.CANCELLED),
            Cancelled(RUNNING, CancelResult.PAID),
            Cancelled(unstoppable, CancelResult.PAID),
            Cancelled(RUNNING, CancelResult.ENDED),
        ]
    )
    assert done == CancelledTogether(free=1, paid=2, stoppable=1)
    assert done.in_progress == 2
