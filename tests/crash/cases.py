"""Runs the scenario once, kills processes in it, and audits what is left."""

import asyncio
import os
import random
import signal
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web

from tests import dashscope_gateway
from tests.crash.audit import audit
from tests.crash.bot_process import GO, REACHED, WAITING, BotProcess, Recorder, Trigger
from tests.crash.crash_points import CrashMoment, CrashPoint, DiscordRequest
from tests.crash.databases import Databases, Deployment
from tests.crash.fault_points import FaultPoint, FaultTiming
from tests.crash.harness import Harness, open_harness
from tests.crash.scenario import KINDS, Scenario
from tests.discord_server import Answer, FaultPhase, Hang, Reset, server_error
from tests.faulty_gateway import Ending, Fault, Route

CASE_TIMEOUT_S = 500.0

_DISCORD_FAULTS: list[Answer | Reset] = [
    server_error(503),
    server_error(502, phase=FaultPhase.AFTER),
    Reset(FaultPhase.BEFORE),
    Reset(FaultPhase.AFTER),
]


@dataclass(frozen=True)
class CaseResult:
    """What one case found. kills: how many processes were killed or otherwise disturbed in it."""

    problems: list[str]
    ends: Counter[str] = field(default_factory=Counter)
    kills: int = 0
    log: str = ""


@dataclass(frozen=True)
class Unanswered(Fault):
    """A request that never gets an answer; `reached` is set once one arrived."""

    ending: Ending = Ending.HANG
    reached: asyncio.Event = field(default_factory=asyncio.Event)

    async def play(self, request: web.Request, real: web.StreamResponse | None) -> web.StreamResponse:
        self.reached.set()
        return await Fault.play(self, request, real)


async def kill_at_point(databases: Databases, deployment: Deployment, point: CrashPoint) -> CaseResult:
    """One kill at a point, then a restart and no further kill. For a later hit, Discord forgets its nonces."""
    grace = {"SHUTDOWN_GRACE_SECONDS": "1"} if point.place is FaultPoint.RELEASE else {}
    settings = {"PROVIDERS": point.providers, **grace}
    async with databases.fresh(deployment) as (folder, url), open_harness(folder, url, **settings) as harness:
        harness.forgets_nonces = point.hit > 1
        scenario = Scenario(harness, waves=point.waves, kinds=point.kinds)
        trigger = _trigger(point, folder)
        arranging = asyncio.create_task(_arrange_kill(harness, point))
        harness.start("run", trigger)
        if deployment is Deployment.TWO_WORKERS:
            harness.start("worker", trigger)
        result = await finish(scenario, harness)
        arranging.cancel()
        await asyncio.gather(arranging, return_exceptions=True)
        if not result.kills:
            result.problems.append("no process was killed: the point was never reached")
        return result


async def kill_at_random(
    databases: Databases, deployment: Deployment, seed: int, *, kills: int, faults: bool, waves: int = 2
) -> CaseResult:
    """Some kills at random moments. faults: Discord and the gateway fail now and then, too."""
    rng = random.Random(seed)  # noqa: S311 - repeatable
    async with databases.fresh(deployment) as (folder, url), open_harness(folder, url) as harness:
        scenario = Scenario(harness, waves=waves)
        harness.start("run")
        if deployment is Deployment.TWO_WORKERS:
            harness.start("worker")
        killer = asyncio.create_task(_kill_at_random(harness, rng, kills, faults=faults))
        result = await finish(scenario, harness, killer)
        killer.cancel()
        await asyncio.gather(killer, return_exceptions=True)
        return result


async def record(
    databases: Databases, deployment: Deployment, kinds: Collection[str] = KINDS
) -> Counter[tuple[FaultPoint, FaultTiming]]:
    """How often each point is reached where no process is killed, and one is stopped in the middle of a job."""
    grace = {"SHUTDOWN_GRACE_SECONDS": "1"}
    async with databases.fresh(deployment) as (folder, url), open_harness(folder, url, **grace) as harness:
        harness.start("run", Recorder(folder))
        stopping = asyncio.create_task(_stop_in_the_middle(harness))
        result = await finish(Scenario(harness, kinds=kinds), harness, stopping)
        assert not result.problems, result.problems
        lines = (folder / REACHED).read_text(encoding="utf-8").splitlines()
    return Counter(
        (FaultPoint(point), FaultTiming(timing)) for point, timing in (line.split(", ") for line in lines)
    )


