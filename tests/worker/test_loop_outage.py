"""An hour without upstream, Discord or database: nothing is lost, nothing stampedes, no restart is needed."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from bot.domain.errors import DeliveryDelayed, UpstreamIll, UpstreamUnreached
from bot.domain.jobs import Job, JobState
from bot.worker.loop import Worker
from tests.fakes import Faulty
from tests.harness import DOWN, OperatorState, loop_of, settle

SLOTS = 4
PAUSE_S = 2
MEMBERS = 8
UPSTREAM = ("submit", "status", "download")
DISCORD = ("show_status", "update_status", "tell_failure", "post_video", "find_video", "upload_limit_bytes")


@dataclass(frozen=True)
class Instant:
    """A moment of the injected clock, and what was asked of upstream and Discord at it."""

    at: datetime
    asked: Counter[str]


def pace() -> dict[str, Any]:
    return {"max_running": SLOTS, "submit_pause": timedelta(seconds=PAUSE_S)}


async def live(
    house: OperatorState, worker: Worker, seconds: int, each: Callable[[], None] = lambda: None
) -> list[Instant]:
    """Lets time pass, from one moment at which something is due to the next; what was asked for at each."""
    end, instants = house.clock() + timedelta(seconds=seconds), []
    while house.clock() < end:
        before = Counter(house.provider.calls + house.messenger.calls)
        due_at = await house.store.next_due_at(house.clock(), SLOTS) or end
        house.clock.now = min(end, max(due_at, house.clock() + timedelta(milliseconds=100)))
        await settle(worker)
        each()
        asked = Counter(house.provider.calls + house.messenger.calls) - before
        instants.append(Instant(house.clock(), asked))
    return instants


def sums(instants: list[Instant]) -> Counter[str]:
    return sum((instant.asked for instant in instants), Counter())


def most_within(instants: list[Instant], name: str, seconds: float) -> int:
    """The most requests of a kind in any such span."""
    span = timedelta(seconds=seconds)
    return max(
        sum(other.asked[name] for other in instants if timedelta(0) <= other.at - instant.at < span)
        for instant in instants
    )


async def crowd(house: OperatorState, worker: Worker, members: int = MEMBERS) -> list[Job]:
    """A job of each member: as many run as there are slots, two of these are finished by now, the rest wait."""
    jobs = [await house.order(user_id=number) for number in range(members)]
    await live(house, worker, 30)
    for task_id in ("task-1", "task-2"):
        house.provider.end(task_id)
    return jobs


async def finish(house: OperatorState, worker: Worker, jobs: list[Job]) -> list[Instant]:
    instants = await live(house, worker, 900, house.provider.end_all)
    assert {await house.state(job) for job in jobs} == {JobState.DELIVERED}
    assert [len(house.messenger.of("video", job)) for job in jobs] == [1] * len(jobs)
    assert [len(house.messenger.of("status", job)) for job in jobs] == [1] * len(jobs)
    assert house.provider.most_at_once <= SLOTS
    return instants


def ill(place: Faulty, names: tuple[str, ...], error: Exception) -> None:
    for name in names:
        place.fail_from_now_on(name, error)


async def test_an_hour_without_the_upstream(house: OperatorState) -> None:
    worker = house.worker(**pace())
    jobs = await crowd(house, worker)
    ill(house.provider, UPSTREAM, UpstreamIll("502"))
    ill(house.provider, ("submit",), UpstreamUnreached("connection refused"))
    posts, tasks = house.provider.posts, len(house.provider.tasks)
    asked = sums(await live(house, worker, 3600))
    late = await house.order(user_id=99)
    assert {await house.state(job) for job in jobs} <= {JobState.QUEUED, JobState.RUNNING}
    assert asked["status"] <= SLOTS * 70, "a look of each task every minute, and some at first"
    assert asked["submit"] <= 40

    house.provider.heal()
    instants = await finish(house, worker, [*jobs, late])
    assert house.provider.posts - posts - asked["submit"] == MEMBERS + 1 - tasks
    assert [order.prompt for order in house.provider.orders] == [f"member {n}" for n in (*range(MEMBERS), 99)]
    assert most_within(instants, "submit", PAUSE_S) == 1
    assert most_within(instants, "status", 1) <= SLOTS


async def test_an_hour_without_discord(house: OperatorState) -> None:
    worker = house.worker(**pace())
    jobs = await crowd(house, worker, SLOTS)
    ill(house.messenger, DISCORD, DeliveryDelayed("503"))
    asked = sums(await live(house, worker, 3600, house.provider.end_all))
    assert not {await house.state(job) for job in jobs} & {JobState.FAILED, JobState.DELIVERED}
    assert house.provider.posts == SLOTS, "what was accepted is made meanwhile, and waits to be posted"
    tries = sum(asked[name] for name in DISCORD)
    assert tries <= SLOTS * 80, "each of them about once a minute"
    assert asked["download"] <= SLOTS * 70

    house.messenger.heal()
    instants = await finish(house, worker, jobs)
    assert most_within(instants, "post_video", 1) <= SLOTS - 2, "they come back one after another"


async def test_an_hour_without_the_database(house: OperatorState) -> None:
    worker = house.worker(**pace())
    jobs = await crowd(house, worker)
    board = house.board
    names = ("claim_due", "claim_queued", "apply", "apply_later", "next_due_at", "renew", "frame", "gate", "get")
    ill(board, names, DOWN)
    posts = house.provider.posts
    async with loop_of(house.worker(**pace())):
        await board.called("claim_due", board.calls.count("claim_due") + 5)
        house.pass_time(hours=1)
        await board.called("claim_due", board.calls.count("claim_due") + 5)
        assert house.provider.posts == posts
        house.provider.end_all()
        board.heal()
        await board.called("next_due_at", board.calls.count("next_due_at") + 3)
    instants = await finish(house, worker, jobs)
    assert house.provider.posts == MEMBERS
    assert most_within(instants, "submit", PAUSE_S) == 1
