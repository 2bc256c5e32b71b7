"""`python -m tests.hosts --minutes 5 --seed 7`: prints counts and each loss; the exit code is 1 if there is one.

Orders arrive through the local Discord all the time, and services fail now and then, while the processes and their
database are disturbed. At the end everything is left in peace until nothing is due any more.
"""

import argparse
import asyncio
import logging
import os
import random
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from bot.store.engine import Database
from bot.store.maintenance.migrate import migrate
from bot.store.schema import guilds
from tests.cogs.conftest import sample_picture
from tests.crash.bot_process import start_server
from tests.discord_server import Channel, DiscordServer, InputRejected
from tests.discord_server.interactions import Interaction
from tests.faulty_gateway import FaultyGateway
from tests.hosts.books import Findings, audit, is_drained
from tests.hosts.fleet import Fleet
from tests.soak.__main__ import SETTINGS
from tests.soak.load_generator import LoadGenerator
from tests.store import postgres_server

KEY = "key-of-the-hosts"
ACCEPTED_TEXT = "Got it!"
MEMBERS = 40
ORDER_PAUSE_S = 1.2
FAULT_CHANCE = 0.1
"""With each order, of a fault of the gateway or of Discord."""
DISTURBANCE_PAUSE_S = (1.0, 8.0)
REPLY_TIMEOUT_S = 900.0
DRAIN_TIMEOUT_S = 900.0
"""As long as the longest lease and pause, several times."""


@dataclass(frozen=True)
class Size:
    """How many processes there are. shards: whether each gateway process has its share of the servers."""

    gateways: int = 2
    workers: int = 2
    shards: bool = False


@dataclass
class Orders:
    """Members that keep ordering. placed: orders that were sent. accepted: how many answers said so, by prompt."""

    discord: DiscordServer
    rng: random.Random
    placed: int = 0
    accepted: Counter[str] = field(default_factory=Counter)
    replies: Counter[str] = field(default_factory=Counter)
    _waiting: set[asyncio.Task[None]] = field(default_factory=set)

    async def run(self, faults: LoadGenerator) -> None:
        """Until it is cancelled."""
        add_member = self.discord.state.add_member
        members = [add_member(self.discord.guild, f"m{number}") for number in range(MEMBERS)]
        picture = sample_picture()
        while True:
            prompt = f"order {self.placed} of many"
            with suppress(InputRejected, TimeoutError):  # no process is connected to Discord
                interaction = await self.discord.slash(
                    "animate", self.rng.choice(members), None, {"prompt": prompt}, {"image": picture}
                )
                self.placed += 1
                task = asyncio.create_task(self._await_reply(interaction, prompt))
                self._waiting.add(task)
                task.add_done_callback(self._waiting.discard)
            if self.rng.random() < FAULT_CHANCE:
                faults.inject_fault()
            await asyncio.sleep(self.rng.uniform(0, 2 * ORDER_PAUSE_S))

    def close(self) -> None:
        """Waits for no more replies."""
        for task in self._waiting:
            task.cancel()

    async def _await_reply(self, interaction: Interaction, prompt: str) -> None:
        with suppress(TimeoutError):
            reply = await interaction.answer(timeout_s=REPLY_TIMEOUT_S)
            accepted = ACCEPTED_TEXT in reply.content
            self.replies["accepted" if accepted else reply.content.split(".")[0][:60]] += 1
            self.accepted.update([prompt] if accepted else [])


async def campaign(minutes: float, seed: int, size: Size = Size()) -> Findings:
    """Runs the campaign, prints what was done, and returns what was found."""
    rng = random.Random(seed)  # noqa: S311 - repeatable
    with tempfile.TemporaryDirectory(prefix="hosts-") as name, postgres_server.started() as server:
        folder = Path(name)
        async with (
            DiscordServer() as discord,
            FaultyGateway(folder / "upstream", KEY, task_seconds=1) as upstream,
            Database.open(server.url) as database,
        ):
            log_channel = discord.state.add_channel(discord.guild, "log")
            operator_channel = discord.state.add_channel(discord.guild, "operator")
            await migrate(database)
            await _log_to(database, log_channel)
            environment = _environment(folder, server.url, discord, upstream, operator_channel)
            fleet = Fleet(folder, environment, server, discord, rng)
            orders = Orders(discord, rng)
            try:
                _start(fleet, size)
                await discord.state.until(lambda: discord.gateway.live, timeout_s=120)
                await _disturb(fleet, orders, LoadGenerator(discord, upstream, rng), minutes * 60)
                await _drain(fleet, database, discord, upstream)
                await fleet.stop()
                orders.close()
                findings = await audit(database, discord, upstream, log_channel, operator_channel, orders.accepted)
            finally:
                await fleet.close()
            findings.problems.extend([*fleet.problems, *_logged(folder, server)])
            _report(fleet, orders, upstream, findings)
            if findings.problems:
                _keep_logs(folder)
    return findings


