"""Where the processes live: a Discord, an upstream and a database, and somebody who starts again what died."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Row, Table, and_, make_url, or_, select, update
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from bot.domain.jobs import ENDED, Job, JobState
from bot.store.engine import Database
from bot.store.jobs.rows import job_of, select_jobs
from bot.store.schema import guilds, jobs, notifications, submission_gate
from tests.crash.scripted_gateway import ScriptedGateway
from tests.discord_server import Channel, DiscordServer, Guild, User

ROOT = Path(__file__).parents[2]
KEY = "key-of-the-tests"
TIMEOUT_S = 200.0
"""How long anything may take on a slow machine that is busy with other things."""
LONG_PAUSE_S = 2.0
"""Longer pauses are not waited for: they are cut short, as if the time had passed."""
ORPHANED_AFTER_S = 4.0
"""Whoever lives has written an outcome by then; a lease that stays so long untouched is a dead process's."""


@dataclass
class Harness:
    """What one case runs against. Only in `approval_channel` are moderators asked.

    deaths: by SIGKILL, of all processes; away: how often the one that answers commands ended.
    forgets_nonces: Discord remembers no nonce of the time before a death.
    """

    folder: Path
    discord: DiscordServer
    upstream: ScriptedGateway
    url: str
    engine: AsyncEngine
    open_channel: Channel
    open_log: Channel
    approval_channel: Channel
    approval_log: Channel
    operator_channel: Channel
    settings: dict[str, str] = field(default_factory=dict)
    running: dict[str, Process] = field(default_factory=dict)
    deaths: int = 0
    away: int = 0
    problems: list[str] = field(default_factory=list)
    broken: str = ""
    forgets_nonces: bool = False
    submitting_at_death: set[str] = field(default_factory=set)
    restarting: bool = True
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "TMPDIR": str(self.folder),
            "DISCORD_TOKEN": self.discord.token,
            "VTRIX_API_KEY": KEY,
            "VTRIX_BASE_URL": self.upstream.url,
            "DATABASE_URL": self.url,
            "DISCORD_API_URL": self.discord.api_url,
            "DISCORD_GATEWAY_URL": self.discord.gateway_url,
            "POLL_MIN_SECONDS": "0.1",
            "POLL_MAX_SECONDS": "0.2",
            "UPSTREAM_MAX_RUNNING": "30",
            "UPSTREAM_SUBMITS_PER_SECOND": "20",
            "QUOTA_VIDEOS_PER_DAY": "100",
            "QUOTA_RUNNING": "50",
            "SERVER_BUDGET_USD_PER_DAY": "1000",
            "BUDGET_USD_PER_DAY": "1000",
            "SERVER_BUDGET_USD_PER_MONTH": "1000",
            "BUDGET_USD_PER_MONTH": "1000",
            "OPERATOR_GUILD_ID": str(self.operator_channel.guild.id),
            "OPERATOR_USER_IDS": str(self.operator_channel.guild.owner.id),
            "OPERATOR_LOG_CHANNEL_ID": str(self.operator_channel.id),
            **self.settings,
        }

    async def start(self, command: str, *arguments: str) -> Process:
        """Starts `zoetrope <command>` and looks after it: what dies is started again, unarmed."""
        process = await self._spawn(command, *arguments)
        if not self._tasks:
            self._tasks.add(asyncio.create_task(self._shorten_pauses()))
        self._tasks.add(asyncio.create_task(self._restart_when_killed(command, process)))
        return process

    async def close(self) -> None:
        """Ends all processes and whoever looks after them."""
        self.restarting = False
        for process in self.running.values():
            if process.returncode is None:
                process.kill()
                await process.wait()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.engine.dispose()

    async def stop(self) -> None:
        """Ends all processes in order, as a host does."""
        self.restarting = False
        for process in self.running.values():
            process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(TIMEOUT_S):
                code = await process.wait()
            if code not in (0, -signal.SIGTERM):  # so ends one that was only just started again
                self.problems.append(f"a process that was asked to stop ended with {code}")

    async def until(self, look: Callable[[], Awaitable[Any]], *, what: str, timeout_s: float = TIMEOUT_S) -> Any:
        """What `look` gives, as soon as it is true."""
        try:
            async with asyncio.timeout(timeout_s):
                while not (found := await look()):
                    if self.broken:
                        raise RuntimeError(self.broken)
                    await asyncio.sleep(0.05)
                return found
        except TimeoutError:
            raise TimeoutError(f"in vain: {what}") from None

    async def job(self, prompt: str) -> Job | None:
        """The job of an order; more than one is a finding."""
        async with self.engine.connect() as connection:
            rows = (await connection.execute(select_jobs().where(jobs.c.prompt == prompt))).all()
        if len(rows) > 1:
            self.problems.append(f"{prompt}: {len(rows)} jobs of one order")
        return job_of(rows[0]) if rows else None

    async def rows(self, table: Table) -> Sequence[Row[Any]]:
        async with self.engine.connect() as connection:
            return (await connection.execute(select(table))).all()

    async def quiet(self) -> bool:
        """Whether every job is over, and everything was told."""
        async with self.engine.connect() as connection:
            open_still = or_(jobs.c.due_at.is_not(None), jobs.c.state.not_in(ENDED))
            due = await connection.execute(select(jobs.c.id).where(open_still).limit(1))
            told = await connection.execute(
                select(notifications.c.id).where(notifications.c.due_at.is_not(None)).limit(1)
            )
            return due.one_or_none() is None and told.one_or_none() is None

    async def _spawn(self, command: str, *arguments: str) -> Process:
        with (self.folder / f"{command}.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "tests.crash.bot_process", *arguments, "--", command,
                stdout=log, stderr=log, env=self.environment, cwd=self.folder,
            )  # fmt: skip
        self.running[command] = process
        return process

    async def _restart_when_killed(self, command: str, process: Process) -> None:
        while True:
            code = await process.wait()
            if not self.restarting:
                return
            self.deaths += code == -signal.SIGKILL
            self.away += command == "run"
            if self.forgets_nonces:
                self.discord.world.forget_nonces()
            if code not in (-signal.SIGKILL, 0):
                said = (self.folder / f"{command}.log").read_text().splitlines()[-8:]
                self.broken = f"`zoetrope {command}` ended by itself with {code}: {said}"
                return
            await self._expire_leases(alone=len(self.running) == 1)
            process = await self._spawn(command)

    async def _shorten_pauses(self) -> None:
        """Cuts long pauses short: those of the gate, and of what is due later and held by nobody."""
        while True:
            await asyncio.sleep(LONG_PAUSE_S / 4)
            now = datetime.now(UTC)
            late = now + timedelta(seconds=LONG_PAUSE_S)
            waits = and_(jobs.c.due_at > late, jobs.c.lease_until.is_(None), jobs.c.state != JobState.AWAITING)
            pauses = (
                (submission_gate, submission_gate.c.opens_at > late, {"opens_at": now}),
                (jobs, waits, {"due_at": now}),
                (
                    notifications,
                    and_(notifications.c.due_at > late, notifications.c.lease_until.is_(None)),
                    {"due_at": now},
                ),
            )
            for table, too_long, soon in pauses:
                async with self.engine.connect() as connection:
                    found = (await connection.execute(select(table.c.id).where(too_long).limit(1))).one_or_none()
                if found is not None:
                    async with self.engine.begin() as connection:
                        await connection.execute(update(table).where(too_long).values(soon))

    async def _expire_leases(self, *, alone: bool) -> None:
        """Has the leases of the dead run out; of several processes, those that nobody touches for a while."""
        left = [*await self._leases(jobs), *await self._leases(notifications)]
        async with self.engine.connect() as connection:
            rows = await connection.execute(select(jobs.c.prompt).where(jobs.c.state == "submitting"))
            self.submitting_at_death |= set(rows.scalars())
        if alone:
            await self._expire(left)
        else:
            task = asyncio.create_task(self._expire_later(left))
            self._tasks.add(task)

    async def _leases(self, table: Table) -> list[tuple[Table, str, str, datetime]]:
        columns = table.c.id, table.c.lease_token, table.c.lease_until
        query = select(*columns).where(table.c.lease_until.is_not(None))
        async with self.engine.connect() as connection:
            return [(table, *row) for row in await connection.execute(query)]

    async def _expire_later(self, left: list[tuple[Table, str, str, datetime]]) -> None:
        await asyncio.sleep(ORPHANED_AFTER_S)
        await self._expire(left)

    async def _expire(self, left: list[tuple[Table, str, str, datetime]]) -> None:
        async with self.engine.begin() as connection:
            for table, row_id, token, until in left:
                held = (table.c.id == row_id, table.c.lease_token == token, table.c.lease_until == until)
                past = datetime.now(UTC)
                await connection.execute(update(table).where(*held).values(lease_until=past))


