"""Measures the whole bot, in a process of its own, while it works through a queue.

The queue is made from one real order of a phone's photo: its rows are copied, so that hundreds of jobs are there
at once and the time of ordering is not measured. Between a fifth and nine tenths of the jobs, the bot is at its
steady rate. The local Discord and the local gateway run in this process: of two cores, the bot has one.
"""

import asyncio
import sqlite3
import tempfile
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import psutil  # type: ignore[import-untyped]  # it has no types
from aiohttp import web
from aiohttp.typedefs import Handler

from tests.bench.pictures import PLENTY
from tests.bench.report import HERE, Checkout
from tests.bench.whole_bot import running_bot, until_connected
from tests.discord_server import DiscordServer
from tests.faulty_gateway import Fault, FaultyGateway, Route, route_of

KEY = "key-of-the-measurement"
SERVERS = 40
FROM_SHARE, TO_SHARE = 0.2, 0.9
WITHIN_S = 600.0
SETTINGS = PLENTY | {
    "VTRIX_API_KEY": KEY,
    "QUEUE_MAX": "100000",
    "POLL_MIN_SECONDS": "0.2",
    "POLL_MAX_SECONDS": "1",
    "UPSTREAM_SUBMITS_PER_SECOND": "100",
}


@dataclass(frozen=True, slots=True)
class Point:
    """What was measured with so many slots.

    jobs: how many the figures are of. per_s: the rate at which they ended. cpu_s, polls, discord_requests: for
    each job; the CPU time is that of the process and its children. rss_bytes: at the end, with children.
    """

    slots: int
    submits_per_s: float
    task_s: float
    jobs: int
    per_s: float
    cpu_s: float
    polls: float
    discord_requests: float
    rss_bytes: int


@dataclass(frozen=True, slots=True)
class Sizes:
    """Bytes of one job in a SQLite file, without and with its picture."""

    row: float
    picture: float


class CountingGateway(FaultyGateway):
    """The local gateway; counts the polls."""

    def __init__(self, folder: Path, *, task_seconds: float) -> None:
        super().__init__(folder, KEY, task_seconds=task_seconds)
        self.polls = 0

    @web.middleware
    async def _inject(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self.polls += route_of(request) is Route.POLL
        return await super()._inject(request, handler)


@dataclass
class Bench:
    """The servers around the bot, and the one order that all jobs are copies of.

    last: the database of the last measurement, and how many jobs it had.
    """

    discord: DiscordServer
    gateway: CountingGateway
    folder: Path
    order: Path = field(init=False)
    last: tuple[Path, int] = field(init=False)

    @classmethod
    @asynccontextmanager
    async def open(cls, picture: bytes) -> AsyncIterator[Self]:
        """With an order of this picture, whose status card is posted."""
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            async with DiscordServer() as discord, CountingGateway(folder / "results", task_seconds=1) as gateway:
                for number in range(1, SERVERS):
                    discord.state.add_channel(discord.state.add_guild(f"server {number}"), "general")
                bench = cls(discord, gateway, folder)
                await bench._place_order(picture)
                yield bench

    async def _place_order(self, picture: bytes) -> None:
        self.order = self.folder / "order.db"
        self.gateway.fault(Route.CREATE, Fault(status=429, headers={"Retry-After": "900"}), times=100)
        async with self._bot(self.order, {}):
            member = self.discord.state.add_member(self.discord.guild, "member")
            await until_connected(self.discord)
            options: dict[str, Any] = {"prompt": "the waves roll in while the camera slowly rises above the pier"}
            await self.discord.slash("animate", member, options=options, attachments={"image": picture})
            async with asyncio.timeout(WITHIN_S):
                while _count(self.order, "state = 'queued' AND status_message_id IS NOT NULL") == 0:
                    await asyncio.sleep(0.05)
        await self.discord.state.until(lambda: not self.discord.gateway.live)
        self.gateway._faults[Route.CREATE].clear()

    @asynccontextmanager
    async def _bot(self, file: Path, also: dict[str, str]) -> AsyncIterator[psutil.Process]:
        settings = SETTINGS | {"VTRIX_BASE_URL": self.gateway.url, "DATABASE_URL": f"sqlite:///{file}"} | also
        async with running_bot(Checkout(HERE), self.discord, settings) as process:
            yield psutil.Process(process.pid)

    async def measure(self, slots: int, *, task_s: float, jobs: int, submits_per_s: float = 100) -> Point:
        """Lets the bot work through so many jobs."""
        file = self.folder / f"{uuid.uuid4().hex}.db"
        await asyncio.to_thread(copy_orders, self.order, file, jobs, self._channels())
        self.gateway.task_seconds = task_s
        self.discord.requests.clear()
        also = {"UPSTREAM_MAX_RUNNING": str(slots), "UPSTREAM_SUBMITS_PER_SECOND": str(submits_per_s)}
        async with self._bot(file, also) as bot:
            first = await self._until(file, bot, round(jobs * FROM_SHARE))
            last = await self._until(file, bot, round(jobs * TO_SHARE))
        await self.discord.state.until(lambda: not self.discord.gateway.live)
        self.last = file, jobs
        done = last.jobs - first.jobs
        return Point(
            slots,
            submits_per_s,
            task_s,
            done,
            done / (last.at_s - first.at_s),
            (last.cpu_s - first.cpu_s) / done,
            (last.polls - first.polls) / done,
            (last.requests - first.requests) / done,
            last.rss_bytes,
        )

    def _channels(self) -> list[tuple[int, int]]:
        return [(guild.id, channel) for guild in self.discord.state.guilds.values() for channel in guild.channels]

    async def _until(self, file: Path, bot: psutil.Process, delivered: int) -> "_Reading":
        """Waits for so many ended jobs."""
        async with asyncio.timeout(WITHIN_S):
            while (count := _count(file, "state = 'delivered'")) < delivered:
                assert bot.is_running(), "the bot has ended"
                await asyncio.sleep(0.05)
        processes = [bot, *bot.children(recursive=True)]
        cpu = bot.cpu_times()
        return _Reading(
            asyncio.get_running_loop().time(),
            count,
            cpu.user + cpu.system + cpu.children_user + cpu.children_system,
            self.gateway.polls,
            sum(_counts(call.path) for call in self.discord.requests),
            sum(process.memory_info().rss for process in processes),
        )


@dataclass(frozen=True, slots=True)
class _Reading:
    at_s: float
    jobs: int
    cpu_s: float
    polls: int
    requests: int
    rss_bytes: int


def _counts(path: str) -> bool:
    """Whether a request counts for Discord's global limit."""
    return not path.startswith(("/interactions/", "/webhooks/"))


def _count(file: Path, where: str) -> int:
    if not file.exists():
        return 0
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=30)) as database:
        try:
            found: tuple[int] = database.execute(f"SELECT count(*) FROM jobs WHERE {where}").fetchone()  # noqa: S608
        except sqlite3.OperationalError:  # its tables aren't there yet
            return 0
    return found[0]


