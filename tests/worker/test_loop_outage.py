"""An hour without upstream, Discord or database: nothing is lost, no burst follows, no restart is needed."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest

from bot.domain.errors import DeliveryDelayed, UpstreamIll, UpstreamUnreached
from bot.domain.jobs import Job, JobState
from bot.worker.loop import Worker
from tests.fakes import Faulty
from tests.harness import STORE_DOWN, WorkerHarness, run_until_idle, running_loop
from tests.providers_asked import vtrix

pytestmark = pytest.mark.full

SLOTS = 4
PAUSE_S = 2
MEMBERS = 8
UPSTREAM = ("submit", "status", "download")
DISCORD = ("show_status", "remove_status", "notify_failure", "post_video", "find_video", "upload_limit_bytes")


@dataclass(frozen=True)
class Instant:
    """A moment of the injected clock, and the requests to upstream and Discord at that moment."""

    at: datetime
    requests: Counter[str]


def submission_limits() -> dict[str, Any]:
    return {"providers": vtrix(SLOTS, timedelta(seconds=PAUSE_S))}


async def advance(
    harness: WorkerHarness, worker: Worker, seconds: int, each: Callable[[], None] = lambda: None
) -> list[Instant]:
    """Moves the clock from one moment at which something is due to the next; returns the requests at each."""
    end, instants = harness.clock() + timedelta(seconds=seconds), []
    while harness.clock() < end:
        before = Counter(harness.provider.calls + harness.messenger.calls)
        due_at = await harness.store.next_due_at(harness.clock(), vtrix(SLOTS)) or end
        harness.clock.now = min(end, max(due_at, harness.clock() + timedelta(milliseconds=100)))
        await run_until_idle(worker)
        each()
        requests = Counter(harness.provider.calls + harness.messenger.calls) - before
        instants.append(Instant(harness.clock(), requests))
    return instants


def totals(instants: list[Instant]) -> Counter[str]:
    return sum((instant.requests for instant in instants), Counter())


def max_within(instants: list[Instant], name: str, seconds: float) -> int:
    """The maximum number of requests of a kind in any such span."""
    span = timedelta(seconds=seconds)
    return max(
        sum(other.requests[name] for other in instants if timedelta(0) <= other.at - instant.at < span)
        for instant in instants
    )


async def order_for_everyone(harness: WorkerHarness, worker: Worker, members: int = MEMBERS) -> list[Job]:
    """One job for each member: as many run as there are slots, two of those are finished, the rest wait."""
    jobs = [await harness.order(user_id=number) for number in range(members)]
    await advance(harness, worker, 30)
    for task_id in ("task-1", "task-2"):
        harness.provider.finish(task_id)
    return jobs


async def finish(harness: WorkerHarness, worker: Worker, jobs: list[Job]) -> list[Instant]:
    instants = await advance(harness, worker, 900, harness.provider.finish_all)
    assert {await harness.state(job) for job in jobs} == {JobState.DELIVERED}
    assert [len(harness.messenger.posted("video", job)) for job in jobs] == [1] * len(jobs)
    assert [len(harness.messenger.posted("status", job)) for job in jobs] == [0] * len(jobs)
    assert harness.provider.max_running <= SLOTS
    return instants


def fail_all(fake: Faulty, names: tuple[str, ...], error: Exception) -> None:
    for name in names:
        fake.fail_always(name, error)


async def test_an_hour_without_the_upstream_loses_nothing(harness: WorkerHarness) -> None:
    worker = harness.worker(**submission_limits())
    jobs = await order_for_everyone(harness, worker)
    fail_all(harness.provider, UPSTREAM, UpstreamIll("502"))
    fail_all(harness.provider, ("submit",), UpstreamUnreached("connection refused"))
    posts, tasks = harness.provider.submit_count, len(harness.provider.tasks)
    requests = totals(await advance(harness, worker, 3600))
    late = await harness.order(user_id=99)
    assert {await harness.state(job) for job in jobs} <= {JobState.QUEUED, JobState.RUNNING}
    assert requests["status"] <= SLOTS * 70, "each task is polled once a minute, and more often at first"
    assert requests["submit"] <= 40

    harness.provider.stop_failing()
    instants = await finish(harness, worker, [*jobs, late])
    assert harness.provider.submit_count - posts - requests["submit"] == MEMBERS + 1 - tasks
    assert [order.prompt for order in harness.provider.orders] == [f"member {n}" for n in (*range(MEMBERS), 99)]
    assert max_within(instants, "submit", PAUSE_S) == 1
    assert max_within(instants, "status", 1) <= SLOTS


async def test_an_hour_without_discord_loses_nothing(harness: WorkerHarness) -> None:
    worker = harness.worker(**submission_limits())
    jobs = await order_for_everyone(harness, worker, SLOTS)
    fail_all(harness.messenger, DISCORD, DeliveryDelayed("503"))
    requests = totals(await advance(harness, worker, 3600, harness.provider.finish_all))
    assert not {await harness.state(job) for job in jobs} & {JobState.FAILED, JobState.DELIVERED}
    assert harness.provider.submit_count == SLOTS, "what was accepted is made meanwhile, and waits to be posted"
    tries = sum(requests[name] for name in DISCORD)
    assert tries <= SLOTS * 80, "each of them about once a minute"
    assert requests["download"] <= SLOTS * 70

    harness.messenger.stop_failing()
    instants = await finish(harness, worker, jobs)
    assert max_within(instants, "post_video", 1) <= SLOTS - 2, "they come back one after another"


async def test_an_hour_without_the_database_loses_nothing(harness: WorkerHarness) -> None:
    worker = harness.worker(**submission_limits())
    jobs = await order_for_everyone(harness, worker)
    store = harness.worker_store
    claims = ("claim_due", "claim_polls", "claim_queued")
    names = (*claims, "apply", "reschedule", "next_due_at", "renew", "frame", "gate", "get")
    fail_all(store, names, STORE_DOWN)
    posts = harness.provider.submit_count
    async with running_loop(harness.worker(**submission_limits())):
        await store.wait_for_call("claim_due", store.calls.count("claim_due") + 5)
        harness.advance_clock(hours=1)
        await store.wait_for_call("claim_due", store.calls.count("claim_due") + 5)
        assert harness.provider.submit_count == posts
        harness.provider.finish_all()
        store.stop_failing()
        await store.wait_for_call("next_due_at", store.calls.count("next_due_at") + 3)
    instants = await finish(harness, worker, jobs)
    assert harness.provider.submit_count == MEMBERS
    assert max_within(instants, "submit", PAUSE_S) == 1
