"""The process's clock, while the system clock is changed."""

import logging
from datetime import datetime, timedelta

import pytest

from bot.operations.clock import FOLLOW, ReferenceClock, SteadyClock, uptime_s, utc_now
from tests.fakes import NOW

HOUR = timedelta(hours=1)


class FakeSystemClock:
    """A system clock that can be set; time itself passes by `pass_time` only."""

    def __init__(self) -> None:
        self.wall, self.uptime_s = NOW, 1000.0

    def now(self) -> datetime:
        return self.wall

    def steady_s(self) -> float:
        return self.uptime_s

    def pass_time(self, **by: float) -> None:
        self.wall += timedelta(**by)
        self.uptime_s += timedelta(**by).total_seconds()


@pytest.fixture
def system_clock() -> FakeSystemClock:
    return FakeSystemClock()


@pytest.fixture
def clock(system_clock: FakeSystemClock) -> SteadyClock:
    return SteadyClock(wall=system_clock.now, steady_s=system_clock.steady_s)


def test_it_shows_the_system_time(system_clock: FakeSystemClock, clock: SteadyClock) -> None:
    for _ in range(100):
        system_clock.pass_time(seconds=7)
        assert clock() == system_clock.wall


@pytest.mark.parametrize("jump", [HOUR, -HOUR])
def test_a_changed_system_clock_makes_it_neither_jump_nor_go_back(
    system_clock: FakeSystemClock, clock: SteadyClock, jump: timedelta
) -> None:
    before = clock()
    system_clock.wall += jump
    assert clock() == before
    for _ in range(100):
        earlier = clock()
        system_clock.pass_time(seconds=1)
        assert timedelta(seconds=1 - FOLLOW) <= clock() - earlier <= timedelta(seconds=1 + FOLLOW)


@pytest.mark.parametrize("jump", [HOUR, -HOUR])
def test_it_eventually_follows_the_system_clock(
    system_clock: FakeSystemClock, clock: SteadyClock, jump: timedelta
) -> None:
    system_clock.wall += jump
    for _ in range(60 * 20 + 1):
        system_clock.pass_time(minutes=1)
        clock()
    assert clock() == system_clock.wall


def test_a_small_correction_is_followed_within_seconds(system_clock: FakeSystemClock, clock: SteadyClock) -> None:
    system_clock.wall += timedelta(milliseconds=100)
    system_clock.pass_time(seconds=3)
    assert clock() == system_clock.wall


def test_a_reference_clock_runs_on_independently_of_the_system_clock(system_clock: FakeSystemClock) -> None:
    reference = ReferenceClock(NOW + 3 * HOUR, steady_s=system_clock.steady_s)
    clock = SteadyClock(wall=reference, steady_s=system_clock.steady_s)
    system_clock.wall -= HOUR
    system_clock.pass_time(minutes=5)
    assert clock() == reference() == NOW + 3 * HOUR + timedelta(minutes=5)


@pytest.mark.parametrize("drift", [timedelta(seconds=2), timedelta(seconds=-2)])
def test_a_clock_follows_its_reference(system_clock: FakeSystemClock, drift: timedelta) -> None:
    reference = ReferenceClock(NOW, steady_s=system_clock.steady_s)
    clock = SteadyClock(wall=reference, steady_s=system_clock.steady_s)
    system_clock.pass_time(minutes=1)
    reference.set(NOW + timedelta(minutes=1) + drift)
    system_clock.pass_time(minutes=1)
    assert clock() == NOW + timedelta(minutes=2) + drift


def test_a_changed_system_clock_is_logged_once(
    system_clock: FakeSystemClock, clock: SteadyClock, caplog: pytest.LogCaptureFixture
) -> None:
    system_clock.wall += HOUR
    with caplog.at_level(logging.WARNING):
        for _ in range(10):
            system_clock.pass_time(seconds=1)
            clock()
    assert [record.getMessage().count("by 3600 s") for record in caplog.records] == [1]


def test_the_real_clocks_agree() -> None:
    before, clock = utc_now(), SteadyClock()
    first, second = clock(), clock()
    assert before <= first <= second <= utc_now() + timedelta(seconds=1)
    assert uptime_s() <= uptime_s()
