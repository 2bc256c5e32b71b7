"""`python -m tests.soak --minutes 3`: prints measurements; fails if a level rises or a guarantee is violated."""

import argparse
import asyncio
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from sqlalchemy import select

from bot.domain.jobs import ACTIVE, FailureReason, JobState
from bot.store.engine import Database
from bot.store.schema import jobs
from tests.discord_server import DiscordServer
from tests.faulty_gateway import FaultyGateway
from tests.soak.levels import ALLOWED, Probe, rises, thirds
from tests.soak.load_generator import LoadGenerator

SETTINGS = {
    "POLL_MIN_SECONDS": "0.2",
    "POLL_MAX_SECONDS": "1",
    "UPSTREAM_MAX_RUNNING": "10",
    "UPSTREAM_SUBMITS_PER_SECOND": "20",
    "QUOTA_VIDEOS_PER_DAY": "10000",
    "QUOTA_RUNNING": "100",
    "QUOTA_PAUSE_SECONDS": "0",
    "OPEN_TO_ALL_SERVERS": "true",
    **dict.fromkeys(
        (
            "BUDGET_USD_PER_DAY",
            "BUDGET_USD_PER_MONTH",
            "SERVER_BUDGET_USD_PER_DAY",
            "SERVER_BUDGET_USD_PER_MONTH",
        ),
        "100000",
    ),
}
KEY = "key-of-the-soak"
SAMPLES = 90
DRAIN_S = 600


@asynccontextmanager
async def bot(
    folder: Path, discord: DiscordServer, upstream: FaultyGateway
) -> AsyncIterator[tuple[asyncio.subprocess.Process, Probe]]:
    """The whole bot in its own process, with its output in a file."""
    temporary, log, database = folder / "tmp", folder / "log", folder / "soak.db"
    temporary.mkdir()
    environment = SETTINGS | {
        "PATH": os.environ["PATH"],
        "TMPDIR": str(temporary),
        "DISCORD_TOKEN": discord.token,
        "VTRIX_API_KEY": KEY,
        "VTRIX_BASE_URL": upstream.url,
        "DATABASE_URL": f"sqlite:///{database}",
        "DISCORD_API_URL": discord.api_url,
        "DISCORD_GATEWAY_URL": discord.gateway_url,
    }
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bot", "run", env=environment, cwd=folder, stdout=output, stderr=output
        )
        try:
            yield process, Probe(process.pid, log, temporary, database)
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()


async def rows(database: Path) -> list[tuple[str, str, str | None]]:
    """Id, state and failure of every job."""
    async with Database.open(f"sqlite:///{database}") as opened, opened.read() as connection:
        found = await connection.execute(select(jobs.c.id, jobs.c.state, jobs.c.failure_reason))
        return [(row.id, row.state, row.failure_reason) for row in found]


def guarantee_violations(
    discord: DiscordServer, upstream: FaultyGateway, found: list[tuple[str, str, str | None]]
) -> list[str]:
    """What was lost or duplicated, one sentence each; empty if nothing was."""
    problems = []
    prompts = Counter(task.create.prompt for task in upstream.tasks.values())
    problems += [f"{prompt!r} was paid for {count} times" for prompt, count in prompts.items() if count > 1]
    videos = Counter(
        custom_id.rpartition(":")[2]
        for message in discord.messages()
        if message.has_video
        for custom_id in message.custom_ids
        if custom_id.startswith("zoetrope:video:")
    )
    for job_id, state, failure in found:
        due = int(state == JobState.DELIVERED)
        if videos[job_id] != due:
            problems.append(f"job {job_id} is {state} and has {videos[job_id]} videos")
        if state in ACTIVE or (state == JobState.FAILED and failure != FailureReason.OUTCOME_UNKNOWN):
            problems.append(f"job {job_id} ended as {state}: {failure}")
    return problems


async def soak(minutes: float, seed: int) -> int:
    """Runs the soak test; returns the exit code."""
    rng, samples = random.Random(seed), []  # noqa: S311 - repeatable
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with (
            DiscordServer() as discord,
            FaultyGateway(folder / "upstream", KEY, task_seconds=1) as upstream,
            bot(folder, discord, upstream) as (process, probe),
        ):
            while not discord.gateway.live:
                if process.returncode is not None:
                    raise SystemExit(f"the bot did not start: {probe.log.read_text()}")
                await asyncio.sleep(0.1)
            load = LoadGenerator(discord, upstream, rng)
            load_task = asyncio.create_task(load.run())
            end, pause_s = time.monotonic() + minutes * 60, minutes * 60 / SAMPLES
            while time.monotonic() < end and process.returncode is None:
                probe.ask()
                await asyncio.wait({load_task}, timeout=pause_s)
                if load_task.done():
                    break
                samples.append(probe.take(len(await rows(probe.database))))
            load_task.cancel()
            with suppress(asyncio.CancelledError):
                await load_task
            found = await wait_until_drained(discord, upstream, probe, process)
            process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(120):
                code = await process.wait()
            violations = guarantee_violations(discord, upstream, found)
            print(f"orders {load.orders}, faults {load.faults}, not sent {load.not_sent}")
            print(f"jobs {dict(Counter(failure or state for _, state, failure in found))}; exit code {code}")
            if code or violations:
                print("\n".join(violations), probe.log.read_text()[-3000:], sep="\n")
    return _report(samples, ok=code == 0 and not violations)


async def wait_until_drained(
    discord: DiscordServer, upstream: FaultyGateway, probe: Probe, process: asyncio.subprocess.Process
) -> list[tuple[str, str, str | None]]:
    """Removes the remaining faults, and returns the jobs once all have ended."""
    discord.faults.clear()
    for waiting in upstream._faults.values():
        waiting.clear()
    end = time.monotonic() + DRAIN_S
    while True:
        found = await rows(probe.database)
        if process.returncode is not None or time.monotonic() > end:
            return found
        if not any(state in ACTIVE for _, state, _ in found):
            return found
        await asyncio.sleep(0.5)


def _report(samples: list[dict[str, float]], *, ok: bool) -> int:
    print(f"{'level':<22}{'first third':>13}{'second':>10}{'last':>10}")
    for name, allowance in ALLOWED.items():
        series = [sample[name] for sample in samples]
        up = rises(series, allowance)
        ok = ok and not up
        print(f"{name:<22}" + "{:>13.1f}{:>10.1f}{:>10.1f}".format(*thirds(series)) + ("  RISES" if up else ""))
    print("no level rises, nothing lost, nothing duplicated" if ok else "FAILED")
    return 0 if ok else 1


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=3)
    parser.add_argument("--seed", type=int, default=None, help="repeats what is drawn: members and faults")
    given = parser.parse_args()
    seed = random.SystemRandom().randrange(10**6) if given.seed is None else given.seed
    print(f"soaking for {given.minutes:g} minutes, --seed {seed}", flush=True)
    sys.exit(asyncio.run(soak(given.minutes, seed)))


if __name__ == "__main__":
    main()
