"""What is learned about the durations of tasks, from durations of which only intervals are known."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.task_durations import SAMPLES, DurationEstimate, TaskDuration, estimate

AGES = st.floats(min_value=0, max_value=1e5)
LENGTHS = st.none() | st.floats(min_value=1e-3, max_value=1e5)
DURATIONS = st.builds(lambda over, by: TaskDuration(over, None if by is None else over + by), AGES, LENGTHS)
SOME_DURATIONS = st.lists(DURATIONS, max_size=30)


def seen(duration_s: float, *, pause_s: float = 4.0, late_s: float = 2.0) -> TaskDuration:
    """As polls a `pause_s` apart see a duration, the last of them `late_s` after its end."""
    return TaskDuration(max(0.0, duration_s + late_s - pause_s), duration_s + late_s)


def learned(*durations_s: float) -> DurationEstimate:
    """From exact durations, the last one the newest, seen by polls at random times."""
    chance = random.Random(7)  # noqa: S311 - no secret
    found = [seen(duration_s, late_s=chance.uniform(0, 4)) for duration_s in durations_s]
    return estimate(found[::-1], finest_s=0.375)


def log_normal(count: int, median_s: float, sigma: float) -> list[float]:
    chance = random.Random(11)  # noqa: S311 - no secret
    return [median_s * math.exp(chance.gauss(0, sigma)) for _ in range(count)]


@pytest.mark.parametrize(("median_s", "sigma"), [(5, 0.1), (20, 0.2), (60, 0.5), (300, 0.3)])
def test_the_share_that_ended_is_that_of_the_durations(median_s: float, sigma: float) -> None:
    known = learned(*log_normal(400, median_s, sigma))
    for deviation, share in [(-1, 0.16), (0, 0.5), (1, 0.84)]:
        age_s = median_s * math.exp(deviation * sigma) if sigma > 0.1 else median_s + 2 * deviation
        expected = share if sigma > 0.1 else {0.16: 0, 0.5: 0.5, 0.84: 1}[share]
        assert known.share_ended(age_s) == pytest.approx(expected, abs=0.1)


def test_two_kinds_of_task_are_told_apart() -> None:
    known = learned(*[20.0, 20.0, 300.0] * 60)
    assert known.share_ended(30) == pytest.approx(2 / 3, abs=0.05)
    assert known.share_ended(250) - known.share_ended(40) < 0.03
    assert known.share_ended(360) > 0.95


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_a_few_durations_do_not_make_it_certain(count: int) -> None:
    known = learned(*[20.0] * count)
    assert 1 - known.share_ended(120) > 0.05


def test_new_durations_outweigh_old_ones() -> None:
    known = learned(*[30.0] * 400, *[120.0] * 150)
    assert known.share_ended(60) < 0.5


def test_durations_beyond_the_number_that_is_used_change_nothing() -> None:
    used = [seen(60)] * SAMPLES
    assert estimate([*used, *[seen(5)] * 100], finest_s=0.5) == estimate(used, finest_s=0.5)


def test_tasks_that_were_given_up_make_longer_ones_likelier() -> None:
    ended = [seen(60)] * 50
    given_up = [TaskDuration(600, None)] * 10
    assert 1 - estimate([*given_up, *ended], finest_s=0.5).share_ended(300) > 0.12
    assert 1 - estimate(ended, finest_s=0.5).share_ended(300) < 0.02


def test_tasks_that_nobody_polled_during_an_outage_change_little() -> None:
    known = [seen(duration_s) for duration_s in log_normal(200, 60, 0.5)]
    polled_late = [TaskDuration(20, 7200)] * 10
    before, after = estimate(known, finest_s=0.5), estimate([*polled_late, *known], finest_s=0.5)
    for age_s in (20, 40, 60, 90, 150):
        assert after.share_ended(age_s) == pytest.approx(before.share_ended(age_s), abs=0.03)


def test_one_task_of_hours_does_not_blur_the_others() -> None:
    known = learned(*[5.0] * 200, 20_000.0)
    assert known.step_s < 0.5


def test_tasks_that_seemed_to_run_for_a_day_do_not_blur_the_others_however_few_there_are() -> None:
    a_day = TaskDuration(86_400, None)  # the clock was set forward while they ran
    assert estimate([a_day, *[seen(60)] * 20], finest_s=0.5).step_s < 10
    assert estimate([a_day] * 60 + [seen(60)] * 440, finest_s=0.5).step_s < 10


def test_at_the_very_end_of_the_grid_something_is_known() -> None:
    for longest_s in (108.691, 123.817, 258.125):
        known = estimate([TaskDuration(longest_s, None)] * 5, finest_s=0.0125)
        age_s = math.nextafter(known.horizon_s, 0)
        assert known.share_ended(age_s) == pytest.approx(known.share_ended(known.horizon_s))
        assert known.remaining(age_s) is not None


def test_no_more_than_all_tasks_have_ended_however_long_they_take() -> None:
    known = estimate([TaskDuration(103_640.1, None), TaskDuration(950_241.2, None)], finest_s=7.5)
    assert known.share_ended(known.horizon_s * 0.999999) <= known.share_ended(1e9) <= 1


@given(SOME_DURATIONS, AGES, AGES)
def test_the_share_that_ended_grows_with_age_from_0_to_at_most_1(
    durations: list[TaskDuration], one: float, other: float
) -> None:
    known = estimate(durations, finest_s=0.5)
    younger, older = sorted((one, other))
    assert -1e-9 <= known.share_ended(younger) <= known.share_ended(older) + 1e-9 <= 1 + 2e-9


def test_the_remaining_time_is_told_from_five_durations_on() -> None:
    assert learned(*[60.0] * 4).remaining(0) is None
    assert learned(*[60.0] * 5).remaining(0) is not None


def test_the_remaining_time_shrinks_and_then_grows_with_age() -> None:
    known = learned(*[20.0, 20.0, 300.0] * 60)
    young, old = known.remaining(0), known.remaining(40)
    assert young is not None
    assert old is not None
    assert young.p50_s == pytest.approx(20, abs=3)
    assert young.p90_s == pytest.approx(300, abs=20)
    assert old.p50_s == pytest.approx(260, abs=15)


def test_of_a_task_that_outlasted_all_others_no_remaining_time_is_told() -> None:
    assert learned(*[60.0] * 50).remaining(4000) is None


@given(st.lists(DURATIONS, min_size=5, max_size=30), AGES)
def test_the_remaining_times_are_in_order(durations: list[TaskDuration], age_s: float) -> None:
    remaining = estimate(durations, finest_s=0.5).remaining(age_s)
    if remaining is not None:
        assert 0 <= remaining.p50_s <= remaining.p90_s < math.inf


@pytest.mark.parametrize(
    ("duration", "plausible"),
    [
        (TaskDuration(0, 3), True),
        (TaskDuration(1800, None), True),
        (TaskDuration(10, 10), False),
        (TaskDuration(10, 4), False),
        (TaskDuration(-1, 4), False),
        (TaskDuration(0, math.nan), False),
        (TaskDuration(1e300, None), False),
        (TaskDuration(0, 1e300), False),
        (TaskDuration(math.inf, None), False),
    ],
)
def test_what_a_clock_that_was_set_says_is_not_plausible(duration: TaskDuration, *, plausible: bool) -> None:
    assert duration.is_plausible is plausible