def copy_orders(order: Path, file: Path, jobs: int, channels: list[tuple[int, int]]) -> None:
    """Makes a database with so many copies of the one order, over these servers and channels in turn."""
    with closing(sqlite3.connect(order)) as source, closing(sqlite3.connect(file)) as target:
        source.backup(target)
        [(original,)] = target.execute("SELECT id FROM jobs").fetchall()
        for number in range(jobs):
            guild_id, channel_id = channels[number % len(channels)]
            changed = {"guild_id": guild_id, "channel_id": channel_id, "status_message_id": None}
            job_id = uuid.uuid4().hex[: len(original)]
            _copy_row(target, "jobs", original, changed | {"id": job_id})
            for table in ("first_frames", "kept_pictures"):
                _copy_row(target, table, original, {"job_id": job_id})
            _copy_row(target, "ledger", original, {"job_id": job_id, "guild_id": guild_id, "id": None})
        target.execute("UPDATE kept_pictures SET origin_id = job_id")
        target.execute("DELETE FROM jobs WHERE id = ?", (original,))
        target.execute("UPDATE jobs SET due_at = created_at, attempts = 0, refused_by = NULL")
        target.execute("UPDATE submission_gates SET opens_at = NULL, consecutive_failures = 0, reason = NULL")
        target.execute("DELETE FROM status_cards")
        target.commit()


def _copy_row(database: sqlite3.Connection, table: str, original: str, changed: dict[str, Any]) -> None:
    names = [row[1] for row in database.execute(f"PRAGMA table_info({table})")]
    key = "id" if table == "jobs" else "job_id"
    values = ", ".join("?" if name in changed else f'"{name}"' for name in names)
    given = [changed[name] for name in names if name in changed]
    quoted = ", ".join(f'"{name}"' for name in names)
    database.execute(
        f'INSERT INTO {table} ({quoted}) SELECT {values} FROM {table} WHERE "{key}" = ?',  # noqa: S608 - our names
        [*given, original],
    )


def sizes(file: Path, jobs: int) -> Sizes:
    """What a job takes in the file of a bot that has delivered so many; compacts a copy of it."""
    compact = file.with_suffix(".compact")
    with closing(sqlite3.connect(file)) as database:
        database.execute("VACUUM INTO ?", (str(compact),))
    with closing(sqlite3.connect(compact)) as database:
        with_pictures = compact.stat().st_size
        database.execute("DELETE FROM first_frames")
        database.commit()
        database.execute("VACUUM")
    return Sizes(compact.stat().st_size / jobs, (with_pictures - compact.stat().st_size) / jobs)
