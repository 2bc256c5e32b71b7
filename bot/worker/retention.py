"""Deletes and anonymises data whose time is over: by age, for servers that removed the bot, for members who asked.

Runs at the start and then once an hour, in batches. Any number of processes may do so at the same time, and if one
dies, the next run finishes what it left.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from functools import partial

from bot.domain.member_data import Erasure, RetentionPolicy
from bot.operations.clock import Clock
from bot.store.privacy.erasure import carry_out
from bot.store.privacy.member_data import MemberDataStore
from bot.store.privacy.retention import RetentionStore
from bot.worker.background_service import wait_for

log = logging.getLogger(__name__)

Part = Callable[[], Awaitable[int]]
"""Does some of the work; returns how many rows, servers or requests it handled."""


@dataclass(frozen=True, slots=True)
class RetentionReport:
    """What one run did. erasures: members' requests that are complete now. failed: parts that raised an error."""

    jobs: int = 0
    entries: int = 0
    credits: int = 0
    records: int = 0
    guilds: int = 0
    erasures: int = 0
    failed: int = 0


class RetentionWorker:
    """Runs retention until it is stopped. One task runs `run`."""

    def __init__(
        self,
        store: RetentionStore,
        member_data: MemberDataStore,
        policy: RetentionPolicy,
        *,
        clock: Clock,
        interval: timedelta = timedelta(hours=1),
    ) -> None:
        self._store = store
        self._member_data = member_data
        self._policy = policy
        self._clock = clock
        self._interval = interval
        self._stop = asyncio.Event()

    async def run(self) -> None:
        """Runs once per interval, whatever fails, until `stop` is called."""
        while not self._stop.is_set():
            report = await self.run_once()
            if report != RetentionReport():
                log.info("retention: %s", ", ".join(f"{name} {n}" for name, n in asdict(report).items() if n))
            await wait_for(self._stop, self._interval.total_seconds())

    def wake(self) -> None:
        """Does nothing: a new job makes no data older."""

    def stop(self) -> None:
        """Ends the loop after the current transaction."""
        self._stop.set()

    async def run_once(self) -> RetentionReport:
        """One run over all data. What fails is logged and left to the next run; the rest continues."""
        now, run, store = self._clock(), _Run(self._keep_going), self._store
        before = now - timedelta(days=self._policy.days)
        credits_ = await run.repeat(lambda: store.expire_credits(now))
        jobs = await run.repeat(lambda: store.anonymise_jobs(before))
        entries = await run.repeat(lambda: store.anonymise_entries(before, now))
        credits_ += await run.repeat(lambda: store.anonymise_grants(before))
        records = await run.repeat(lambda: store.drop_old(before, now))
        records += await run.repeat(store.drop_frames)
        guilds = await run.once(lambda: self._erase_left_guilds(run, now))
        erasures = await run.once(lambda: self._continue_erasures(run, now))
        return RetentionReport(jobs, entries, credits_, records, guilds, erasures, run.failed)

    async def _erase_left_guilds(self, run: "_Run", now: datetime) -> int:
        """Erases the servers that removed the bot long enough ago; returns from how many anything was erased."""
        before, touched = now - timedelta(days=self._policy.days_after_leaving), 0
        for guild_id in await self._store.left(before):
            touched += await run.once(partial(self._erase_left_guild, run, guild_id, before, now))
        return touched

    async def _erase_left_guild(self, run: "_Run", guild_id: int, before: datetime, now: datetime) -> int:
        store = self._store
        rows = await run.repeat(lambda: store.blank_left_jobs(guild_id, before))
        rows += await run.repeat(lambda: store.blank_left_entries(guild_id, before, now))
        rows += await run.repeat(lambda: store.clear_left(guild_id, before, now))
        return min(rows, 1)

    async def _continue_erasures(self, run: "_Run", now: datetime) -> int:
        """Continues what members asked to erase; returns how many requests are complete now."""
        return sum(
            [await run.once(partial(self._continue_erasure, one, now)) for one in await self._member_data.asked()]
        )

    async def _continue_erasure(self, erasure: Erasure, now: datetime) -> int:
        result = await carry_out(self._member_data, erasure, now, keep_going=self._keep_going)
        return int(result.done)

    def _keep_going(self) -> bool:
        return not self._stop.is_set()


class _Run:
    """Runs the parts of one run. A part that fails is counted and stops no other."""

    def __init__(self, keep_going: Callable[[], bool]) -> None:
        self._keep_going = keep_going
        self.failed = 0

    async def repeat(self, batch: Part) -> int:
        """Repeats until a batch finds nothing; returns the number of rows in total."""
        rows = 0
        while touched := await self.once(batch):
            rows += touched
        return rows

    async def once(self, part: Part) -> int:
        """What the part returns; 0 where it failed or the worker is stopping."""
        if not self._keep_going():
            return 0
        try:
            return await part()
        except Exception:  # whatever the store raises
            log.exception("a part of retention failed; the next run tries again")
            self.failed += 1
            return 0
