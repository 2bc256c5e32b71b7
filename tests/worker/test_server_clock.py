"""The process's clock keeps to the database server's."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

from bot.domain.errors import StoreError
from bot.operations.clock import ReferenceClock, SteadyClock
from bot.worker.server_clock import ServerClockSync
from tests.fakes import NOW


class Machine:
    """A machine that counts its seconds too slowly, and a server that it can ask for the time."""

    def __init__(self, slowness: float = 1.0) -> None:
        self.slowness = slowness
        self.server_now = NOW
        self.uptime_s = 1000.0
        self.delay_s = 0.0
        self.is_down = False
        self.asked = 0
        reference = ReferenceClock(NOW, steady_s=self.steady_s)
        self.clock = SteadyClock(wall=reference, steady_s=self.steady_s)
        self.sync = ServerClockSync(reference, self.read_time, interval_s=0, steady_s=self.steady_s)

    def steady_s(self) -> float:
        return self.uptime_s

    def pass_time(self, seconds: float) -> None:
        self.server_now += timedelta(seconds=seconds)
        self.uptime_s += seconds * self.slowness

    async def read_time(self) -> datetime | None:
        self.asked += 1
        if self.is_down:
            raise StoreError("the server is down")
        now = self.server_now
        self.pass_time(self.delay_s)
        return now

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not condition():
                await asyncio.sleep(0)


async def test_a_machine_that_counts_too_slowly_stays_within_seconds_of_the_server() -> None:
    machine = Machine(slowness=0.98)
    for _ in range(1000):
        machine.pass_time(60)
        await machine.sync.run_once()
        assert abs(machine.clock() - machine.server_now) < timedelta(seconds=3)


async def test_an_answer_that_took_long_is_ignored() -> None:
    machine = Machine()
    machine.delay_s = 20
    await machine.sync.run_once()
    machine.pass_time(3600)
    assert machine.clock() == machine.server_now


async def test_the_clock_runs_on_while_the_server_is_down_and_follows_it_again() -> None:
    machine = Machine(slowness=0.98)
    machine.is_down = True
    running = asyncio.create_task(machine.sync.run())
    await machine.until(lambda: machine.asked >= 2)
    machine.pass_time(100)
    assert machine.clock() == NOW + timedelta(seconds=98)
    machine.is_down = False
    asked = machine.asked
    await machine.until(lambda: machine.asked >= asked + 2)
    machine.pass_time(100)
    assert abs(machine.clock() - machine.server_now) < timedelta(seconds=3)
    machine.sync.stop()
    await running
