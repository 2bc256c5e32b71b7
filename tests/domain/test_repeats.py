from datetime import UTC, datetime

import pytest

from bot.domain.jobs import FailureCause, FailureDetail, FailureReason, Job, JobState, Order
from bot.domain.repeats import is_worth_another_try, repeated_job_id

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
REFUSED = {
    FailureCause.DECLINED,
    FailureCause.REFUSED_BY_SERVICE,
    FailureCause.SERVER_BLOCKED,
    FailureCause.CANCELLED_BY_ADMIN,
}


def failed(cause: FailureCause) -> Job:
    return Job(
        "abcdefgh-ijklmn_",
        JobState.FAILED,
        10,
        100,
        1,
        Order("a fox"),
        NOW,
        NOW,
        failure_reason=FailureReason.UPSTREAM_FAILED,
        failure_detail=FailureDetail(cause),
    )


@pytest.mark.parametrize("cause", sorted(REFUSED))
def test_what_somebody_refused_is_not_worth_another_try(cause: FailureCause) -> None:
    assert not is_worth_another_try(failed(cause))


@pytest.mark.parametrize("cause", [FailureCause.ANSWER_LOST, FailureCause.INTERRUPTED, FailureCause.RESTORED])
def test_nor_is_a_job_whose_video_may_still_come(cause: FailureCause) -> None:
    assert not is_worth_another_try(failed(cause))


def test_a_task_that_failed_is_worth_another_try() -> None:
    assert is_worth_another_try(failed(FailureCause.TASK_FAILED))


def test_a_repeated_jobs_id_looks_like_others_and_is_of_one_member_and_interaction() -> None:
    job = failed(FailureCause.TASK_FAILED)
    ids = {repeated_job_id(job, user_id, click) for user_id in (1, 2) for click in (3, 4)}

    assert len(ids) == 4
    assert {len(it) for it in ids} == {len(job.id)}
