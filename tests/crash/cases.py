"""Runs the scenario once, has processes killed in it, and audits what is left behind."""

import asyncio
import os
import random
import signal
from asyncio.subprocess import Process
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web

from bot.demo.faults import Ending, Fault, Route
from tests.crash import bot_process
from tests.crash.audit import audit
from tests.crash.crash_points import Point, When, Wire
from tests.crash.databases import Houses, Kind
from tests.crash.fault_points import FaultPoint
from tests.crash.harness import Town, town
from tests.crash.scenario import Scenario
from tests.discord_server import Answer, Hang, Moment, Reset, ill

WITHIN_S = 500.0

_BAD_MOMENTS: list[Answer | Reset] = [
    ill(503),
    ill(502, moment=Moment.AFTER),
    Reset(Moment.BEFORE),
    Reset(Moment.AFTER),
]


@dataclass(frozen=True)
class Result:
    """What became of one run. deaths: how many processes were killed in it."""

    problems: list[str]
    ends: Counter[str] = field(default_factory=Counter)
    deaths: int = 0
    log: str = ""


@dataclass(frozen=True)
class Held(Fault):
    """No answer; `caught` is set once a request has run into it."""

    ending: Ending = Ending.HANG
    caught: asyncio.Event = field(default_factory=asyncio.Event)

    async def play(self, request: web.Request, real: web.StreamResponse | None) -> web.StreamResponse:
        self.caught.set()
        return await Fault.play(self, request, real)


async def at_point(houses: Houses, kind: Kind, point: Point) -> Result:
    """One death at a point, a restart, and the rest without any. At a later time, the nonces are forgotten."""
    grace = {"SHUTDOWN_GRACE_SECONDS": "1"} if point.place is FaultPoint.RELEASE else {}
    async with houses.one(kind) as (folder, url), town(folder, url, **grace) as place:
        place.forgetful = point.nth > 1
        scenario = Scenario(place, waves=point.nth)
        scenario.stumble()
        armed = _fuse(point, folder)
        holding = asyncio.create_task(_hold(place, point))
        await place.start("run", *armed)
        if kind is Kind.TWO_WORKERS:
            await place.start("worker", *armed)
        result = await _finish(scenario, place)
        holding.cancel()
        await asyncio.gather(holding, return_exceptions=True)
        if not result.deaths:
            result.problems.append("nobody died: the point was never reached")
        return result


async def at_random(houses: Houses, kind: Kind, seed: int, *, kills: int, faults: bool) -> Result:
    """Some deaths at random moments. faults: both servers have bad moments, too."""
    chance = random.Random(seed)  # noqa: S311 - to be repeated, not to be secret
    async with houses.one(kind) as (folder, url), town(folder, url) as place:
        scenario = Scenario(place)
        scenario.stumble()
        await place.start("run")
        if kind is Kind.TWO_WORKERS:
            await place.start("worker")
        killing = asyncio.create_task(_kill_at_random(place, chance, kills, faults=faults))
        result = await _finish(scenario, place, killing)
        killing.cancel()
        await asyncio.gather(killing, return_exceptions=True)
        return result


async def _finish(scenario: Scenario, place: Town, also: asyncio.Task[None] | None = None) -> Result:
    try:
        async with asyncio.timeout(WITHIN_S):
            await scenario.run()
            if also is not None:
                await also
            await scenario.settled()
        deaths = place.deaths
        await place.stop()
        findings = await audit(scenario)
    except Exception as error:  # noqa: BLE001 - a finding like any other: this run goes no further
        return Result([*place.problems, f"{type(error).__name__}: {error}"], deaths=place.deaths, log=_log(place))
    return Result(findings.problems, findings.ends, deaths, _log(place) if findings.problems else "")


def _log(place: Town) -> str:
    return "\n".join(path.read_text() for path in sorted(place.folder.glob("*.log")))


def _fuse(point: Point, folder: Path) -> list[str]:
    if not isinstance(point.place, FaultPoint):
        return []
    moment = "after" if point.when is When.AFTER else "before"
    armed = ["--at", str(point.place), moment, str(point.nth), str(folder)]
    return armed if point.when in {When.BEFORE, When.AFTER} else ["--hand-over", *armed]


async def _hold(place: Town, point: Point) -> None:
    """Sees to it that the request gets no answer, and kills the process that waits for one."""
    if point.place is FaultPoint.RELEASE:
        await _stop_in_the_middle(place)
        return
    if point.when not in {When.HELD, When.TAKEN}:
        return
    waiting = place.folder / bot_process.WAITING
    if isinstance(point.place, FaultPoint):
        await place.until(lambda: _exists(waiting), what=f"{point} is reached")
    match point.request:
        case Wire(method, path):
            fault = Hang(Moment.AFTER if point.when is When.TAKEN else Moment.BEFORE)
            place.discord.fail_next(method, path, fault)
            (place.folder / bot_process.GO).touch()

            async def caught() -> bool:
                return any(call.fault is fault for call in place.discord.requests)

            await place.until(caught, what=f"{point} is out")
        case Route() as route:
            held = Held(takes_effect=point.when is When.TAKEN)
            place.upstream.fault(route, held)
            (place.folder / bot_process.GO).touch()
            await held.caught.wait()
        case None:
            return
    pid = int(waiting.read_text()) if waiting.exists() else place.running["run"].pid
    os.kill(pid, signal.SIGKILL)


async def _stop_in_the_middle(place: Town) -> None:
    """Asks the process to stop while a download hangs, so that it has to give a lease back."""
    held = Held(takes_effect=False)
    place.upstream.fault(Route.RESULT, held)
    await held.caught.wait()
    for process in list(place.running.values()):
        process.send_signal(signal.SIGTERM)


async def _exists(path: Path) -> bool:
    return await asyncio.to_thread(path.exists)


async def _kill_at_random(place: Town, chance: random.Random, kills: int, *, faults: bool) -> None:
    for _ in range(kills):
        await asyncio.sleep(chance.uniform(0.6, 4.0))
        if faults:
            _have_a_bad_moment(place, chance)
        command = chance.choice(sorted(place.running))
        killed = place.running[command]
        killed.kill()
        if chance.random() < 1 / 3:
            place.discord.world.forget_nonces()

        async def back(command: str = command, killed: Process = killed) -> bool:
            return place.running[command] is not killed

        await place.until(back, what="the process is started again")


def _have_a_bad_moment(place: Town, chance: random.Random) -> None:
    """The next requests of some kinds fail, or are done and get no answer."""
    for _ in range(chance.randint(0, 3)):
        fault = chance.choice(_BAD_MOMENTS)
        place.discord.fail_next(chance.choice(["POST", "PATCH", "GET"]), "/channels/*/messages*", fault)
    for _ in range(chance.randint(0, 3)):
        bad = chance.choice([Fault(status=503), Fault(ending=Ending.RESET), Fault(ending=Ending.HALF)])
        place.upstream.fault(chance.choice([Route.LOOK, Route.RESULT]), bad)
