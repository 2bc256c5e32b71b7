"""All deaths, on both databases: `python -m tests.crash`. Prints what came of each, and fails for any loss."""

import argparse
import asyncio
import secrets
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from tests.crash.cases import CaseResult, kill_at_point, kill_at_random
from tests.crash.crash_points import CrashPoint, points
from tests.crash.databases import Databases, Deployment, open_databases

KILLS = 8
"""Deaths in one random run."""

Case = tuple[Deployment, str, Callable[[], Awaitable[CaseResult]]]


def cases(given: argparse.Namespace, databases: Databases) -> list[Case]:
    """What was asked for on the command line."""
    kinds = [Deployment(name) for name in given.databases]
    asked: list[Case] = []
    for kind in kinds if given.only != "random" else []:
        wanted = [point for point in points(kind) if given.at is None or given.at in str(point)]
        asked += [(kind, str(point), _one_death(databases, kind, point)) for point in wanted]
    for number in range(given.random if given.only != "points" else 0):
        kind, seed = kinds[number % len(kinds)], given.seed + number
        name = f"random, seed {seed}{', with faults' if number // len(kinds) % 2 else ''}"
        asked.append((kind, name, _random_deaths(databases, kind, seed, faults="faults" in name)))
    return asked


def _one_death(databases: Databases, kind: Deployment, point: CrashPoint) -> Callable[[], Awaitable[CaseResult]]:
    return lambda: kill_at_point(databases, kind, point)


def _random_deaths(
    databases: Databases, kind: Deployment, seed: int, *, faults: bool
) -> Callable[[], Awaitable[CaseResult]]:
    return lambda: kill_at_random(databases, kind, seed, kills=KILLS, faults=faults)


async def run(asked: Sequence[Case], side_by_side: int) -> list[tuple[Deployment, str, CaseResult]]:
    """Runs all cases, some at once; what is found is said as soon as it is."""
    room, done = asyncio.Semaphore(side_by_side), 0

    async def one(case: Case) -> tuple[Deployment, str, CaseResult]:
        nonlocal done
        kind, name, start = case
        async with room:
            result = await start()
        done += 1
        if result.problems:
            say(f"[{done}/{len(asked)}] {kind}: {name}: {'; '.join(result.problems)}")
            if result.log:
                path = Path(tempfile.gettempdir()) / f"crash-{kind}-{name}.log".replace(" ", "-")
                path.write_text(result.log)
                say(f"    its log: {path}")
        return kind, name, result

    return await asyncio.gather(*map(one, asked))


def table(results: Sequence[tuple[Deployment, str, CaseResult]]) -> list[str]:
    """A line for each point, over all databases: deaths, how the orders ended, what was wrong."""
    lines: dict[str, tuple[Counter[str], Counter[str]]] = defaultdict(lambda: (Counter(), Counter()))
    for _, name, result in results:
        place = "random" if name.startswith("random") else name.rpartition(", #")[0] or name
        totals, ends = lines[place]
        totals += Counter(runs=1, deaths=result.deaths, wrong=len(result.problems))
        ends += result.ends
    shown = ["point | runs | deaths | wrong | how the orders ended"]
    for place, (totals, ends) in lines.items():
        said = ", ".join(f"{end} {count}" for end, count in sorted(ends.items()))
        shown.append(f"{place} | {totals['runs']} | {totals['deaths']} | {totals['wrong']} | {said}")
    return shown


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description=__doc__)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6), help="of the random deaths")
    parser.add_argument(
        "--random", type=int, default=36, help=f"runs with {KILLS} random deaths each (%(default)s)"
    )
    parser.add_argument("--side-by-side", type=int, default=10, help="cases at once (%(default)s)")
    parser.add_argument(
        "--databases", nargs="+", default=list(Deployment), choices=list(Deployment), metavar="KIND"
    )
    parser.add_argument("--only", choices=["points", "random"])
    parser.add_argument("--at", help="only the points whose name holds this")
    given = parser.parse_args()
    began = time.monotonic()
    postgresql = any(name != Deployment.SQLITE for name in given.databases)
    with (
        tempfile.TemporaryDirectory(prefix="crash-") as folder,
        open_databases(Path(folder), postgresql=postgresql) as databases,
    ):
        asked = cases(given, databases)
        say(f"{len(asked)} runs, seed {given.seed}")
        results = asyncio.run(run(asked, given.side_by_side))
    for line in table(results):
        say(line)
    wrong = sum(bool(result.problems) for _, _, result in results)
    deaths = sum(result.deaths for _, _, result in results)
    took_s = time.monotonic() - began
    say(f"{len(results)} runs, {deaths} deaths, {wrong} runs with losses, {took_s:.0f} s, seed {given.seed}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
