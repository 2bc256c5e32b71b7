"""What a case runs against: a Discord, a gateway, a database, and the bot's processes, which are restarted."""

import asyncio
import math
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Row, Select, Table, and_, make_url, or_, select, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from bot.domain.jobs import ENDED, Job, JobState
from bot.store.engine import Database
from bot.store.jobs.rows import job_of, select_jobs
from bot.store.schema import guilds, jobs, notifications, submission_gates
from tests.crash.bot_process import BotProcess
from tests.crash.fault_points import Hook
from tests.crash.scripted_dashscope import AnyTask, ScriptedDashScope
from tests.crash.scripted_gateway import ScriptedGateway
from tests.discord_server import Channel, DiscordServer, Guild, User

KEY = "key-of-the-tests"
TIMEOUT_S = 200.0
"""How long anything may take on a slow, busy machine."""
POLL_S = 0.05
"""Between two checks of a condition that is waited for."""
CACHE_MAX_AGE_S = 0.04
"""How old the shared read of the jobs may be."""
LONG_PAUSE_S = 2.0
"""Longer pauses are cut short, as if the time had passed."""
ORPHANED_AFTER_S = 4.0
"""A live process writes an outcome sooner: a lease that stays unchanged for so long was a dead process's."""


@dataclass
class Harness:
    """One case's servers, database and processes. Only in `approval_channel` are moderators asked.

    kills: processes that ended by SIGKILL. disturbed: how often one was disturbed otherwise. run_exits: how often
    a process that answers commands ended. forgets_nonces: after each kill, Discord has forgotten all
    nonces. second: the other provider, which is asked where `settings` say so. urls: of the database, for the
    processes that reach it another way. database_fails: the database may be away for moments.
    """

    folder: Path
    discord: DiscordServer
    upstream: ScriptedGateway
    second: ScriptedDashScope
    url: str
    engine: AsyncEngine
    open_channel: Channel
    open_log: Channel
    approval_channel: Channel
    approval_log: Channel
    operator_channel: Channel
    settings: dict[str, str] = field(default_factory=dict)
    running: dict[str, BotProcess] = field(default_factory=dict)
    kills: int = 0
    disturbed: int = 0
    run_exits: int = 0
    problems: list[str] = field(default_factory=list)
    fatal_error: str = ""
    urls: dict[str, str] = field(default_factory=dict)
    database_fails: bool = False
    forgets_nonces: bool = False
    submitting_when_killed: set[str] = field(default_factory=set)
    restarting: bool = True
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _cached_rows: dict[str, Row[Any]] = field(default_factory=dict)
    _cached_at_s: float = -math.inf
    _cache_lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "TMPDIR": str(self.folder),
            "DISCORD_TOKEN": self.discord.token,
            "VTRIX_API_KEY": KEY,
            "VTRIX_BASE_URL": self.upstream.url,
            "UPSTREAM_BODY": "envelope",  # so that an order that is refused is sent once
            "DASHSCOPE_API_KEY": KEY,
            "DASHSCOPE_BASE_URL": self.second.url,
            "DASHSCOPE_MAX_RUNNING": "30",
            "DASHSCOPE_SUBMITS_PER_SECOND": "20",
            "DATABASE_URL": self.url,
            "DISCORD_API_URL": self.discord.api_url,
            "DISCORD_GATEWAY_URL": self.discord.gateway_url,
            "POLL_MIN_SECONDS": "0.25",
            "POLL_MAX_SECONDS": "0.5",
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

    def tasks_of(self, prompt: str) -> Sequence[AnyTask]:
        """The tasks of an order at all providers."""
        return [*self.upstream.tasks_of(prompt), *self.second.tasks_of(prompt)]

    def start(self, name: str, hook: Hook | None = None) -> BotProcess:
        """Starts `zoetrope <command>`, and starts it again whenever it was killed or stopped.

        name: of the process; its first word is the command.
        """
        process = self._spawn(name, hook)
        if not self._tasks:
            self._tasks.add(asyncio.create_task(self._shorten_pauses()))
        self._tasks.add(asyncio.create_task(self._restart_when_killed(name, process, hook)))
        return process

    async def close(self) -> None:
        """Kills all processes and stops restarting them."""
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
        """Stops all processes cleanly, as a host does."""
        self.restarting = False
        for process in self.running.values():
            process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(TIMEOUT_S):
                code = await process.wait()
            if code not in (0, -signal.SIGTERM):  # the latter: one that had only just been restarted
                self.problems.append(f"a process that was asked to stop ended with {code}")

    async def until(
        self, condition: Callable[[], Awaitable[Any]], *, what: str, timeout_s: float = TIMEOUT_S
    ) -> Any:
        """What `condition` returns, as soon as it is true."""
        try:
            async with asyncio.timeout(timeout_s):
                while not (found := await condition()):
                    if self.fatal_error:
                        raise RuntimeError(self.fatal_error)
                    await asyncio.sleep(POLL_S)
                return found
        except TimeoutError:
            raise TimeoutError(f"waited in vain until {what}") from None

    async def job(self, prompt: str) -> Job | None:
        """The job of an order; more than one is a finding."""
        rows = await self._read(select_jobs().where(jobs.c.prompt == prompt))
        if len(rows) > 1:
            self.problems.append(f"{prompt}: {len(rows)} jobs of one order")
        return job_of(rows[0]) if rows else None

    async def cached_job(self, prompt: str) -> Job | None:
        """As `job`, but up to `CACHE_MAX_AGE_S` old: everything that waits at the same time shares one read."""
        async with self._cache_lock:
            now_s = asyncio.get_running_loop().time()
            if now_s - self._cached_at_s > CACHE_MAX_AGE_S:
                self._cached_rows = {row.prompt: row for row in await self._read(select_jobs())}
                self._cached_at_s = now_s
        row = self._cached_rows.get(prompt)
        return None if row is None else job_of(row)

    async def rows(self, table: Table) -> Sequence[Row[Any]]:
        return await self._read(select(table))

    async def is_idle(self) -> bool:
        """Whether every job has ended and every notification is sent."""
        unfinished = or_(jobs.c.due_at.is_not(None), jobs.c.state.not_in(ENDED))
        untold = notifications.c.due_at.is_not(None)
        queries = (select(jobs.c.id).where(unfinished), select(notifications.c.id).where(untold))
        return not any([await self._read(query.limit(1)) for query in queries])

    async def _read(self, query: Select[Any]) -> Sequence[Row[Any]]:
        """The rows; waits for a database that is away for a moment."""
        while True:
            try:
                async with self.engine.connect() as connection:
                    rows: Sequence[Row[Any]] = (await connection.execute(query)).all()
                    return rows
            except (DBAPIError, OSError):
                if not self.database_fails:
                    raise
                await asyncio.sleep(POLL_S)

    def _spawn(self, name: str, hook: Hook | None) -> BotProcess:
        url = self.urls.get(name, self.url)
        process = BotProcess(name, self.folder, self.environment | {"DATABASE_URL": url}, hook)
        self.running[name] = process
        return process

    async def _restart_when_killed(self, name: str, process: BotProcess, hook: Hook | None) -> None:
        while True:
            code = await process.wait()
            if not self.restarting:
                return
            self.kills += code == -signal.SIGKILL
            self.run_exits += name.startswith("run")
            if self.forgets_nonces:
                self.discord.state.forget_nonces()
            if code not in (-signal.SIGKILL, 0):
                said = (self.folder / f"{name}.log").read_text().splitlines()[-8:]
                self.fatal_error = f"`zoetrope {name}` ended by itself with {code}: {said}"
                return
            await self.expire_leases(alone=len(self.running) == 1)
            process = self._spawn(name, hook)

    async def _shorten_pauses(self) -> None:
        """Cuts long pauses short: the submission gate, and anything that is due later and not leased."""
        while True:
            await asyncio.sleep(LONG_PAUSE_S / 4)
            try:
                await self._shorten_pauses_once()
            except (DBAPIError, OSError):
                if not self.database_fails:
                    raise

    async def _shorten_pauses_once(self) -> None:
        now = datetime.now(UTC)
        late = now + timedelta(seconds=LONG_PAUSE_S)
        waits = and_(jobs.c.due_at > late, jobs.c.lease_until.is_(None), jobs.c.state != JobState.AWAITING)
        pauses = (
            (submission_gates, submission_gates.c.opens_at > late, {"opens_at": now}),
            (jobs, waits, {"due_at": now}),
            (
                notifications,
                and_(notifications.c.due_at > late, notifications.c.lease_until.is_(None)),
                {"due_at": now},
            ),
        )
        for table, too_long, soon in pauses:
            if await self._read(select(table).where(too_long).limit(1)):
                async with self.engine.begin() as connection:
                    await connection.execute(update(table).where(too_long).values(soon))

    async def expire_leases(self, *, alone: bool) -> None:
        """Ends the leases of a dead process; beside a live one, only those that stay unchanged for a while."""
        left = [*await self._leases(jobs), *await self._leases(notifications)]
        submitting = await self._read(select(jobs.c.prompt).where(jobs.c.state == "submitting"))
        self.submitting_when_killed |= {row.prompt for row in submitting}
        if alone:
            await self._expire(left)
        else:
            task = asyncio.create_task(self._expire_later(left))
            self._tasks.add(task)

    async def _leases(self, table: Table) -> list[tuple[Table, str, str, datetime]]:
        columns = table.c.id, table.c.lease_token, table.c.lease_until
        query = select(*columns).where(table.c.lease_until.is_not(None))
        return [(table, row.id, row.lease_token, row.lease_until) for row in await self._read(query)]

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
    """A harness that has started no process yet. url: a migrated, empty database."""
    async with (
        DiscordServer() as discord,
        ScriptedGateway(folder / "upstream", KEY) as upstream,
        ScriptedDashScope(KEY) as second,
    ):
        here, there = discord.channel, _channel(discord, discord.state.add_guild("Slow Pictures"), "general")
        operator_guild = discord.state.add_guild("The Office")
        made = make_url(url)
        driver = "sqlite+aiosqlite" if made.drivername == "sqlite" else "postgresql+asyncpg"
        harness = Harness(
            folder=folder,
            discord=discord,
            upstream=upstream,
            second=second,
            url=url,
            engine=create_async_engine(made.set(drivername=driver), pool_pre_ping=True),
            open_channel=here,
            open_log=_channel(discord, here.guild, "log"),
            approval_channel=there,
            approval_log=_channel(discord, there.guild, "log"),
            operator_channel=_channel(discord, operator_guild, "operator"),
            settings=settings,
        )
        await _add_guilds(harness)
        try:
            yield harness
        finally:
            await harness.close()


def new_member(discord: DiscordServer, guild: Guild, name: str) -> User:
    """A member of the server."""
    return discord.state.add_member(guild, name)


def _channel(discord: DiscordServer, guild: Guild, name: str) -> Channel:
    return discord.state.add_channel(guild, name)


async def _add_guilds(harness: Harness) -> None:
    """Both servers have a log channel; in one, moderators approve each video."""
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
