"""What the search for blocked terms costs, and whom it keeps waiting."""

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import replace

import pytest
from sqlalchemy import insert

from bot.domain.errors import QuotaRefused, RuleRefused
from bot.domain.guilds import BlockedTerm, LimitOverrides, OperatorDefaults
from bot.domain.jobs import NewJob, Order, new_job_id
from bot.domain.policy import PromptBlocked, Requester, RuleName, find_violation
from bot.store import schema
from bot.store.engine import Database
from bot.store.guilds import guild_settings
from bot.store.jobs.job_store import JobStore
from tests.fakes import FRAME, NOW

MEMBER = Requester(guild_id=10, channel_id=100, user_id=1)
ONE = OperatorDefaults(limits=LimitOverrides(videos_per_window=1, max_active=1, cooldown_s=0))


class Searches:
    """Searches for blocked terms, and notes the threads in which it did."""

    def __init__(self) -> None:
        self.threads: list[threading.Thread] = []

    def find_violation(self, prompt: str, terms: Sequence[BlockedTerm]) -> PromptBlocked | None:
        self.threads.append(threading.current_thread())
        return find_violation(prompt, terms)


@pytest.fixture
def searches() -> Searches:
    return Searches()


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
    database: Database, searches: Searches
) -> None:
    store = JobStore(database, find_violation=searches.find_violation)
    await block(database, "wolf")

    await store.check(MEMBER, Order("a fox"), NOW, arriving=0)
    await store.add(new_job("a fox"), FRAME, MEMBER, NOW)

    assert len(searches.threads) == 2
    assert threading.current_thread() not in searches.threads


async def test_an_order_that_a_limit_refuses_is_not_searched(database: Database, searches: Searches) -> None:
    store = JobStore(database, ONE, find_violation=searches.find_violation)
    await block(database, "wolf")
    await store.add(new_job("a fox"), FRAME, MEMBER, NOW)
    searches.threads.clear()

    with pytest.raises(QuotaRefused):
        await store.check(MEMBER, Order("a wolf"), NOW, arriving=0)

    assert searches.threads == []


async def test_an_order_that_another_rule_refuses_is_not_searched(database: Database, searches: Searches) -> None:
    store = JobStore(database, find_violation=searches.find_violation)
    await block(database, "wolf")
    async with database.write() as connection:
        await guild_settings.write(connection, MEMBER.guild_id, {"paused": True})

    with pytest.raises(RuleRefused) as refused:
        await store.check(MEMBER, Order("a wolf"), NOW, arriving=0)

    assert refused.value.rule == RuleName.PAUSED
    assert searches.threads == []


async def test_a_search_keeps_no_other_order_waiting(database: Database) -> None:
    """Neither the event loop nor the lock that all orders take waits for it."""
    await block(database, "wolf")
    may_end, began = threading.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def search(_prompt: str, _terms: Sequence[BlockedTerm]) -> None:
        loop.call_soon_threadsafe(began.set)
        may_end.wait()

    store = JobStore(database, find_violation=search)
    slow = asyncio.create_task(store.add(new_job("a fox"), FRAME, MEMBER, NOW))
    await began.wait()
    elsewhere = replace(MEMBER, guild_id=11)
    other = replace(new_job("a fox"), guild_id=11)

    try:
        async with asyncio.timeout(30):
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
