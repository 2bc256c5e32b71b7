"""How long jobs wait, and how many are before them."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.jobs import JobState
from bot.domain.models import TaskKind
from bot.domain.task_durations import Remaining
from bot.domain.waiting import SHARE_MAX, InProgress, Wait, waits
from tests.providers_asked import P720

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


def a_minute(_resolution: TaskKind, age_s: float) -> Remaining | None:
    """Every task takes a minute, or perhaps 90 s; beyond that nothing is known."""
    return None if age_s >= 90 else Remaining(max(60 - age_s, 1.0), 90 - age_s)


def nobody_knows(_resolution: TaskKind, _age_s: float) -> Remaining | None:
    return None


def running(job_id: str, age_s: float, user_id: int = 1) -> InProgress:
    at = NOW - timedelta(seconds=age_s)
    return InProgress(job_id, JobState.RUNNING, user_id, P720, at, at)


def queued(job_id: str, age_s: float, user_id: int = 1) -> InProgress:
    return InProgress(job_id, JobState.QUEUED, user_id, P720, NOW - timedelta(seconds=age_s))


def seconds(found: Mapping[str, Wait], job_id: str) -> tuple[int, int]:
    wait = found[job_id]
    assert wait.likely_at is not None
    assert wait.late_at is not None
    return round((wait.likely_at - NOW).total_seconds()), round((wait.late_at - NOW).total_seconds())


def test_a_running_task_takes_what_is_left_of_a_usual_one() -> None:
    found = waits([running("a", 20)], 1, NOW, a_minute)

    assert seconds(found, "a") == (40, 70)
    assert found["a"].ahead is None
    assert found["a"].share == pytest.approx(20 / 60)


def test_a_queued_job_waits_for_a_slot_and_then_for_its_own_task() -> None:
    found = waits([running("a", 20), queued("b", 5), queued("c", 4)], 1, NOW, a_minute)

    assert (found["b"].ahead, found["c"].ahead) == (0, 1)
    assert seconds(found, "b")[0] == 40 + 60
    assert seconds(found, "c")[0] == 40 + 60 + 60


def test_delays_one_after_another_do_not_all_come_at_once() -> None:
    found = waits([running("a", 0), queued("b", 5)], 1, NOW, a_minute)

    likely_s, late_s = seconds(found, "b")
    assert likely_s < late_s < likely_s + 30 + 30


def test_a_free_slot_is_taken_at_once() -> None:
    found = waits([running("a", 20), queued("b", 5)], 2, NOW, a_minute)

    assert found["b"].ahead == 0
    assert seconds(found, "b")[0] == 60


def test_turns_go_to_the_member_with_the_fewest_tasks_and_then_to_the_oldest_job() -> None:
    jobs = [
        running("busy", 20, user_id=1),
        queued("first", 9, user_id=1),
        queued("second", 8, user_id=2),
        queued("third", 7, user_id=2),
        queued("fourth", 6, user_id=3),
    ]
    found = waits(jobs, 1, NOW, a_minute)

    assert sorted((wait.ahead, job_id) for job_id, wait in found.items() if wait.ahead is not None) == [
        (0, "second"),
        (1, "fourth"),
        (2, "first"),
        (3, "third"),
    ]


def test_a_task_that_outlasts_nine_of_ten_is_unusual_and_promises_nothing() -> None:
    found = waits([running("a", 91)], 1, NOW, a_minute)

    assert found["a"] == Wait(is_unusual=True)


def test_where_nothing_is_known_only_the_place_is_told() -> None:
    found = waits([running("a", 20), queued("b", 5), queued("c", 4)], 1, NOW, nobody_knows)

    assert found == {"a": Wait(), "b": Wait(ahead=0), "c": Wait(ahead=1)}


@given(
    st.lists(st.tuples(st.sampled_from([running, queued]), st.floats(0, 1e7), st.integers(1, 3)), max_size=30),
    st.integers(0, 5),
)
def test_a_wait_is_always_in_order(
    jobs: list[tuple[Callable[[str, float, int], InProgress], float, int]], slots: int
) -> None:
    given_jobs = [make(f"job {number}", age_s, user) for number, (make, age_s, user) in enumerate(jobs)]
    found = waits(given_jobs, slots, NOW, a_minute)

    assert set(found) == {job.id for job in given_jobs}
    places = sorted(wait.ahead for wait in found.values() if wait.ahead is not None)
    assert places == list(range(len(places)))
    for wait in found.values():
        assert wait.share is None or 0 <= wait.share <= SHARE_MAX
        assert wait.likely_at is None or wait.late_at is None or NOW <= wait.likely_at <= wait.late_at
