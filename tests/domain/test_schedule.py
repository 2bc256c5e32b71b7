import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.schedule import Backoff, PollSchedule

AGES = st.floats(min_value=-60, max_value=1e6)


def test_a_new_task_is_polled_after_the_minimum_pause() -> None:
    assert PollSchedule(min_s=3, max_s=15).next_pause_s(0) == 3


def test_a_pause_is_an_eighth_of_the_tasks_age() -> None:
    assert PollSchedule(min_s=3, max_s=15).next_pause_s(80) == 10


def test_an_old_task_is_polled_after_the_maximum_pause() -> None:
    assert PollSchedule(min_s=3, max_s=15).next_pause_s(3600) == 15


def test_a_clock_set_back_does_not_shorten_the_pause() -> None:
    assert PollSchedule(min_s=3, max_s=15).next_pause_s(-30) == 3


@given(AGES, AGES)
def test_pauses_stay_in_their_bounds_and_never_shrink_with_age(one: float, other: float) -> None:
    policy = PollSchedule(min_s=3, max_s=15)
    younger, older = sorted((one, other))
    assert 3 <= policy.next_pause_s(younger) <= policy.next_pause_s(older) <= 15


@pytest.mark.parametrize(("attempt", "full_s"), [(0, 2), (1, 4), (2, 8), (5, 64), (6, 120), (7, 120)])
def test_pauses_after_failures_double_up_to_a_cap(attempt: int, full_s: float) -> None:
    assert Backoff(first_s=2, cap_s=120).pause_s(attempt, jitter=1) == full_s


def test_half_of_a_pause_is_jitter() -> None:
    backoff = Backoff(first_s=2, cap_s=120)
    assert [backoff.pause_s(1, jitter=jitter) for jitter in (0, 0.5, 1)] == [2, 3, 4]


def test_a_very_long_outage_does_not_overflow() -> None:
    assert Backoff(first_s=2, cap_s=120).pause_s(1_000_000, jitter=1) == 120
