"""What the search for blocked terms costs, and whom it keeps waiting."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any, TypeVar

import pytest
from sqlalchemy import insert

from bot.domain.errors import QuotaRefused, RuleRefused
from bot.domain.guilds import LimitOverrides, OperatorDefaults
from bot.domain.jobs import NewJob, Order, new_job_id
from bot.domain.policy import Requester, RuleName
from bot.store import schema
from bot.store.engine import Database
from bot.store.guilds import guild_settings
from bot.store.jobs.job_store import JobStore
from tests.fakes import FRAME, NOW
from tests.providers_asked import CATALOG

T = TypeVar("T")
MEMBER = Requester(guild_id=10, channel_id=100, user_id=1)
ONE = OperatorDefaults(catalog=CATALOG, limits=LimitOverrides(videos_per_window=1, max_active=1, cooldown_s=0))


class Threads(ThreadPoolExecutor):
    """The event loop's threads. calls: how many functions they were given to run."""

    def __init__(self) -> None:
        super().__init__(max_workers=1)
        self.calls = 0

    def submit(self, function: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        self.calls += 1
        return super().submit(function, *args, **kwargs)


@pytest.fixture
async def threads() -> Threads:
    """Replaces the event loop's threads."""
    threads = Threads()
    asyncio.get_running_loop().set_default_executor(threads)
    return threads


@pytest.fixture
def database(store: JobStore) -> Database:
    return store._db


async def block(database: Database, word: str) -> None:
    async with database.write() as connection:
        row = {"guild_id": MEMBER.guild_id, "text": word, "is_pattern": False}
        await connection.execute(insert(schema.blocked_terms).values(row))


def new_job(prompt: str) -> NewJob:
    return NewJob(new_job_id(), MEMBER.guild_id, MEMBER.channel_id, MEMBER.user_id, Order(prompt))


async def test_a_prompt_is_searched_in_a_thread_not_in_the_event_loops(
    store: JobStore, database: Database, threads: Threads
) -> None:
    await block(database, "wolf")

    await store.check(MEMBER, Order("a fox"), NOW, arriving=0)
    assert threads.calls == 1
    await store.add(new_job("a fox"), FRAME, MEMBER, NOW)
    assert threads.calls == 2


async def test_an_order_that_a_limit_refuses_is_not_searched(database: Database, threads: Threads) -> None:
    store = JobStore(database, ONE)
    await block(database, "wolf")
    await store.add(new_job("a fox"), FRAME, MEMBER, NOW)
    before = threads.calls

    with pytest.raises(QuotaRefused):
        await store.check(MEMBER, Order("a wolf"), NOW, arriving=0)

    assert threads.calls == before


async def test_an_order_that_another_rule_refuses_is_not_searched(
    store: JobStore, database: Database, threads: Threads
) -> None:
    await block(database, "wolf")
    async with database.write() as connection:
        await guild_settings.write(connection, MEMBER.guild_id, {"paused": True})

    with pytest.raises(RuleRefused) as refused:
        await store.check(MEMBER, Order("a wolf"), NOW, arriving=0)

    assert refused.value.rule == RuleName.PAUSED
    assert threads.calls == 0


async def test_a_search_keeps_no_other_order_waiting(
    store: JobStore, database: Database, threads: Threads
) -> None:
    """Neither the event loop nor the lock that all orders take waits for it."""
    await block(database, "wolf")
    may_end = threading.Event()
    threads.submit(may_end.wait)  # the only thread, so that the search doesn't end either
    slow = asyncio.create_task(store.add(new_job("a fox"), FRAME, MEMBER, NOW))
    elsewhere = replace(MEMBER, guild_id=11)
    other = replace(new_job("a fox"), guild_id=11)

    try:
        async with asyncio.timeout(30):
            while threads.calls == 1:
                await asyncio.sleep(0)
            await store.add(other, FRAME, elsewhere, NOW)
        assert not slow.done()
    finally:
        may_end.set()
    await slow


async def test_a_word_that_was_blocked_while_the_picture_was_prepared_refuses_the_order(
    store: JobStore, database: Database
) -> None:
    await store.check(MEMBER, Order("a wolf"), NOW, arriving=0)
    await block(database, "wolf")

    with pytest.raises(RuleRefused) as refused:
        await store.add(new_job("a wolf"), FRAME, MEMBER, NOW)

    assert refused.value.rule == RuleName.BLOCKED_TERM


async def test_a_blocked_word_is_welcome_in_the_negative_prompt(store: JobStore, database: Database) -> None:
    await block(database, "gore")
    job = replace(new_job("a fox"), order=Order("a fox", negative_prompt="gore"))

    assert (await store.add(job, FRAME, MEMBER, NOW)).order.negative_prompt == "gore"
