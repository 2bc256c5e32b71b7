"""The keeper's loop and round, over shelves that are made up."""

import asyncio
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any

from bot.domain.errors import StoreError
from bot.domain.member_data import Erasure, Terms
from bot.worker.retention import RetentionReport, RetentionWorker

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
DAY = timedelta(days=1)
EVERYTHING = [
    "expire_credits", "blank_jobs", "blank_entries", "blank_grants", "drop_old", "drop_frames", "left", "asked",
]  # fmt: skip


class Shelves:
    """Notes each call; `found` says how many rows the next calls of a name touch, `ill` which names fail."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.found: defaultdict[str, list[int]] = defaultdict(list)
        self.ill: set[str] = set()
        self.guilds: list[int] = []
        self.wishes: list[Erasure] = []
        self.rounds = asyncio.Semaphore(0)

    @property
    def names(self) -> list[str]:
        return [call[0] for call in self.calls]

    def _call(self, name: str, *args: Any) -> int:
        self.calls.append((name, *args))
        if name in self.ill:
            raise StoreError("the disk is full")
        return self.found[name].pop(0) if self.found[name] else 0

    async def expire_credits(self, now: datetime) -> int:
        return self._call("expire_credits", now)

    async def anonymise_jobs(self, before: Any) -> int:
        return self._call("blank_jobs", before)

    async def anonymise_entries(self, before: Any, now: datetime) -> int:
        return self._call("blank_entries", before, now)

    async def anonymise_grants(self, before: datetime) -> int:
        return self._call("blank_grants", before)

    async def drop_old(self, before: datetime, now: datetime) -> int:
        return self._call("drop_old", before, now)

    async def drop_frames(self) -> int:
        return self._call("drop_frames")

    async def left(self, before: datetime) -> list[int]:
        self._call("left", before)
        return self.guilds

    async def blank_left_jobs(self, guild_id: int, before: datetime) -> int:
        return self._call("blank_left_jobs", guild_id, before)

    async def blank_left_entries(self, guild_id: int, before: datetime, now: datetime) -> int:
        return self._call("blank_left_entries", guild_id, before, now)

    async def clear_left(self, guild_id: int, before: datetime, now: datetime) -> int:
        return self._call("clear_left", guild_id, before, now)

    async def asked(self) -> list[Erasure]:
        self.rounds.release()
        self._call("asked")
        return self.wishes

    async def to_cancel(self, erasure: Erasure) -> list[str]:
        self._call("to_cancel", erasure.user_id)
        return []

    async def cancel(self, job_id: str, now: datetime) -> Any:
        raise AssertionError((job_id, now))

    async def give_up_credits(self, erasure: Erasure, now: datetime) -> int:
        return self._call("give_up_credits", erasure.user_id, now)

    async def drop_records(self, erasure: Erasure, now: datetime) -> int:
        return self._call("drop_records", erasure.user_id, now)

    async def finish(self, erasure: Erasure) -> bool:
        self._call("finish", erasure.user_id)
        return True


def keeper(shelves: Shelves, every: timedelta = timedelta(hours=1)) -> RetentionWorker:
    return RetentionWorker(shelves, shelves, Terms(90, 30), clock=lambda: NOW, every=every)


async def test_a_round_asks_for_what_is_over_at_its_moment() -> None:
    shelves = Shelves()

    assert await keeper(shelves).sweep() == RetentionReport()

    assert shelves.names == EVERYTHING
    assert ("blank_jobs", NOW - 90 * DAY) in shelves.calls
    assert ("left", NOW - 30 * DAY) in shelves.calls


async def test_a_round_takes_batch_after_batch_until_nothing_is_left() -> None:
    shelves = Shelves()
    shelves.found["blank_jobs"] = [500, 500, 3]

    assert await keeper(shelves).sweep() == RetentionReport(jobs=1003)

    assert shelves.names.count("blank_jobs") == 4


async def test_what_fails_takes_nothing_else_along() -> None:
    shelves = Shelves()
    shelves.ill = {"expire_credits", "blank_jobs", "left"}
    shelves.found["blank_grants"] = [2]

    assert await keeper(shelves).sweep() == RetentionReport(credits=2, failed=3)
    assert shelves.names == [*EVERYTHING[:4], "blank_grants", *EVERYTHING[4:]]


async def test_a_server_that_fails_leaves_the_next_one_its_turn() -> None:
    shelves = Shelves()
    shelves.guilds = [1, 2]
    shelves.ill = {"clear_left"}
    shelves.found["blank_left_jobs"] = [5, 0, 7]

    assert await keeper(shelves).sweep() == RetentionReport(servers=2, failed=2)


async def test_a_wish_that_fails_leaves_the_next_one_its_turn() -> None:
    shelves = Shelves()
    shelves.wishes = [Erasure(1, NOW), Erasure(2, NOW)]
    shelves.ill = {"drop_records"}

    assert await keeper(shelves).sweep() == RetentionReport(failed=2)
    assert [call[1] for call in shelves.calls if call[0] == "to_cancel"] == [1, 2]


async def test_it_sweeps_at_the_start_and_again_until_it_is_stopped() -> None:
    shelves = Shelves()
    it = keeper(shelves, every=timedelta(0))
    task = asyncio.create_task(it.run())
    for _ in range(3):
        await shelves.rounds.acquire()

    it.stop()
    await task


async def test_it_outlives_a_store_that_is_ill() -> None:
    shelves = Shelves()
    shelves.ill = set(EVERYTHING)
    it = keeper(shelves, every=timedelta(0))
    task = asyncio.create_task(it.run())
    for _ in range(3):
        await shelves.rounds.acquire()
    shelves.ill.clear()
    await shelves.rounds.acquire()

    it.stop()
    await task


async def test_it_waits_out_its_hour_and_a_stop_wakes_it() -> None:
    shelves = Shelves()
    it = keeper(shelves)
    task = asyncio.create_task(it.run())
    await shelves.rounds.acquire()
    it.wake()
    for _ in range(20):
        await asyncio.sleep(0)

    assert shelves.names == EVERYTHING
    it.stop()
    await task


class Stopping(Shelves):
    """Is told to stop in the middle of a batch."""

    keeper: RetentionWorker

    async def anonymise_jobs(self, before: Any) -> int:
        self.keeper.stop()
        self.found["blank_jobs"] = [500] if len(self.calls) == 1 else []
        return await super().anonymise_jobs(before)


async def test_a_stop_lets_the_batch_end_and_begins_no_other() -> None:
    shelves = Stopping()
    shelves.keeper = keeper(shelves)

    assert await shelves.keeper.sweep() == RetentionReport(jobs=500)

    assert shelves.names == ["expire_credits", "blank_jobs"]
