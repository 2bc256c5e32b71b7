import pytest

from bot.domain.schedule import Backoff


@pytest.mark.parametrize(("attempt", "full_s"), [(0, 2), (1, 4), (2, 8), (5, 64), (6, 120), (7, 120)])
def test_pauses_after_failures_double_up_to_a_cap(attempt: int, full_s: float) -> None:
    assert Backoff(first_s=2, cap_s=120).pause_s(attempt, jitter=1) == full_s


def test_half_of_a_pause_is_jitter() -> None:
    backoff = Backoff(first_s=2, cap_s=120)
    assert [backoff.pause_s(1, jitter=jitter) for jitter in (0, 0.5, 1)] == [2, 3, 4]


def test_a_very_long_outage_does_not_overflow() -> None:
    assert Backoff(first_s=2, cap_s=120).pause_s(1_000_000, jitter=1) == 120
