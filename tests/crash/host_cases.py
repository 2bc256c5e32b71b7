"""Runs the scenario on several hosts that share a PostgreSQL, one of which is paused or loses the database.

Nothing is killed. A paused process is stopped in the middle of a step for longer than every lease, while the other
one does its work, and goes on an hour later. A process loses the database in the middle of a transaction.
"""

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path

from tests.crash.bot_process import GO, WAITING, Trigger
from tests.crash.cases import CaseResult, finish, path_exists
from tests.crash.crash_points import ONLY_IN_HALF, REQUESTS
from tests.crash.databases import Databases, Deployment, ServerDatabase
from tests.crash.fault_points import FaultPoint, FaultTiming
from tests.crash.harness import Harness, open_harness
from tests.crash.scenario import HALVES, Scenario
from tests.store.lossy_proxy import Loss, LossyProxy

PAUSE_S = 3600.0
"""How much later it is for a process when it goes on."""
CATCH_UP_S = 2.0
"""How long a process that goes on may still do what it must not."""
AWAY_S = 1.0
"""How long the server is away, or read-only."""
BREAK_CHANCE = 0.002
"""Of each message between a process and its database, in the random cases."""
HOSTS = ("run", "run 2")
"""Two processes, each of which answers commands and works on jobs."""


class Outage(StrEnum):
    """What happens to the database in the middle of a transaction, before it is committed.

    The first two concern one connection, the others all of them.
    """

    COMMIT_LOST = "its commit is lost"
    ANSWER_LOST = "its commit's answer is lost"
    RESTART = "the server restarts"
    READ_ONLY = "the server becomes read-only"