def _start(fleet: Fleet, size: Size) -> None:
    for number in range(size.gateways):
        shards = ["--shards", f"{number}-{number}/{size.gateways}"] if size.shards else []
        fleet.start(f"run {number}", shards)
    for number in range(size.workers):
        fleet.start(f"worker {number}")


async def _disturb(fleet: Fleet, orders: Orders, faults: LoadGenerator, seconds: float) -> None:
    ordering = asyncio.create_task(orders.run(faults))
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s and not ordering.done():
        await asyncio.sleep(fleet.rng.uniform(*DISTURBANCE_PAUSE_S))
        await fleet.disturb()
    ordering.cancel()
    with suppress(asyncio.CancelledError):
        await ordering
    await fleet.calm()


async def _drain(fleet: Fleet, database: Database, discord: DiscordServer, upstream: FaultyGateway) -> None:
    """Removes the faults that are left, and waits until nothing is due."""
    discord.faults.clear()
    for waiting in upstream._faults.values():
        waiting.clear()
    try:
        async with asyncio.timeout(DRAIN_TIMEOUT_S):
            while not await is_drained(database):
                await asyncio.sleep(1)
    except TimeoutError:
        fleet.problems.append("something is due for ever")


async def _log_to(database: Database, channel: Channel) -> None:
    async with database.write() as connection:
        await connection.execute(
            guilds.insert().values(
                id=channel.guild.id,
                access="open",
                admins_exempt=False,
                allowed_resolutions=["480P", "720P"],
                age_restricted_only=False,
                approval_required=False,
                paused=False,
                violation_limit=0,
                violation_pause_hours=0,
                log_channel_id=channel.id,
                welcomed_at=datetime.now(UTC),
            )
        )


def _environment(
    folder: Path, url: str, discord: DiscordServer, upstream: FaultyGateway, operator_channel: Channel
) -> dict[str, str]:
    return SETTINGS | {
        "PATH": os.environ["PATH"],
        "TMPDIR": str(folder),
        "DISCORD_TOKEN": discord.token,
        "VTRIX_API_KEY": KEY,
        "VTRIX_BASE_URL": upstream.url,
        "UPSTREAM_BODY": "envelope",
        "DATABASE_URL": url,
        "DISCORD_API_URL": discord.api_url,
        "DISCORD_GATEWAY_URL": discord.gateway_url,
        "OPERATOR_LOG_CHANNEL_ID": str(operator_channel.id),
        "SHUTDOWN_GRACE_SECONDS": "10",
    }


def _logged(folder: Path, server: postgres_server.Server) -> list[str]:
    """What the logs say that none may say."""
    signs = ("deadlock detected", "was never retrieved", "was never awaited")
    logs = [server.folder / "log", *folder.glob("*.log")]
    return [
        f"{path.name}: {line[:200]}"
        for path in logs
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines()
        if any(sign in line for sign in signs)
    ]


def _report(fleet: Fleet, orders: Orders, upstream: FaultyGateway, findings: Findings) -> None:
    say(f"disturbances: {dict(sorted(fleet.counts.items()))}")
    say(f"orders placed: {orders.placed}; replies: {dict(orders.replies.most_common(6))}")
    say(f"jobs: {dict(findings.ends)}; tasks paid: {len(upstream.tasks)}")
    for problem in findings.problems:
        say(f"LOSS {problem}")


def _keep_logs(folder: Path) -> None:
    kept = Path(tempfile.mkdtemp(prefix="hosts-logs-"))
    for path in folder.glob("*.log"):
        path.rename(kept / path.name)
    say(f"their logs: {kept}")


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.hosts", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--seed", type=int, default=None, help="repeats the same orders and disturbances")
    parser.add_argument("--gateways", type=int, default=2, help="processes that answer commands (%(default)s)")
    parser.add_argument("--workers", type=int, default=2, help="processes that only work on jobs (%(default)s)")
    parser.add_argument("--shards", action="store_true", help="each gateway process has its share of the servers")
    given = parser.parse_args()
    seed = random.SystemRandom().randrange(10**6) if given.seed is None else given.seed
    # Requests that killed processes leave unfinished are expected here.
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)
    say(f"{given.minutes:g} minutes, --seed {seed}")
    start_server()
    began_s = time.monotonic()
    findings = asyncio.run(campaign(given.minutes, seed, Size(given.gateways, given.workers, given.shards)))
    losses = len(findings.problems)
    say(f"{sum(findings.ends.values())} jobs, {losses} losses, seed {seed}, {time.monotonic() - began_s:.0f} s")
    return 1 if losses else 0


if __name__ == "__main__":
    sys.exit(main())