async def finish(scenario: Scenario, harness: Harness, background: asyncio.Task[None] | None = None) -> CaseResult:
    """Runs the scenario to its end, stops the processes and audits. background: what happens meanwhile."""
    try:
        async with asyncio.timeout(CASE_TIMEOUT_S):
            await scenario.run()
            if background is not None:
                await background
            await scenario.wait_until_idle()
        kills = harness.kills + harness.disturbed
        await harness.stop()
        findings = await audit(scenario)
    except Exception as error:  # noqa: BLE001 - a finding like any other; this case ends here
        if background is not None:
            background.cancel()
            await asyncio.gather(background, return_exceptions=True)
        return CaseResult(
            [*harness.problems, f"{type(error).__name__}: {error}"], kills=harness.kills, log=_log(harness)
        )
    return CaseResult(findings.problems, findings.ends, kills, _log(harness) if findings.problems else "")


def _log(harness: Harness) -> str:
    return "\n".join(path.read_text() for path in sorted(harness.folder.glob("*.log")))


def _trigger(point: CrashPoint, folder: Path) -> Trigger | None:
    if not isinstance(point.place, FaultPoint):
        return None
    timing = FaultTiming.AFTER if point.moment is CrashMoment.AFTER else FaultTiming.BEFORE
    hand_over = point.moment not in {CrashMoment.BEFORE, CrashMoment.AFTER}
    return Trigger(point.place, timing, point.hit, folder, hand_over)


async def _arrange_kill(harness: Harness, point: CrashPoint) -> None:
    """Lets the request go without an answer, and kills the process that waits for one."""
    if point.place is FaultPoint.RELEASE:
        await _stop_in_the_middle(harness)
        return
    if point.moment not in {CrashMoment.UNANSWERED, CrashMoment.UNANSWERED_AFTER_EFFECT}:
        return
    waiting = harness.folder / WAITING
    if isinstance(point.place, FaultPoint):
        await harness.until(lambda: path_exists(waiting), what=f"{point} is reached")
    match point.request:
        case DiscordRequest(method, path, text):
            fault = Hang(
                FaultPhase.AFTER if point.moment is CrashMoment.UNANSWERED_AFTER_EFFECT else FaultPhase.BEFORE
            )
            harness.discord.fail_next(method, path, fault, text=text)
            (harness.folder / GO).touch()

            async def was_sent() -> bool:
                return any(call.fault is fault for call in harness.discord.requests)

            await harness.until(was_sent, what=f"{point}: the request is sent")
        case Route() as route:
            unanswered = Unanswered(takes_effect=point.moment is CrashMoment.UNANSWERED_AFTER_EFFECT)
            if point.at_second:
                harness.second.fault(dashscope_gateway.Route(route), unanswered)
            else:
                harness.upstream.fault(route, unanswered)
            (harness.folder / GO).touch()
            await unanswered.reached.wait()
        case None:
            return
    pid = int(waiting.read_text()) if waiting.exists() else harness.running["run"].pid
    os.kill(pid, signal.SIGKILL)


async def _stop_in_the_middle(harness: Harness) -> None:
    """Asks the process to stop while a download hangs, so that it has to give a lease back."""
    unanswered = Unanswered(takes_effect=False)
    harness.upstream.fault(Route.RESULT, unanswered)
    await unanswered.reached.wait()
    for process in list(harness.running.values()):
        process.send_signal(signal.SIGTERM)


async def path_exists(path: Path) -> bool:
    return await asyncio.to_thread(path.exists)


async def _kill_at_random(harness: Harness, rng: random.Random, kills: int, *, faults: bool) -> None:
    for _ in range(kills):
        await asyncio.sleep(rng.uniform(0.6, 4.0))
        if faults:
            _inject_faults(harness, rng)
        command = rng.choice(sorted(harness.running))
        killed = harness.running[command]
        killed.kill()
        if rng.random() < 1 / 3:
            harness.discord.state.forget_nonces()

        async def restarted(command: str = command, killed: BotProcess = killed) -> bool:
            return harness.running[command] is not killed

        await harness.until(restarted, what="the process is started again")


def _inject_faults(harness: Harness, rng: random.Random) -> None:
    """Lets the next requests of some kinds fail, some of them after they took effect."""
    for _ in range(rng.randint(0, 3)):
        fault = rng.choice(_DISCORD_FAULTS)
        harness.discord.fail_next(rng.choice(["POST", "PATCH", "GET"]), "/channels/*/messages*", fault)
    for _ in range(rng.randint(0, 3)):
        bad = rng.choice([Fault(status=503), Fault(ending=Ending.RESET), Fault(ending=Ending.HALF)])
        harness.upstream.fault(rng.choice([Route.POLL, Route.RESULT]), bad)