@dataclass(frozen=True)
class HostPoint:
    """Where a process is disturbed, and how. outage: None for a pause."""

    place: FaultPoint
    timing: FaultTiming
    outage: Outage | None = None
    hit: int = 1

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of orders under way."""
        return HALVES[ONLY_IN_HALF.get(self.place, sorted(FaultPoint).index(self.place) % 2)]

    def __str__(self) -> str:
        return f"{self.place}, {self.timing}: {self.outage or 'paused'}"


def pauses() -> Iterator[HostPoint]:
    """A pause before and after each step."""
    for place in FaultPoint:
        if place is not FaultPoint.RELEASE:  # only a process that stops reaches it
            for timing in FaultTiming:
                yield HostPoint(place, timing)


def outages() -> Iterator[HostPoint]:
    """Each outage in each transaction."""
    for place in FaultPoint:
        if place not in REQUESTS and place is not FaultPoint.RELEASE:
            for outage in Outage:
                yield HostPoint(place, FaultTiming.BEFORE, outage)


async def pause_at_point(databases: Databases, point: HostPoint) -> CaseResult:
    """A process is stopped at a point until everything is over, and goes on an hour later."""
    async with (
        databases.fresh(Deployment.TWO_WORKERS) as (folder, url),
        open_harness(folder, url, SHUTDOWN_GRACE_SECONDS="5") as harness,
    ):
        scenario = Scenario(harness, kinds=point.kinds)
        trigger = Trigger(point.place, point.timing, point.hit, folder, hand_over=True, skip_s=PAUSE_S)
        for name in HOSTS:
            harness.start(name, trigger)
        return await finish(scenario, harness, asyncio.create_task(_pause(scenario)))


async def lose_database_at_point(databases: Databases, point: HostPoint) -> CaseResult:
    """The database is lost in one transaction, and comes back."""
    own_server = point.outage is Outage.RESTART
    opened = databases.fresh_server() if own_server else databases.fresh_server_database()
    async with opened as (folder, database):
        proxies = {name: LossyProxy(database.server.socket) for name in HOSTS}
        async with _harness_behind(proxies, folder, database) as harness:
            scenario = Scenario(harness, kinds=point.kinds)
            trigger = Trigger(point.place, point.timing, point.hit, folder, hand_over=True)
            for name in HOSTS:
                harness.start(name, trigger)
            losing = asyncio.create_task(_lose(harness, point, database, proxies))
            return await finish(scenario, harness, losing)


async def lose_database_at_random(databases: Databases, seed: int) -> CaseResult:
    """The connections of two processes break now and then, at any statement or answer, once they have started."""
    rng = random.Random(seed)  # noqa: S311 - repeatable
    breaking = [False]

    def breaks() -> bool:
        return breaking[0] and rng.random() < BREAK_CHANCE

    async with databases.fresh_server_database() as (folder, database):
        proxies = {name: LossyProxy(database.server.socket, breaks=breaks) for name in HOSTS}
        async with _harness_behind(proxies, folder, database) as harness:
            scenario = Scenario(harness)
            for name in HOSTS:
                harness.start(name)
            await harness.until(partial(_all_connected, harness), what="both processes have started")
            breaking[0] = True
            result = await finish(scenario, harness, asyncio.create_task(_calm_down(scenario, breaking)))
            harness.disturbed += sum(proxy.lost for proxy in proxies.values())
            return CaseResult(result.problems, result.ends, harness.disturbed, result.log)


@asynccontextmanager
async def _harness_behind(
    proxies: dict[str, LossyProxy], folder: Path, database: ServerDatabase
) -> AsyncIterator[Harness]:
    """A harness whose processes reach the database through a proxy each."""
    async with AsyncExitStack() as stack:
        harness = await stack.enter_async_context(open_harness(folder, database.url, SHUTDOWN_GRACE_SECONDS="5"))
        harness.database_fails = True
        for name, proxy in proxies.items():
            harness.urls[name] = await stack.enter_async_context(proxy.listening(database.name))
        try:
            yield harness
        finally:
            await harness.close()  # before the proxies


async def _all_connected(harness: Harness) -> bool:
    return len(harness.discord.gateway.live) == len(HOSTS)


async def _calm_down(scenario: Scenario, breaking: list[bool]) -> None:
    await scenario.finished.wait()
    breaking[0] = False


async def _reached(harness: Harness) -> int:
    """The id of the process that waits at the point."""
    waiting = harness.folder / WAITING
    await harness.until(partial(path_exists, waiting), what="the point is reached")
    return int(await asyncio.to_thread(waiting.read_text))


def _go_on(harness: Harness) -> None:
    (harness.folder / GO).touch()


async def _pause(scenario: Scenario) -> None:
    harness = scenario.harness
    pid = await _reached(harness)
    os.kill(pid, signal.SIGSTOP)
    _go_on(harness)
    harness.disturbed += 1
    try:
        await harness.expire_leases(alone=False)
        await scenario.finished.wait()
        # What Discord remembers of an hour ago: nothing.
        harness.discord.state.forget_nonces()
        harness.discord.gateway.sessions.clear()
        harness.discord.gateway.drop()
    finally:
        os.kill(pid, signal.SIGCONT)

    await harness.until(partial(_all_connected, harness), what="both processes are connected again")
    await asyncio.sleep(CATCH_UP_S)


async def _lose(
    harness: Harness, point: HostPoint, database: ServerDatabase, proxies: dict[str, LossyProxy]
) -> None:
    pid = await _reached(harness)
    name = next(name for name, process in harness.running.items() if process.pid == pid)
    match point.outage:
        case Outage.COMMIT_LOST | Outage.ANSWER_LOST:
            proxies[name].lose = Loss.COMMAND if point.outage is Outage.COMMIT_LOST else Loss.RESPONSE
            _go_on(harness)

            async def lost() -> bool:
                return proxies[name].lost > 0

            await harness.until(lost, what="the commit is lost")
        case Outage.RESTART:
            await asyncio.to_thread(database.server.stop, signal.SIGQUIT)
            _go_on(harness)
            await asyncio.sleep(AWAY_S)
            await asyncio.to_thread(database.server.start)
        case Outage.READ_ONLY:
            await database.execute(f"ALTER DATABASE {database.name} SET default_transaction_read_only = on")
            await _end_sessions(database)
            _go_on(harness)
            await asyncio.sleep(AWAY_S)
            # Sessions that were opened meanwhile stay read-only, as those to a server that is no primary any more.
            await database.execute(f"ALTER DATABASE {database.name} RESET default_transaction_read_only")
        case None:
            raise AssertionError(point)
    harness.disturbed += 1


async def _end_sessions(database: ServerDatabase) -> None:
    sessions = f"FROM pg_stat_activity WHERE datname = '{database.name}'"
    await database.execute(f"SELECT pg_terminate_backend(pid) {sessions}")
