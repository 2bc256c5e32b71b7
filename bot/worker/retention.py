"""Deletes and anonymises data whose time is over: by age, for servers that removed the bot, for members who asked.

Also returns the reservations whose cost was never reported.

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
from bot.store.privacy.member_data import MemberDataStore
from bot.store.privacy.retention import RetentionStore
from bot.worker.background_service import wait_for

log = logging.getLogger(__name__)

Part = Callable[[], Awaitable[int]]
"""Does some of the work; returns how many rows, servers or requests it handled."""


@dataclass(frozen=True, slots=True)
class RetentionReport:
    """What one run did.

    costs: reservations that were held for an unknown cost and are returned. erasures: members' requests that are
    complete now. failed: parts that raised an error.
    """

    costs: int = 0
    jobs: int = 0
    entries: int = 0
    credits: int = 0
    records: int = 0
    pictures: int = 0
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
        self._failed = 0

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
        self._failed = 0
        now, store = self._clock(), self._store
        before = now - timedelta(days=self._policy.days)
        costs = await self._repeat(lambda: store.release_held_costs(now))
        credits_ = await self._repeat(lambda: store.expire_credits(now))
        jobs = await self._repeat(lambda: store.anonymise_jobs(before))
        entries = await self._repeat(lambda: store.anonymise_entries(before, now))
        credits_ += await self._repeat(lambda: store.anonymise_grants(before))
        records = await self._repeat(lambda: store.drop_old(before, now))
        pictures_before = now - timedelta(days=self._policy.days_of_pictures)
        pictures = await self._repeat(lambda: store.drop_pictures(pictures_before))
        records += await self._repeat(store.drop_durations)
        guilds = await self._once(lambda: self._erase_left_guilds(now))
        erasures = await self._once(lambda: self._continue_erasures(now))
        return RetentionReport(costs, jobs, entries, credits_, records, pictures, guilds, erasures, self._failed)

    async def _erase_left_guilds(self, now: datetime) -> int:
        """Erases the servers that removed the bot long enough ago; returns from how many anything was erased."""
        before, touched = now - timedelta(days=self._policy.days_after_leaving), 0
        for guild_id in await self._store.left_guilds(before):
            touched += await self._once(partial(self._erase_left_guild, guild_id, before, now))
        return touched

    async def _erase_left_guild(self, guild_id: int, before: datetime, now: datetime) -> int:
        store = self._store
        rows = await self._repeat(lambda: store.anonymise_left_jobs(guild_id, before))
        rows += await self._repeat(lambda: store.anonymise_left_entries(guild_id, before, now))
        rows += await self._repeat(lambda: store.clear_left(guild_id, before, now))
        return min(rows, 1)

    async def _continue_erasures(self, now: datetime) -> int:
        """Continues what members asked to erase; returns how many requests are complete now."""
        requests = await self._member_data.erasure_requests()
        return sum([await self._once(partial(self._continue_erasure, request, now)) for request in requests])

    async def _continue_erasure(self, erasure: Erasure, now: datetime) -> int:
        return int((await self._member_data.erase(erasure, now, keep_going=self._keep_going)).done)

    def _keep_going(self) -> bool:
        return not self._stop.is_set()

    async def _repeat(self, batch: Part) -> int:
        """Repeats until a batch finds nothing; returns the number of rows in total."""
        rows = 0
        while touched := await self._once(batch):
            rows += touched
        return rows

    async def _once(self, part: Part) -> int:
        """What the part returns; 0 if it failed, which stops no other part, or if the worker is stopping."""
        if not self._keep_going():
            return 0
        try:
            return await part()
        except Exception:  # whatever the store raises
            log.exception("a part of retention failed; the next run tries again")
            self._failed += 1
            return 0
