"""An hour without upstream, Discord or database: nothing is lost, no burst follows, no restart is needed."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from bot.domain.errors import DeliveryDelayed, UpstreamIll, UpstreamUnreached
from bot.domain.jobs import Job, JobState
from bot.worker.loop import Worker
from tests.fakes import Faulty
from tests.harness import STORE_DOWN, WorkerHarness, run_until_idle, running_loop

SLOTS = 4
PAUSE_S = 2
MEMBERS = 8
UPSTREAM = ("submit", "status", "download")
DISCORD = ("show_status", "update_status", "notify_failure", "post_video", "find_video", "upload_limit_bytes")


@dataclass(frozen=True)
class Instant:
    """A moment of the injected clock, and the requests to upstream and Discord at that moment."""

    at: datetime
    asked: Counter[str]


def pace() -> dict[str, Any]:
    return {"max_running": SLOTS, "submit_interval": timedelta(seconds=PAUSE_S)}


async def live(
    harness: WorkerHarness, worker: Worker, seconds: int, each: Callable[[], None] = lambda: None
) -> list[Instant]:
    """Moves the clock from one moment at which something is due to the next; returns the requests at each."""
    end, instants = harness.clock() + timedelta(seconds=seconds), []
    while harness.clock() < end:
        before = Counter(harness.provider.calls + harness.messenger.calls)
        due_at = await harness.store.next_due_at(harness.clock(), SLOTS) or end
        harness.clock.now = min(end, max(due_at, harness.clock() + timedelta(milliseconds=100)))
        await run_until_idle(worker)
        each()
        asked = Counter(harness.provider.calls + harness.messenger.calls) - before
        instants.append(Instant(harness.clock(), asked))
    return instants


def sums(instants: list[Instant]) -> Counter[str]:
    return sum((instant.asked for instant in instants), Counter())


def most_within(instants: list[Instant], name: str, seconds: float) -> int:
    """The maximum number of requests of a kind in any such span."""
    span = timedelta(seconds=seconds)
    return max(
        sum(other.asked[name] for other in instants if timedelta(0) <= other.at - instant.at < span)
        for instant in instants
    )


async def crowd(harness: WorkerHarness, worker: Worker, members: int = MEMBERS) -> list[Job]:
    """One job for each member: as many run as there are slots, two of those are finished, the rest wait."""
    jobs = [await harness.order(user_id=number) for number in range(members)]
    await live(harness, worker, 30)
    for task_id in ("task-1", "task-2"):
        harness.provider.finish(task_id)
    return jobs


async def finish(harness: WorkerHarness, worker: Worker, jobs: list[Job]) -> list[Instant]:
    instants = await live(harness, worker, 900, harness.provider.finish_all)
    assert {await harness.state(job) for job in jobs} == {JobState.DELIVERED}
    assert [len(harness.messenger.posted("video", job)) for job in jobs] == [1] * len(jobs)
    assert [len(harness.messenger.posted("status", job)) for job in jobs] == [1] * len(jobs)
    assert harness.provider.max_running <= SLOTS
    return instants


def ill(fake: Faulty, names: tuple[str, ...], error: Exception) -> None:
    for name in names:
        fake.fail_always(name, error)


async def test_an_hour_without_the_upstream(harness: WorkerHarness) -> None:
    worker = harness.worker(**pace())
    jobs = await crowd(harness, worker)
    ill(harness.provider, UPSTREAM, UpstreamIll("502"))
    ill(harness.provider, ("submit",), UpstreamUnreached("connection refused"))
    posts, tasks = harness.provider.submit_count, len(harness.provider.tasks)
    asked = sums(await live(harness, worker, 3600))
    late = await harness.order(user_id=99)
    assert {await harness.state(job) for job in jobs} <= {JobState.QUEUED, JobState.RUNNING}
    assert asked["status"] <= SLOTS * 70, "a look of each task every minute, and some at first"
    assert asked["submit"] <= 40

    harness.provider.stop_failing()
    instants = await finish(harness, worker, [*jobs, late])
    assert harness.provider.submit_count - posts - asked["submit"] == MEMBERS + 1 - tasks
    assert [order.prompt for order in harness.provider.orders] == [f"member {n}" for n in (*range(MEMBERS), 99)]
    assert most_within(instants, "submit", PAUSE_S) == 1
    assert most_within(instants, "status", 1) <= SLOTS


async def test_an_hour_without_discord(harness: WorkerHarness) -> None:
    worker = harness.worker(**pace())
    jobs = await crowd(harness, worker, SLOTS)
    ill(harness.messenger, DISCORD, DeliveryDelayed("503"))
    asked = sums(await live(harness, worker, 3600, harness.provider.finish_all))
    assert not {await harness.state(job) for job in jobs} & {JobState.FAILED, JobState.DELIVERED}
    assert harness.provider.submit_count == SLOTS, "what was accepted is made meanwhile, and waits to be posted"
    tries = sum(asked[name] for name in DISCORD)
    assert tries <= SLOTS * 80, "each of them about once a minute"
    assert asked["download"] <= SLOTS * 70

    harness.messenger.stop_failing()
    instants = await finish(harness, worker, jobs)
    assert most_within(instants, "post_video", 1) <= SLOTS - 2, "they come back one after another"


async def test_an_hour_without_the_database(harness: WorkerHarness) -> None:
    worker = harness.worker(**pace())
    jobs = await crowd(harness, worker)
    board = harness.worker_store
    names = ("claim_due", "claim_queued", "apply", "apply_later", "next_due_at", "renew", "frame", "gate", "get")
    ill(board, names, STORE_DOWN)
    posts = harness.provider.submit_count
    async with running_loop(harness.worker(**pace())):
        await board.wait_for_call("claim_due", board.calls.count("claim_due") + 5)
        harness.advance_clock(hours=1)
        await board.wait_for_call("claim_due", board.calls.count("claim_due") + 5)
        assert harness.provider.submit_count == posts
        harness.provider.finish_all()
        board.stop_failing()
        await board.wait_for_call("next_due_at", board.calls.count("next_due_at") + 3)
    instants = await finish(harness, worker, jobs)
    assert harness.provider.submit_count == MEMBERS
    assert most_within(instants, "submit", PAUSE_S) == 1
