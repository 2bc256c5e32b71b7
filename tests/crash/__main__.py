"""The crash campaign: `python -m tests.crash` kills processes at every point and at random, on all databases.

With `--only pauses` and `--only outages`, it pauses a process on two hosts at every point, and takes the database
away in every transaction. A pause lasts until the leases have ended, so these cases are not part of the rest.

Prints its progress and each loss, then a summary; the exit code is 1 if anything was lost.
"""

import argparse
import asyncio
import logging
import secrets
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.crash.bot_process import cpu_s
from tests.crash.cases import CaseResult, kill_at_point, kill_at_random
from tests.crash.crash_points import crash_points, crash_points_of_two_providers
from tests.crash.databases import Databases, Deployment, open_databases
from tests.crash.host_cases import (
    lose_database_at_point,
    lose_database_at_random,
    outages,
    pause_at_point,
    pauses,
)

RANDOM_KILLS = 8
"""Kills in one random case."""
PROGRESS_EVERY = 20
"""Cases between two lines of progress."""


@dataclass(frozen=True)
class Case:
    """One run of the scenario. place: its line in the table."""

    deployment: Deployment
    name: str
    place: str
    run: Callable[[], Awaitable[CaseResult]]


def cases(options: argparse.Namespace, databases: Databases) -> list[Case]:
    """What the command line asks for."""
    deployments = [Deployment(name) for name in options.databases]
    found: list[Case] = []
    if options.only in {None, "points"}:
        for deployment in deployments:
            for point in (*crash_points(deployment), *crash_points_of_two_providers(deployment)):
                if options.at is None or options.at in str(point):
                    run = partial(kill_at_point, databases, deployment, point)
                    found.append(Case(deployment, str(point), f"{point.place}, {point.moment}", run))
    if options.only in {None, "random"}:
        for number in range(options.random):
            deployment, seed = deployments[number % len(deployments)], options.seed + number
            faults = bool(number // len(deployments) % 2)
            run = partial(kill_at_random, databases, deployment, seed, kills=RANDOM_KILLS, faults=faults)
            name = f"random, seed {seed}{', with faults' if faults else ''}"
            found.append(Case(deployment, name, "random", run))
    return found + host_cases(options, databases)


def host_cases(options: argparse.Namespace, databases: Databases) -> list[Case]:
    """Pauses and outages of the database, on two hosts."""
    hosts, found = Deployment.TWO_WORKERS, list[Case]()
    if hosts not in options.databases:
        return found
    kinds = (("pauses", pauses(), pause_at_point), ("outages", outages(), lose_database_at_point))
    for kind, points, run in kinds:
        if options.only == kind:
            for point in points:
                if options.at is None or options.at in str(point):
                    found.append(Case(hosts, str(point), str(point), partial(run, databases, point)))
    if options.only == "outages" and options.at is None:
        for seed in range(options.seed, options.seed + options.random):
            run_random = partial(lose_database_at_random, databases, seed)
            found.append(Case(hosts, f"lost connections, seed {seed}", "lost connections", run_random))
    return found


async def run(chosen: Sequence[Case], side_by_side: int) -> list[CaseResult]:
    """Runs all cases, some side by side, and reports each loss as soon as it is found."""
    slots, began_s, results = asyncio.Semaphore(side_by_side), time.monotonic(), list[CaseResult]()

    async def run_one(case: Case) -> CaseResult:
        async with slots:
            result = await case.run()
        results.append(result)
        if result.problems:
            say(f"LOSS {case.deployment}: {case.name}: {'; '.join(result.problems)}")
            path = Path(tempfile.gettempdir()) / f"crash-{case.deployment}-{case.name}.log".replace(" ", "-")
            path.write_text(result.log)
            say(f"    its log: {path}")
        if len(results) % PROGRESS_EVERY == 0:
            lost = sum(bool(one.problems) for one in results)
            say(f"[{len(results)}/{len(chosen)}] {time.monotonic() - began_s:.0f} s, {lost} cases with losses")
        return result

    return await asyncio.gather(*map(run_one, chosen))


def table(chosen: Sequence[Case], results: Sequence[CaseResult]) -> list[str]:
    """A line for each point, over all deployments: kills, how the orders ended, what was wrong."""
    lines: dict[str, tuple[Counter[str], Counter[str]]] = defaultdict(lambda: (Counter(), Counter()))
    for case, result in zip(chosen, results, strict=True):
        totals, ends = lines[case.place]
        totals += Counter(cases=1, kills=result.kills, wrong=len(result.problems))
        ends += result.ends
    shown = ["point | cases | kills | wrong | how the orders ended"]
    for place, (totals, ends) in lines.items():
        ended = ", ".join(f"{end} {count}" for end, count in sorted(ends.items()))
        shown.append(f"{place} | {totals['cases']} | {totals['kills']} | {totals['wrong']} | {ended}")
    return shown


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description=__doc__)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6), help="of the random kills")
    parser.add_argument(
        "--random", type=int, default=6, help=f"cases with {RANDOM_KILLS} random kills each (%(default)s)"
    )
    parser.add_argument(
        "--side-by-side", type=int, default=6, help="cases at once (%(default)s); most of a case is waiting"
    )
    parser.add_argument(
        "--databases", nargs="+", default=list(Deployment), choices=list(Deployment), metavar="DEPLOYMENT"
    )
    parser.add_argument("--only", choices=["points", "random", "pauses", "outages"])
    parser.add_argument("--at", help="only the points whose name contains this")
    parser.add_argument("--table", action="store_true", help="how the orders ended, by point")
    options = parser.parse_args()
    # Requests that killed processes leave unfinished are expected here.
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)
    began_s = time.monotonic()
    postgresql = any(name != Deployment.SQLITE for name in options.databases)
    with (
        tempfile.TemporaryDirectory(prefix="crash-") as folder,
        open_databases(Path(folder), postgresql=postgresql) as databases,
    ):
        chosen = cases(options, databases)
        say(f"{len(chosen)} cases, seed {options.seed}")
        results = asyncio.run(run(chosen, options.side_by_side))
    if options.table:
        say("\n".join(table(chosen, results)))
    lost = sum(bool(result.problems) for result in results)
    kills = sum(result.kills for result in results)
    say(
        f"{len(results)} cases, {kills} kills, {lost} cases with losses, seed {options.seed}, "
        f"{time.monotonic() - began_s:.0f} s, {cpu_s():.0f} s of CPU"
    )
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
