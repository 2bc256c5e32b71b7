"""The process's clock, while the machine's is set."""

import logging
from datetime import datetime, timedelta

import pytest

from bot.operations.clock import FOLLOW, SteadyClock, uptime_s, utc_now
from tests.fakes import NOW

HOUR = timedelta(hours=1)


class Machine:
    """A machine whose clock can be set; time itself passes by `pass_time` only."""

    def __init__(self) -> None:
        self.wall, self.uptime_s = NOW, 1000.0

    def tell(self) -> datetime:
        return self.wall

    def steady_s(self) -> float:
        return self.uptime_s

    def pass_time(self, **by: float) -> None:
        self.wall += timedelta(**by)
        self.uptime_s += timedelta(**by).total_seconds()


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.fixture
def clock(machine: Machine) -> SteadyClock:
    return SteadyClock(wall=machine.tell, steady_s=machine.steady_s)


def test_it_tells_the_machines_time(machine: Machine, clock: SteadyClock) -> None:
    for _ in range(100):
        machine.pass_time(seconds=7)
        assert clock() == machine.wall


@pytest.mark.parametrize("jump", [HOUR, -HOUR])
def test_a_machine_that_is_set_makes_it_neither_leap_nor_go_back(
    machine: Machine, clock: SteadyClock, jump: timedelta
) -> None:
    before = clock()
    machine.wall += jump
    assert clock() == before
    for _ in range(100):
        earlier = clock()
        machine.pass_time(seconds=1)
        assert timedelta(seconds=1 - FOLLOW) <= clock() - earlier <= timedelta(seconds=1 + FOLLOW)


@pytest.mark.parametrize("jump", [HOUR, -HOUR])
def test_it_follows_the_machine_in_the_end(machine: Machine, clock: SteadyClock, jump: timedelta) -> None:
    machine.wall += jump
    for _ in range(60 * 20 + 1):
        machine.pass_time(minutes=1)
        clock()
    assert clock() == machine.wall


def test_a_daily_correction_is_followed_within_seconds(machine: Machine, clock: SteadyClock) -> None:
    machine.wall += timedelta(milliseconds=100)
    machine.pass_time(seconds=3)
    assert clock() == machine.wall


def test_it_goes_on_from_anothers_time_and_heeds_no_machine(machine: Machine) -> None:
    clock = SteadyClock(start=NOW + 3 * HOUR, wall=machine.tell, steady_s=machine.steady_s)
    machine.wall -= HOUR
    machine.pass_time(minutes=5)
    assert clock() == NOW + 3 * HOUR + timedelta(minutes=5)


def test_a_machine_that_is_set_is_said_once(
    machine: Machine, clock: SteadyClock, caplog: pytest.LogCaptureFixture
) -> None:
    machine.wall += HOUR
    with caplog.at_level(logging.WARNING):
        for _ in range(10):
            machine.pass_time(seconds=1)
            clock()
    assert [record.getMessage().count("by 3600 s") for record in caplog.records] == [1]


def test_the_real_ones_agree() -> None:
    before, clock = utc_now(), SteadyClock()
    first, second = clock(), clock()
    assert before <= first <= second <= utc_now() + timedelta(seconds=1)
    assert uptime_s() <= uptime_s()
