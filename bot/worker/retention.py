"""The loop that lets time pass over the data: retention, servers that were left, deletions that members asked for.

It runs beside the worker, once an hour and at the start, in batches: any number of processes may do it at once,
and one that dies over it leaves nothing half-done that the next round does not finish.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Protocol

from bot.domain.member_data import Erasure, Terms
from bot.operations.clock import Clock
from bot.services.privacy import Eraser, carry_out

log = logging.getLogger(__name__)

EVERY = timedelta(hours=1)

Batch = Callable[[], Awaitable[int]]
"""Does one batch of something and says how many rows it touched."""


class Shelves(Protocol):
    """What the keeper sweeps. Each call is one short transaction over one batch; how many rows it touched."""

    async def expire_credits(self, now: datetime) -> int:
        """Writes off grants whose time is over."""
        ...

    async def anonymise_jobs(self, before: datetime) -> int:
        """Anonymises jobs that ended before that."""
        ...

    async def anonymise_entries(self, before: datetime, now: datetime) -> int:
        """Takes the names off the ledger's lines from before that."""
        ...

    async def anonymise_grants(self, before: datetime) -> int:
        """Takes the names off spent grants from before that."""
        ...

    async def drop_old(self, before: datetime, now: datetime) -> int:
        """Deletes records from before that, and what counts no more at `now`."""
        ...

    async def drop_frames(self) -> int:
        """Deletes pictures whose job is over."""
        ...

    async def left(self, before: datetime) -> list[int]:
        """The servers that removed the bot before that."""
        ...

    async def blank_left_jobs(self, guild_id: int, before: datetime) -> int:
        """Anonymises such a server's jobs."""
        ...

    async def blank_left_entries(self, guild_id: int, before: datetime, now: datetime) -> int:
        """Takes the names off such a server's ledger."""
        ...

    async def clear_left(self, guild_id: int, before: datetime, now: datetime) -> int:
        """Deletes what is kept for such a server."""
        ...


class ErasureRequests(Eraser, Protocol):
    """The deletions that members asked for."""

    async def asked(self) -> list[Erasure]:
        """Those that are not fulfilled yet."""
        ...


@dataclass(frozen=True, slots=True)
class RetentionReport:
    """What one round did. deletions: members' wishes that are fulfilled now; failed: parts that broke off."""

    jobs: int = 0
    entries: int = 0
    credits: int = 0
    records: int = 0
    servers: int = 0
    deletions: int = 0
    failed: int = 0


class RetentionWorker:
    """Looks after the age of all data until it is stopped. One task runs `run`."""

    def __init__(
        self, shelves: Shelves, wishes: ErasureRequests, terms: Terms, *, clock: Clock, every: timedelta = EVERY
    ) -> None:
        self._shelves = shelves
        self._wishes = wishes
        self._terms = terms
        self._clock = clock
        self._every = every
        self._stop = asyncio.Event()

    async def run(self) -> None:
        """Sweeps now and then every so often, whatever fails, until `stop` is called."""
        while not self._stop.is_set():
            swept = await self.sweep()
            if swept != RetentionReport():
                log.info("swept: %s", ", ".join(f"{name} {n}" for name, n in asdict(swept).items() if n))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._every.total_seconds()):
                    await self._stop.wait()

    def wake(self) -> None:
        """Does nothing: no job that comes in makes data any older."""

    def stop(self) -> None:
        """Ends the loop: a transaction under way is finished, none is begun."""
        self._stop.set()

    async def sweep(self) -> RetentionReport:
        """One round over everything. What fails is logged and tried again in the next; the rest goes on."""
        now, round_ = self._clock(), _Round(self._goes_on)
        before = now - timedelta(days=self._terms.days)
        shelves = self._shelves
        credits_ = await round_.all_of(lambda: shelves.expire_credits(now))
        jobs = await round_.all_of(lambda: shelves.anonymise_jobs(before))
        entries = await round_.all_of(lambda: shelves.anonymise_entries(before, now))
        credits_ += await round_.all_of(lambda: shelves.anonymise_grants(before))
        records = await round_.all_of(lambda: shelves.drop_old(before, now))
        records += await round_.all_of(shelves.drop_frames)
        servers = await round_.once(lambda: self._leave(round_, now))
        deletions = await round_.once(lambda: self._fulfil(round_, now))
        return RetentionReport(jobs, entries, credits_, records, servers, deletions, round_.failed)

    async def _leave(self, round_: "_Round", now: datetime) -> int:
        """Erases the servers that were left long enough ago; of how many something went."""
        before, touched = now - timedelta(days=self._terms.days_after_leaving), 0
        for guild_id in await self._shelves.left(before):
            touched += await round_.once(partial(self._leave_one, round_, guild_id, before, now))
        return touched

    async def _leave_one(self, round_: "_Round", guild_id: int, before: datetime, now: datetime) -> int:
        shelves = self._shelves
        rows = await round_.all_of(lambda: shelves.blank_left_jobs(guild_id, before))
        rows += await round_.all_of(lambda: shelves.blank_left_entries(guild_id, before, now))
        rows += await round_.all_of(lambda: shelves.clear_left(guild_id, before, now))
        return min(rows, 1)

    async def _fulfil(self, round_: "_Round", now: datetime) -> int:
        """Goes on with the deletions that members asked for; how many are done."""
        done = 0
        for erasure in await self._wishes.asked():
            done += await round_.once(partial(self._fulfil_one, erasure, now))
        return done

    async def _fulfil_one(self, erasure: Erasure, now: datetime) -> int:
        erased = await carry_out(self._wishes, erasure, now, go_on=self._goes_on)
        return int(erased.done)

    def _goes_on(self) -> bool:
        return not self._stop.is_set()


class _Round:
    """Runs the parts of one round, each by itself: one that fails is counted and takes no other along."""

    def __init__(self, go_on: Callable[[], bool]) -> None:
        self._go_on = go_on
        self.failed = 0

    async def all_of(self, batch: Batch) -> int:
        """Batch after batch until one finds nothing; how many rows in all."""
        rows = 0
        while touched := await self.once(batch):
            rows += touched
        return rows

    async def once(self, part: Batch) -> int:
        """What the part says it did; 0 where it failed, or where the keeper is being stopped."""
        if not self._go_on():
            return 0
        try:
            return await part()
        except Exception:  # whatever the store has; the next round tries again
            log.exception("a part of the sweep failed; the next round tries again")
            self.failed += 1
            return 0
