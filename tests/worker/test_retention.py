"""The retention worker's runs and loop, over stores without a database."""

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from bot.domain.errors import StoreError
from bot.domain.member_data import Erasure, RetentionPolicy
from bot.store.privacy.member_data import MemberDataStore
from bot.store.privacy.retention import RetentionStore
from bot.worker.retention import RetentionReport, RetentionWorker

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
DAY = timedelta(days=1)
ALL_PARTS = [
    "release_held_costs", "expire_credits", "anonymise_jobs", "anonymise_entries", "anonymise_grants", "drop_old",
    "drop_pictures", "drop_durations", "left_guilds", "erasure_requests",
]  # fmt: skip


@dataclass
class Calls:
    """The calls of both stores. rows: how many rows the next calls of a name touch. failing: names that raise."""

    made: list[tuple[Any, ...]] = field(default_factory=list)
    rows: defaultdict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    failing: set[str] = field(default_factory=set)

    @property
    def names(self) -> list[str]:
        return [call[0] for call in self.made]

    def add(self, name: str, *args: Any) -> int:
        self.made.append((name, *args))
        if name in self.failing:
            raise StoreError("the disk is full")
        return self.rows[name].pop(0) if self.rows[name] else 0


class FakeRetentionStore(RetentionStore):
    """guilds: the servers that removed the bot."""

    def __init__(self, calls: Calls) -> None:
        self.calls = calls
        self.guilds: list[int] = []

    async def release_held_costs(self, now: datetime) -> int:
        return self.calls.add("release_held_costs", now)

    async def expire_credits(self, now: datetime) -> int:
        return self.calls.add("expire_credits", now)

    async def anonymise_jobs(self, before: datetime) -> int:
        return self.calls.add("anonymise_jobs", before)

    async def anonymise_entries(self, before: datetime, now: datetime) -> int:
        return self.calls.add("anonymise_entries", before, now)

    async def anonymise_grants(self, before: datetime) -> int:
        return self.calls.add("anonymise_grants", before)

    async def drop_old(self, before: datetime, now: datetime) -> int:
        return self.calls.add("drop_old", before, now)

    async def drop_pictures(self, before: datetime) -> int:
        return self.calls.add("drop_pictures", before)

    async def drop_durations(self) -> int:
        return self.calls.add("drop_durations")

    async def left_guilds(self, before: datetime) -> list[int]:
        self.calls.add("left_guilds", before)
        return self.guilds

    async def anonymise_left_jobs(self, guild_id: int, before: datetime) -> int:
        return self.calls.add("anonymise_left_jobs", guild_id, before)

    async def anonymise_left_entries(self, guild_id: int, before: datetime, now: datetime) -> int:
        return self.calls.add("anonymise_left_entries", guild_id, before, now)

    async def clear_left(self, guild_id: int, before: datetime, now: datetime) -> int:
        return self.calls.add("clear_left", guild_id, before, now)


class FakeMemberDataStore(MemberDataStore):
    """erasures: what members asked for. runs: released once in each run of the worker."""

    def __init__(self, calls: Calls) -> None:
        self.calls = calls
        self.erasures: list[Erasure] = []
        self.runs = asyncio.Semaphore(0)

    async def erasure_requests(self) -> list[Erasure]:
        self.runs.release()
        self.calls.add("erasure_requests")
        return self.erasures

    async def to_cancel(self, erasure: Erasure) -> list[str]:
        self.calls.add("to_cancel", erasure.user_id)
        return []

    async def give_up_credits(self, erasure: Erasure, now: datetime) -> int:
        return self.calls.add("give_up_credits", erasure.user_id, now)

    async def drop_pictures(self, erasure: Erasure) -> int:
        return self.calls.add("drop_member_pictures", erasure.user_id)

    async def anonymise_jobs(self, erasure: Erasure) -> int:
        return self.calls.add("anonymise_member_jobs", erasure.user_id)

    async def anonymise_entries(self, erasure: Erasure, now: datetime) -> int:
        return self.calls.add("anonymise_member_entries", erasure.user_id, now)

    async def drop_records(self, erasure: Erasure, now: datetime) -> int:
        return self.calls.add("drop_records", erasure.user_id, now)

    async def finish(self, erasure: Erasure) -> bool:
        self.calls.add("finish", erasure.user_id)
        return True


