"""When tasks are polled, given what is known about their durations."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.poll_plan import POLL_COST_S
from bot.domain.schedule import PollSchedule
from bot.domain.task_durations import TaskDuration
from tests.domain.test_task_durations import SOME_DURATIONS, log_normal, seen
from tests.providers_asked import P480, P720

AGES = st.floats(min_value=-60, max_value=1e6)


def learned(*durations_s: float, min_s: float = 3, max_s: float = 15) -> PollSchedule:
    chance = random.Random(7)  # noqa: S311 - no secret
    schedule = PollSchedule(min_s, max_s)
    found = [seen(duration_s, late_s=chance.uniform(0, 4)) for duration_s in durations_s]
    schedule.learn(P720, found[::-1])
    return schedule


def polled_at_s(schedule: PollSchedule, until_s: float) -> list[float]:
    """The ages at which a task that runs until then is polled; the last poll sees that it ended."""
    ages_s = [0.0]
    while ages_s[-1] < until_s:
        ages_s.append(ages_s[-1] + schedule.next_pause_s(P720, ages_s[-1]))
    return ages_s[1:]


@pytest.mark.full
@given(
    SOME_DURATIONS,
    AGES,
    AGES,
    st.sampled_from([(3.0, 15.0), (5.0, 5.0), (0.1, 3600.0), (3600.0, 3600.0), (0.02, 0.05)]),
)
def test_pauses_stay_in_their_bounds(
    durations: list[TaskDuration], age_s: float, seen_running_s: float, bounds: tuple[float, float]
) -> None:
    schedule = PollSchedule(*bounds)
    schedule.learn(P720, durations)
    assert bounds[0] <= schedule.next_pause_s(P720, age_s, seen_running_s) <= bounds[1]


def test_tasks_are_polled_most_often_when_most_of_them_end() -> None:
    schedule = learned(*log_normal(300, 60, 0.5))
    assert schedule.next_pause_s(P720, 0) > 10
    assert schedule.next_pause_s(P720, 60) < 6


def test_between_two_kinds_of_task_there_are_few_polls() -> None:
    schedule = learned(*[20.0, 20.0, 300.0] * 60)
    assert schedule.next_pause_s(P720, 18) < 6
    assert schedule.next_pause_s(P720, 60) == 15
    assert len([age_s for age_s in polled_at_s(schedule, 340) if 40 < age_s < 260]) <= 16


def test_where_all_tasks_end_at_the_same_age_one_or_two_polls_do() -> None:
    schedule = learned(*[5.0] * 200)
    assert len(polled_at_s(schedule, 5)) <= 2
    assert polled_at_s(schedule, 5)[-1] < 8


def test_while_nothing_is_known_a_task_is_polled_as_often_as_a_video_of_a_minute_needs() -> None:
    ages_s = polled_at_s(PollSchedule(3, 15), 60)
    assert 6 <= len(ages_s) <= 14
    assert ages_s[-1] < 68


def test_a_task_that_outlasts_all_known_ones_is_polled_less_and_less() -> None:
    schedule = learned(*[60.0] * 200)
    pauses_s = [schedule.next_pause_s(P720, age_s) for age_s in (200, 600, 1500, 3000)]
    assert pauses_s == sorted(pauses_s)
    assert pauses_s[-1] == 15


def test_the_rate_goes_with_the_square_root_of_the_hazard() -> None:
    """An exponential distribution has the same hazard at all ages. These bounds allow what the rule asks for."""
    for mean_s in (40.0, 160.0):
        durations_s = [-mean_s * math.log(1 - (rank + 0.5) / 300) for rank in range(300)]
        random.Random(5).shuffle(durations_s)  # noqa: S311 - no secret
        schedule = learned(*durations_s, min_s=1, max_s=60)
        pauses_s = [schedule.next_pause_s(P720, mean_s * part) for part in (0.3, 0.5, 0.7, 0.9, 1.1)]
        assert sum(pauses_s) / 5 == pytest.approx(math.sqrt(2 * POLL_COST_S * mean_s), rel=0.2)


def test_it_follows_when_the_gateway_gets_slower() -> None:
    before, after = learned(*[30.0] * 300), learned(*[30.0] * 300, *[120.0] * 100)
    assert before.next_pause_s(P720, 30) < after.next_pause_s(P720, 60)
    assert after.next_pause_s(P720, 118) < 6


def test_each_resolution_has_its_own_knowledge() -> None:
    schedule, unknown = learned(*[20.0] * 100), PollSchedule(3, 15)
    assert schedule.next_pause_s(P480, 0) == unknown.next_pause_s(P480, 0)
    assert schedule.next_pause_s(P720, 0) != unknown.next_pause_s(P720, 0)
    assert schedule.remaining(P480, 0) is None
    assert schedule.remaining(P720, 0) is not None


def test_after_failed_polls_the_next_one_comes_sooner_for_the_task_may_have_ended_meanwhile() -> None:
    schedule = learned(*log_normal(300, 60, 0.5))
    assert schedule.next_pause_s(P720, 60, 50) < schedule.next_pause_s(P720, 60)


def test_a_clock_that_was_set_back_counts_as_a_new_task() -> None:
    schedule = learned(*[60.0] * 50)
    assert schedule.next_pause_s(P720, -30) == schedule.next_pause_s(P720, 0)
