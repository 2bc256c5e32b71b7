"""Checking blocked terms takes a while, and nothing else waits for it."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from bot.domain.errors import NotPossible
from bot.domain.guilds import BlockedTerm
from bot.domain.terms import TERMS_MAX
from bot.services.admin.audited import Admin
from bot.services.admin.policy import PolicyService
from bot.store.guilds import policy_entries
from bot.store.jobs.job_store import JobStore
from tests.fakes import NOW, TASK_LIFETIME

HERE = Admin(10, 99)
Change = Callable[[PolicyService], Awaitable[object]]
CHANGES: list[Change] = [
    lambda policy: policy.block_terms(HERE, "gore"),
    lambda policy: policy.block_terms(HERE, "g[o0]re", pattern=True),
    lambda policy: policy.unblock_term(HERE, "known"),
]


class SlowThreads(ThreadPoolExecutor):
    """The event loop's threads, of which there is one, and it is busy until it is let go."""

    def __init__(self) -> None:
        super().__init__(max_workers=1)
        self.asked = asyncio.Event()
        self._free = threading.Event()
        super().submit(self._free.wait)

    def submit(self, *args: object, **kwargs: object) -> object:  # type: ignore[override]  # only passes it on
        self.asked.set()
        return super().submit(*args, **kwargs)  # type: ignore[arg-type]  # the same

    def let_go(self) -> None:
        self._free.set()


@contextmanager
def slow_threads() -> Iterator[SlowThreads]:
    with SlowThreads() as threads:
        asyncio.get_running_loop().set_default_executor(threads)
        try:
            yield threads
        finally:
            threads.let_go()


@pytest.fixture
async def policy(store: JobStore) -> PolicyService:
    policy = PolicyService(store._db, wake=lambda: None, clock=lambda: NOW, task_lifetime=TASK_LIFETIME)
    await policy.block_terms(HERE, "known")
    return policy


async def block(store: JobStore, *terms: str) -> None:
    """What another admin is quicker with."""
    async with store._db.write() as connection:
        await policy_entries.add_terms(connection, HERE.guild_id, [BlockedTerm(term) for term in terms])


@pytest.mark.parametrize("change", CHANGES, ids=["words", "pattern", "unblocking"])
async def test_others_write_while_terms_are_checked(
    policy: PolicyService, store: JobStore, change: Change
) -> None:
    with slow_threads() as threads:
        changing = asyncio.ensure_future(change(policy))
        await threads.asked.wait()
        async with asyncio.timeout(20):
            await block(store, "fox")
        threads.let_go()
        await changing

    assert BlockedTerm("fox") in await policy.terms(HERE)
    assert len(await policy.terms(HERE)) == (1 if change is CHANGES[2] else 3)


async def test_terms_that_another_admin_blocked_meanwhile_count_towards_the_limit(
    policy: PolicyService, store: JobStore
) -> None:
    with slow_threads() as threads:
        changing = asyncio.ensure_future(policy.block_terms(HERE, "one too many"))
        await threads.asked.wait()
        await block(store, *(f"word{number}" for number in range(TERMS_MAX - 1)))
        threads.let_go()
        with pytest.raises(NotPossible, match="TOO_MANY_TERMS"):
            await changing

    assert len(await policy.terms(HERE)) == TERMS_MAX


async def test_a_term_that_another_admin_blocked_meanwhile_is_known(
    policy: PolicyService, store: JobStore
) -> None:
    with slow_threads() as threads:
        changing = asyncio.ensure_future(policy.block_terms(HERE, "Gore"))
        await threads.asked.wait()
        await block(store, "gore")
        threads.let_go()
        result = await changing

    assert result.known == (BlockedTerm("Gore"),)
    assert await policy.terms(HERE) == (BlockedTerm("gore"), BlockedTerm("known"))


async def test_a_term_that_another_admin_unblocked_meanwhile_is_not_unblocked_twice(
    policy: PolicyService, store: JobStore
) -> None:
    with slow_threads() as threads:
        changing = asyncio.ensure_future(policy.unblock_term(HERE, "known"))
        await threads.asked.wait()
        async with store._db.write() as connection:
            await policy_entries.remove_term(connection, HERE.guild_id, "known")
        threads.let_go()
        with pytest.raises(NotPossible, match="TERM_NOT_BLOCKED"):
            await changing