class Harness:
    """A retention worker and its stores."""

    def __init__(self, interval: timedelta = timedelta(hours=1)) -> None:
        self.calls = Calls()
        self.store, self.member_data = FakeRetentionStore(self.calls), FakeMemberDataStore(self.calls)
        policy = RetentionPolicy(90, 30, days_of_pictures=10)
        self.worker = RetentionWorker(self.store, self.member_data, policy, clock=lambda: NOW, interval=interval)

    async def wait_for_runs(self, number: int) -> None:
        for _ in range(number):
            await self.member_data.runs.acquire()


async def test_a_run_passes_its_own_time_and_the_retention_limits_to_the_store() -> None:
    harness = Harness()

    assert await harness.worker.run_once() == RetentionReport()

    assert harness.calls.names == ALL_PARTS
    assert ("anonymise_jobs", NOW - 90 * DAY) in harness.calls.made
    assert ("left_guilds", NOW - 30 * DAY) in harness.calls.made
    assert ("drop_pictures", NOW - 10 * DAY) in harness.calls.made


async def test_a_run_takes_batch_after_batch_until_nothing_is_left() -> None:
    harness = Harness()
    harness.calls.rows["anonymise_jobs"] = [500, 500, 3]

    assert await harness.worker.run_once() == RetentionReport(jobs=1003)

    assert harness.calls.names.count("anonymise_jobs") == 4


async def test_a_failing_part_does_not_stop_the_others() -> None:
    harness = Harness()
    harness.calls.failing = {"expire_credits", "anonymise_jobs", "left_guilds"}
    harness.calls.rows["anonymise_grants"] = [2]

    assert await harness.worker.run_once() == RetentionReport(credits=2, failed=3)
    assert harness.calls.names == [*ALL_PARTS[:4], "anonymise_grants", *ALL_PARTS[4:]]


async def test_a_failing_server_does_not_stop_the_others() -> None:
    harness = Harness()
    harness.store.guilds = [1, 2]
    harness.calls.failing = {"clear_left"}
    harness.calls.rows["anonymise_left_jobs"] = [5, 0, 7]

    assert await harness.worker.run_once() == RetentionReport(guilds=2, failed=2)


async def test_a_failing_erasure_does_not_stop_the_others() -> None:
    harness = Harness()
    harness.member_data.erasures = [Erasure(1, NOW), Erasure(2, NOW)]
    harness.calls.failing = {"drop_records"}

    assert await harness.worker.run_once() == RetentionReport(failed=2)
    assert [call[1] for call in harness.calls.made if call[0] == "to_cancel"] == [1, 2]


async def test_erasures_that_are_complete_are_counted() -> None:
    harness = Harness()
    harness.member_data.erasures = [Erasure(1, NOW), Erasure(2, NOW)]

    assert await harness.worker.run_once() == RetentionReport(erasures=2)


async def test_it_runs_at_the_start_and_again_until_it_is_stopped() -> None:
    harness = Harness(interval=timedelta(0))
    task = asyncio.create_task(harness.worker.run())
    await harness.wait_for_runs(3)

    harness.worker.stop()
    await task


async def test_it_survives_an_outage_of_the_store() -> None:
    harness = Harness(interval=timedelta(0))
    harness.calls.failing = set(ALL_PARTS)
    task = asyncio.create_task(harness.worker.run())
    await harness.wait_for_runs(3)
    harness.calls.failing.clear()
    await harness.wait_for_runs(1)

    harness.worker.stop()
    await task


async def test_it_waits_out_its_interval_and_a_stop_wakes_it() -> None:
    harness = Harness()
    task = asyncio.create_task(harness.worker.run())
    await harness.wait_for_runs(1)
    harness.worker.wake()
    for _ in range(20):
        await asyncio.sleep(0)

    assert harness.calls.names == ALL_PARTS
    harness.worker.stop()
    await task


async def test_a_stop_finishes_the_batch_and_starts_no_other() -> None:
    harness = Harness()

    class StoppingStore(FakeRetentionStore):
        """Stops the worker in the middle of a batch."""

        async def anonymise_jobs(self, before: datetime) -> int:
            worker.stop()
            return await super().anonymise_jobs(before)

    harness.calls.rows["anonymise_jobs"] = [500, 500]
    store = StoppingStore(harness.calls)
    worker = RetentionWorker(store, harness.member_data, RetentionPolicy(90, 30), clock=lambda: NOW)

    assert await worker.run_once() == RetentionReport(jobs=500)

    assert harness.calls.names == ["release_held_costs", "expire_credits", "anonymise_jobs"]
