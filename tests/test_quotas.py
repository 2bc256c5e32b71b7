from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.quotas import WINDOW, Limits, Usage, next_free_at, refusal

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
LIMITS = Limits(per_day=5, running=2)


def usage(*ages_h: float, running: int = 0) -> Usage:
    return Usage(tuple(NOW - timedelta(hours=age) for age in ages_h), running)


@pytest.mark.parametrize("used", [usage(), usage(3), usage(9, 7, 5, 3), usage(9, 7, 5, 3, running=1)])
def test_a_member_below_both_limits_may_have_one_more(used: Usage) -> None:
    assert refusal(used, LIMITS) is None


def test_a_full_quota_refuses_and_says_when_it_frees() -> None:
    frees = NOW - timedelta(hours=20) + WINDOW
    text = refusal(usage(20, 7, 5, 3, 1), LIMITS)
    assert text is not None
    assert "You have used 5 of 5 videos" in text
    assert f"<t:{int(frees.timestamp())}:R>" in text


def test_too_many_in_the_making_refuses_and_says_where_they_are() -> None:
    text = refusal(usage(1, 1, running=2), LIMITS)
    assert text is not None
    assert "2 of 2 videos in the making" in text
    assert "/videos list" in text


def test_the_running_limit_is_named_before_the_daily_one() -> None:
    assert "in the making" in (refusal(usage(9, 8, 7, 6, 5, running=2), LIMITS) or "")


def test_a_limit_of_zero_refuses_without_a_promise() -> None:
    text = refusal(usage(), Limits(per_day=0, running=2))
    assert text is not None
    assert "gives none" in text
    assert "<t:" not in text


@pytest.mark.parametrize("used", [usage(), usage(3, 2, 1, 1)])
def test_nothing_frees_where_there_is_room(used: Usage) -> None:
    assert next_free_at(used, LIMITS) is None


def test_the_oldest_video_frees_the_next_place() -> None:
    assert next_free_at(usage(20, 7, 5, 3, 1), LIMITS) == NOW + timedelta(hours=4)


def test_under_a_lowered_limit_enough_videos_must_leave_the_window_first() -> None:
    assert next_free_at(usage(20, 10, 5, 3, 1), Limits(per_day=3, running=2)) == NOW + timedelta(hours=24 - 5)


@given(
    ages_h=st.lists(st.floats(0, 23.9), max_size=12),
    per_day=st.integers(1, 12),
)
def test_the_named_moment_is_the_first_at_which_one_more_is_allowed(ages_h: list[float], per_day: int) -> None:
    used, limits = usage(*sorted(ages_h, reverse=True)), Limits(per_day, running=2)

    def allowed_at(moment: datetime) -> bool:
        left = tuple(asked for asked in used.counted_at if asked > moment - WINDOW)
        return refusal(Usage(left, running=0), limits) is None

    frees = next_free_at(used, limits)
    if frees is None:
        assert allowed_at(NOW)
    else:
        assert allowed_at(frees)
        assert not allowed_at(frees - timedelta(microseconds=1))