@asynccontextmanager
async def open_harness(folder: Path, url: str, **settings: str) -> AsyncIterator[Harness]:
    """A harness without processes. url: a migrated database without rows."""
    async with DiscordServer() as discord, ScriptedGateway(folder / "upstream", KEY) as upstream:
        here, there = discord.channel, _channel(discord, discord.world.add_guild("Slow Pictures"), "general")
        operator_channel = discord.world.add_guild("The Office")
        made = make_url(url)
        driver = "sqlite+aiosqlite" if made.drivername == "sqlite" else "postgresql+asyncpg"
        harness = Harness(
            folder=folder,
            discord=discord,
            upstream=upstream,
            url=url,
            engine=create_async_engine(made.set(drivername=driver)),
            open_channel=here,
            open_log=_channel(discord, here.guild, "log"),
            approval_channel=there,
            approval_log=_channel(discord, there.guild, "log"),
            operator_channel=_channel(discord, operator_channel, "operator_channel"),
            settings=settings,
        )
        await _add_guilds(harness)
        try:
            yield harness
        finally:
            await harness.close()


def new_member(discord: DiscordServer, guild: Guild, name: str) -> User:
    """A member of the server."""
    return discord.world.add_member(guild, name)


def _channel(discord: DiscordServer, guild: Guild, name: str) -> Channel:
    return discord.world.add_channel(guild, name)


async def _add_guilds(harness: Harness) -> None:
    """Both servers have a log channel; in one, a moderator lets each video through."""
    async with Database.open(harness.url) as database, database.write() as connection:
        for channel, approval in (
            (harness.open_log, False),
            (harness.approval_log, True),
            (harness.operator_channel, False),
        ):
            await connection.execute(
                guilds.insert().values(
                    id=channel.guild.id,
                    access="open",
                    admins_exempt=False,
                    allowed_resolutions=["480P", "720P"],
                    age_restricted_only=False,
                    approval_required=approval,
                    paused=False,
                    violation_limit=0,
                    violation_pause_hours=0,
                    log_channel_id=None if channel is harness.operator_channel else channel.id,
                    welcomed_at=datetime.now(UTC),
                )
            )
