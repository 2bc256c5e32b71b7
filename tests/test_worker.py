import asyncio
import logging
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bot.errors import (
    DeliveryDelayed,
    DeliveryForbidden,
    OutcomeUnknown,
    StoreError,
    UpstreamBusy,
    UpstreamClosed,
    UpstreamError,
    UpstreamIll,
    UpstreamUnreached,
)
from bot.jobs import ENDED, FailureReason, Job, JobState, NewJob, Order, new_job_id
from bot.quotas import Limits
from bot.schedule import Backoff, LookPolicy
from bot.steps import Policy, Tools
from bot.store.engine import Database
from bot.store.jobs import JobStore
from bot.upstream.base import TaskStatus
from bot.worker import LEASES, MAX_CLAIMS, Pace, Worker
from tests.fakes import FRAME, FakeClock, FakeMessenger, FakeProvider, WatchedBoard

ROOMY = Limits(per_day=1000, running=1000)
DOWN = StoreError("the disk is full")
LOOK_S = 5
PACE = Pace(
    max_running=5,
    submit_pause=timedelta(0),
    idle=timedelta(hours=1),
    linger=timedelta(0),
    last_write=timedelta(seconds=10),
    write_backoff=Backoff(first_s=0.001, cap_s=0.001),
)
SHORT_LEASES = dict.fromkeys(JobState, timedelta(milliseconds=50))
"""So that a step that hangs is ended at once. The injected clock stands still: these leases never run out."""


@dataclass
class House:
    """A machine of which only the outside is made up: the store is real."""

    store: JobStore
    folder: Path
    provider: FakeProvider = field(default_factory=FakeProvider)
    messenger: FakeMessenger = field(default_factory=FakeMessenger)
    clock: FakeClock = field(default_factory=FakeClock)

    def __post_init__(self) -> None:
        self.board = WatchedBoard(self.store)

    def worker(self, *, board: WatchedBoard | None = None, **pace: Any) -> Worker:
        board = board or self.board
        policy = Policy(timedelta(minutes=30), timedelta(hours=24), LookPolicy(min_s=LOOK_S, max_s=30))
        tools = Tools(self.provider, self.messenger, board, policy, self.clock, self.folder, chance=lambda: 0.0)
        return Worker(board, tools, replace(PACE, **pace))

    async def order(self, *, user_id: int = 1) -> Job:
        prompt = f"member {user_id}"
        new = NewJob(new_job_id(), 10, 100, user_id, Order(prompt))
        self.clock.move(microseconds=1)
        return await self.store.add(new, FRAME, ROOMY, self.clock())

    async def now(self, job: Job) -> Job:
        found = await self.store.get(job.id)
        assert found is not None
        return found

    async def state(self, job: Job) -> JobState:
        return (await self.now(job)).state

    async def counted(self, user_id: int = 1) -> int:
        return len((await self.store.usage(10, user_id, self.clock())).counted_at)

    async def until(self, job: Job, *states: JobState) -> Job:
        """Waits for a running worker to bring the job there."""
        while (found := await self.now(job)).state not in states:
            await asyncio.sleep(0)
        return found

    async def running(self, worker: Worker, *, user_id: int = 1) -> Job:
        """A new job, brought to running by the worker."""
        job = await self.order(user_id=user_id)
        await settle(worker)
        assert await self.state(job) is JobState.RUNNING
        return job

    def pass_time(self, **by: float) -> None:
        self.clock.move(**by)


async def settle(worker: Worker) -> None:
    """Lets the worker do all that is to be done at this moment of the injected clock."""
    for _ in range(100):
        if not await worker.turn():
            return
    raise AssertionError("the worker never comes to rest")


@asynccontextmanager
async def loop_of(worker: Worker) -> AsyncIterator[None]:
    """The worker's loop, running beside the test."""
    task = asyncio.create_task(worker.run())
    try:
        yield
    finally:
        await worker.stop(grace_s=10)
        await task


async def pass_rounds(house: House) -> None:
    """Gives the loop time for some rounds: writers wait in a fair line, so it had its turn among these."""
    for _ in range(10):
        await house.store.release([], house.clock())


async def come_to_rest(house: House) -> None:
    """Returns once the loop asks the store for nothing any more."""
    for _ in range(50):
        before = len(house.board.calls)
        await pass_rounds(house)
        if len(house.board.calls) == before:
            return
    raise AssertionError("the loop never rests")


@pytest.fixture(scope="module")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("migrated") / "zoetrope.db"

    async def migrate() -> None:
        async with Database.open(f"sqlite:///{path}") as database:
            await database.migrate()

    asyncio.run(migrate())
    return path


@pytest.fixture
async def house(migrated_file: Path, tmp_path: Path) -> AsyncIterator[House]:
    path = tmp_path / "zoetrope.db"
    shutil.copy(migrated_file, path)
    async with Database.open(f"sqlite:///{path}") as database:
        yield House(JobStore(database), tmp_path)
        assert asyncio.all_tasks() == {asyncio.current_task()}, "a step outlived its test"


# --- the way of a job ---


async def test_a_job_goes_all_the_way(house: House) -> None:
    worker = house.worker()
    job = await house.running(worker)
    assert [one.shows for one in house.messenger.of("status", job)] == [JobState.RUNNING]
    house.provider.end_all()
    house.pass_time(seconds=LOOK_S)
    await settle(worker)
    [video] = house.messenger.of("video", job)
    done = await house.now(job)
    assert (done.state, done.result_message_id, done.due_at) == (JobState.DELIVERED, video.id, None)
    assert [one.shows for one in house.messenger.of("status", job)] == [JobState.DELIVERED]
    assert house.provider.posts == 1
    assert await house.counted() == 1


async def test_a_finished_job_wants_nothing_any_more(house: House) -> None:
    worker = house.worker()
    house.provider.answer = TaskStatus.COMPLETED
    await house.order()
    await settle(worker)
    house.pass_time(days=2)
    assert await worker.turn() == 0
    assert await house.store.next_due_at(house.clock(), 5) is None


async def test_a_task_that_fails_gives_the_quota_back_and_is_told_once(house: House) -> None:
    worker = house.worker()
    job = await house.running(worker)
    house.provider.end_all(TaskStatus.FAILED)
    house.pass_time(seconds=LOOK_S)
    await settle(worker)
    assert (await house.now(job)).failure is FailureReason.UPSTREAM_FAILED
    assert await house.counted() == 0
    assert len(house.messenger.of("failure", job)) == 1


async def test_a_channel_without_permission_ends_the_job_before_money_is_spent(house: House) -> None:
    house.messenger.fail_from_now_on("show_status", DeliveryForbidden("Missing Permissions"))
    job = await house.order()
    await settle(house.worker())
    assert (await house.now(job)).failure is FailureReason.UNDELIVERABLE
    assert await house.counted() == 0
    assert house.provider.posts == 0


async def test_a_forbidden_channel_waits_for_its_admin_and_then_fails(house: House) -> None:
    worker = house.worker()
    house.provider.answer = TaskStatus.COMPLETED
    house.messenger.fail_from_now_on("post_video", DeliveryForbidden("Missing Permissions"))
    job = await house.order()
    await settle(worker)
    house.pass_time(minutes=29)
    await settle(worker)
    assert await house.state(job) is JobState.DELIVERING
    house.pass_time(minutes=2)
    await settle(worker)
    assert (await house.now(job)).failure is FailureReason.UNDELIVERABLE
    assert await house.counted() == 0


async def test_a_status_message_that_can_not_follow_is_no_error(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    worker = house.worker()
    job = await house.order()
    await worker.turn()
    house.messenger.fail("show_status", DeliveryDelayed("Discord is ill"))
    await settle(worker)
    assert await house.state(job) is JobState.RUNNING
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


async def test_a_status_message_that_hangs_gives_its_place_free(house: House) -> None:
    worker = house.worker(leases=SHORT_LEASES)
    job = await house.order()
    await worker.turn()
    house.messenger.hang("show_status")
    await settle(worker)
    assert await house.state(job) is JobState.RUNNING


# --- crashes ---


async def test_a_job_found_submitting_is_never_posted_again(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    job = await house.order()
    await house.worker().turn()
    lease = timedelta(minutes=2)
    assert await house.store.claim_queued(house.clock(), 5, timedelta(0), lease)  # and here its worker died
    house.pass_time(minutes=2)
    await settle(house.worker())
    assert (await house.now(job)).failure is FailureReason.OUTCOME_UNKNOWN
    assert house.provider.posts == 0
    assert await house.counted() == 0
    assert len(house.messenger.of("failure", job)) == 1
    told = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert any(job.id in record.getMessage() and "paid task" in record.getMessage() for record in told)


async def test_a_create_whose_answer_was_lost_is_never_posted_again(house: House) -> None:
    worker = house.worker()
    house.provider.fail("submit", OutcomeUnknown("the connection broke"), late=True)
    job = await house.order()
    await settle(worker)
    house.pass_time(hours=1)
    await settle(worker)
    assert (await house.now(job)).failure is FailureReason.OUTCOME_UNKNOWN
    assert house.provider.posts == 1
    assert await house.counted() == 0


async def test_a_video_posted_by_a_worker_that_died_is_not_posted_twice(house: House) -> None:
    worker = house.worker()
    house.provider.answer = TaskStatus.COMPLETED
    job = await house.order()
    await worker.turn()
    await worker.turn()
    [held] = await house.store.claim_due(house.clock(), 1, LEASES)
    video = await house.messenger.post_video(held, Path(__file__))  # and here its worker died
    house.pass_time(minutes=5)
    await settle(house.worker())
    done = await house.now(job)
    assert (done.state, done.result_message_id) == (JobState.DELIVERED, video)
    assert len(house.messenger.of("video", job)) == 1


async def test_a_job_that_takes_its_workers_down_is_given_up(house: House) -> None:
    job = await house.running(house.worker())
    house.pass_time(seconds=LOOK_S)
    for _ in range(MAX_CLAIMS):
        assert await house.store.claim_due(house.clock(), 1, LEASES)
        house.pass_time(minutes=1)
    await settle(house.worker())
    assert (await house.now(job)).failure is FailureReason.ABANDONED
    assert "status" not in house.provider.calls
    assert await house.counted() == 0


async def test_a_job_whose_workers_died_is_tried_up_to_the_limit(house: House) -> None:
    job = await house.running(house.worker())
    house.provider.end_all()
    house.pass_time(seconds=LOOK_S)
    for _ in range(MAX_CLAIMS - 1):
        assert await house.store.claim_due(house.clock(), 1, LEASES)
        house.pass_time(minutes=1)
    await settle(house.worker())
    assert await house.state(job) is JobState.DELIVERED


async def test_an_end_that_takes_its_workers_down_is_not_announced(house: House) -> None:
    worker = house.worker()
    house.messenger.fail("show_status", DeliveryForbidden("Missing Permissions"))
    job = await house.order()
    await worker.turn()
    for _ in range(MAX_CLAIMS):
        assert await house.store.claim_due(house.clock(), 1, LEASES)
        house.pass_time(minutes=1)
    await settle(worker)
    done = await house.now(job)
    assert (done.state, done.due_at) == (JobState.FAILED, None)
    assert house.messenger.calls == ["show_status"]


async def test_a_lease_that_was_lost_writes_and_shows_nothing(house: House) -> None:
    worker = house.worker()
    job = await house.order()
    await worker.turn()
    answer = house.provider.hang("submit")
    turn = asyncio.create_task(worker.turn())
    await house.provider.called("submit")
    house.pass_time(minutes=2)
    await settle(house.worker())
    assert (await house.now(job)).failure is FailureReason.OUTCOME_UNKNOWN
    answer.set()
    await turn
    assert (await house.now(job)).state is JobState.FAILED
    assert [one.shows for one in house.messenger.of("status", job)] == [JobState.FAILED]


# --- an ill store ---


async def test_a_store_that_fails_before_the_post_puts_the_job_back_into_the_queue(house: House) -> None:
    worker = house.worker()
    job = await house.order()
    house.board.fail("frame", DOWN)
    await settle(worker)
    assert await house.state(job) is JobState.QUEUED
    assert house.provider.posts == 0
    house.pass_time(minutes=1)
    await settle(worker)
    assert await house.state(job) is JobState.RUNNING


async def test_an_outcome_that_can_not_be_written_is_kept_until_the_store_is_back(house: House) -> None:
    worker = house.worker()
    job = await house.order()
    await worker.turn()
    house.board.fail_from_now_on("apply", DOWN)
    turn = asyncio.create_task(worker.turn())
    await house.board.called("apply", 3)
    house.pass_time(minutes=10)  # the lease is long over: the row is due
    assert await worker._claim() == 0
    house.board.heal()
    await turn
    kept = await house.now(job)
    assert (kept.state, kept.upstream_id) == (JobState.RUNNING, "task-1")
    assert house.provider.posts == 1
    await settle(worker)
    assert await house.state(job) is JobState.RUNNING


async def test_a_not_yet_that_can_not_be_written_is_kept_too(house: House) -> None:
    worker = house.worker()
    await house.order()
    await house.order()
    house.board.fail("apply_later", DOWN, DOWN, DOWN)
    await worker.turn()
    await settle(worker)
    assert house.provider.posts == 2
    assert house.messenger.calls.count("show_status") == 2 + 2  # one greeting each, one edit each


async def test_a_store_that_fails_between_two_claims_loses_no_claimed_job(house: House) -> None:
    worker = house.worker()
    job = await house.order()
    house.board.fail("claim_queued", DOWN)
    with pytest.raises(StoreError):
        await worker.turn()
    await settle(worker)
    assert await house.state(job) is JobState.RUNNING


async def test_a_gate_that_can_not_be_opened_does_not_cost_the_outcome_before_it(house: House) -> None:
    worker = house.worker()
    house.provider.fail("submit", UpstreamUnreached("connection refused"))
    job = await house.order()
    await settle(worker)
    house.board.fail_from_now_on("open_gate", DOWN)
    house.pass_time(minutes=1)
    await settle(worker)
    assert await house.state(job) is JobState.RUNNING
    assert [one.shows for one in house.messenger.of("status", job)] == [JobState.RUNNING]


async def test_an_outage_of_the_store_ends_no_loop(house: House) -> None:
    worker = house.worker()
    house.board.fail_from_now_on("claim_due", DOWN)
    async with loop_of(worker):
        await house.board.called("claim_due", 5)
        job = await house.order()
        house.board.heal()
        await house.until(job, JobState.RUNNING)


async def test_an_outcome_that_can_never_be_written_stops_nobody_else_and_is_given_up(house: House) -> None:
    worker = house.worker()
    broken = await house.running(worker)
    house.provider.end_all()
    house.pass_time(seconds=LOOK_S)
    await worker.turn()
    house.messenger.next_id = 2**70  # no database takes it
    await worker.turn()
    house.messenger.next_id = 1
    other = await house.order(user_id=2)
    await settle(worker)
    assert await house.state(other) is JobState.RUNNING
    for _ in range(MAX_CLAIMS):
        house.pass_time(minutes=5)
        await settle(worker)
    assert (await house.now(broken)).failure is FailureReason.ABANDONED
    assert len(house.messenger.of("video", broken)) == 1


# --- an ill upstream ---


@pytest.mark.parametrize(
    "error",
    [
        UpstreamClosed("no such key", status=401),
        UpstreamClosed("no balance", status=403),
        UpstreamBusy("slow down", retry_after_s=None),
        UpstreamUnreached("connection refused"),
    ],
)
async def test_an_upstream_that_takes_nothing_holds_all_jobs_and_fails_none(
    house: House, error: UpstreamError
) -> None:
    worker = house.worker()
    jobs = [await house.order(user_id=number) for number in (1, 2, 3)]
    house.provider.fail_from_now_on("submit", error)
    await settle(worker)
    for _ in range(12):
        house.pass_time(minutes=5)
        await settle(worker)
    assert {await house.state(job) for job in jobs} == {JobState.QUEUED}
    assert house.provider.posts == 13
    assert (await house.store.gate()).reason == str(error)
    house.provider.heal()
    house.pass_time(minutes=5)
    await settle(worker)
    assert [order.prompt for order in house.provider.orders] == ["member 1", "member 2", "member 3"]
    assert {await house.state(job) for job in jobs} == {JobState.RUNNING}
    assert (await house.store.gate()).failures == 0


async def test_retry_after_is_respected(house: House) -> None:
    worker = house.worker()
    await house.order()
    house.provider.fail("submit", UpstreamBusy("slow down", retry_after_s=600))
    await settle(worker)
    house.pass_time(seconds=599)
    await settle(worker)
    assert house.provider.posts == 1
    house.pass_time(seconds=1)
    await settle(worker)
    assert house.provider.posts == 2


async def test_a_submission_that_was_on_its_way_does_not_undo_retry_after(house: House) -> None:
    worker = house.worker()
    first, _, third = [await house.order() for _ in range(3)]
    await worker.turn()
    answer = house.provider.hang("submit")
    assert await worker._claim() == 1
    await house.provider.called("submit")
    house.provider.fail("submit", UpstreamBusy("slow down", retry_after_s=600))
    assert await worker._claim() == 1
    await house.provider.called("submit", 2)
    while not (await house.store.gate()).is_closed(house.clock()):
        await asyncio.sleep(0)
    answer.set()
    await worker.turn()
    await settle(worker)
    assert await house.state(first) is JobState.RUNNING
    assert await house.state(third) is JobState.QUEUED
    assert house.provider.posts == 2
    house.pass_time(seconds=600)
    await settle(worker)
    assert await house.state(third) is JobState.RUNNING


async def test_an_hour_without_looks_loses_nothing(house: House) -> None:
    worker = house.worker()
    jobs = [await house.running(worker) for _ in range(3)]
    house.provider.fail_from_now_on("status", UpstreamIll("502"))
    for _ in range(60):
        house.pass_time(minutes=1)
        await settle(worker)
    house.provider.heal()
    house.provider.end_all()
    house.pass_time(minutes=2)
    await settle(worker)
    assert {await house.state(job) for job in jobs} == {JobState.DELIVERED}
    assert len(house.messenger.of("video", jobs[0])) == 1


async def test_a_task_over_its_time_fails_when_the_upstream_answers(house: House) -> None:
    worker = house.worker()
    job = await house.running(worker)
    house.pass_time(minutes=31)
    house.provider.fail("status", UpstreamIll("502"))
    await settle(worker)
    assert await house.state(job) is JobState.RUNNING
    house.pass_time(minutes=2)
    await settle(worker)
    assert (await house.now(job)).failure is FailureReason.TIMED_OUT
    assert await house.counted() == 0


# --- cancelling ---


async def test_a_job_cancelled_in_the_queue_is_free_and_never_posted(house: House) -> None:
    worker = house.worker()
    job = await house.order()
    await worker.turn()
    await house.store.cancel(job.id, house.clock(), paid_too=False)
    await settle(worker)
    assert [one.shows for one in house.messenger.of("status", job)] == [JobState.CANCELLED]
    assert house.provider.posts == 0
    assert await house.counted() == 0


@pytest.mark.parametrize(("status", "counts"), [(TaskStatus.COMPLETED, 1), (TaskStatus.FAILED, 0)])
async def test_a_job_cancelled_while_running_ends_unposted_when_its_task_does(
    house: House, status: TaskStatus, counts: int
) -> None:
    worker = house.worker(max_running=1)
    job = await house.running(worker)
    waiting = await house.order()
    await house.store.cancel(job.id, house.clock(), paid_too=True)
    await settle(worker)
    house.pass_time(minutes=1)
    await settle(worker)
    assert await house.state(job) is JobState.RUNNING  # its task holds its slot
    assert await house.state(waiting) is JobState.QUEUED
    house.provider.end_all(status)
    house.pass_time(minutes=1)
    await settle(worker)
    assert await house.state(job) is JobState.CANCELLED
    assert await house.state(waiting) is JobState.RUNNING
    assert house.messenger.of("video", job) == house.messenger.of("failure", job) == []
    assert await house.counted() == counts + 1


async def test_a_job_cancelled_while_it_is_handed_in_ends_unposted(house: House) -> None:
    worker = house.worker()
    job = await house.order()
    await worker.turn()
    answer = house.provider.hang("submit")
    turn = asyncio.create_task(worker.turn())
    await house.provider.called("submit")
    await house.store.cancel(job.id, house.clock(), paid_too=True)
    answer.set()
    await turn
    house.provider.end_all()
    house.pass_time(minutes=1)
    await settle(worker)
    assert await house.state(job) is JobState.CANCELLED
    assert house.messenger.of("video", job) == []
    assert await house.counted() == 1


async def test_a_job_cancelled_before_its_video_is_posted_stays_unposted(house: House) -> None:
    worker = house.worker()
    house.provider.answer = TaskStatus.COMPLETED
    house.provider.fail("download", UpstreamIll("502"))
    job = await house.order()
    await settle(worker)
    await house.store.cancel(job.id, house.clock(), paid_too=True)
    house.pass_time(minutes=5)
    await settle(worker)
    assert await house.state(job) is JobState.CANCELLED
    assert house.messenger.of("video", job) == []


# --- slots, rate, fairness ---


async def test_slots_are_never_exceeded(house: House) -> None:
    worker = house.worker(max_running=3)
    jobs = [await house.order(user_id=number) for number in range(10)]
    for _ in range(5):
        await settle(worker)
        house.provider.end_all()
        house.pass_time(minutes=1)
    assert house.provider.most_at_once == 3
    assert {await house.state(job) for job in jobs} == {JobState.DELIVERED}


async def test_submissions_keep_their_pause(house: House) -> None:
    worker = house.worker(submit_pause=timedelta(seconds=0.5))
    for number in range(3):
        await house.order(user_id=number)
    posts = []
    for _ in range(5):
        await settle(worker)
        posts.append(house.provider.posts)
        house.pass_time(seconds=0.25)
    assert posts == [1, 1, 2, 2, 3]


async def test_a_member_with_many_orders_does_not_keep_the_others_waiting(house: House) -> None:
    worker = house.worker(max_running=2)
    for user_id in (1, 1, 1, 1, 2, 3):
        await house.order(user_id=user_id)
    for _ in range(4):
        await settle(worker)
        house.provider.end(f"task-{len(house.provider.orders) - 1}")
        house.provider.end(f"task-{len(house.provider.orders)}")
        house.pass_time(minutes=1)
    members = [order.prompt for order in house.provider.orders]
    assert members == [f"member {number}" for number in (1, 2, 1, 3, 1, 1)]


async def test_steps_side_by_side_are_bounded(house: House) -> None:
    worker = house.worker(max_steps=2)
    for _ in range(5):
        await house.order()
    shown = house.messenger.hang("show_status")
    assert await worker._claim() == 2
    assert await worker._claim() == 0
    assert house.board.calls == ["claim_due"]
    shown.set()
    await settle(worker)


async def test_many_looks_are_written_at_once(house: House) -> None:
    worker = house.worker(max_running=30)
    for number in range(30):
        await house.order(user_id=number)
    await settle(worker)
    house.pass_time(seconds=LOOK_S)
    house.board.calls.clear()
    assert await worker.turn() == 30
    assert house.provider.calls.count("status") == 30
    assert house.board.calls == ["claim_due", "claim_queued", "apply_later"]


# --- steps that go wrong ---


async def test_a_step_that_hangs_before_money_is_spent_is_tried_again(house: House) -> None:
    worker = house.worker(leases=SHORT_LEASES)
    house.messenger.hang("show_status")
    job = await house.order()
    await worker.turn()
    hung = await house.now(job)
    assert (hung.state, hung.attempts) == (JobState.QUEUED, 1)


async def test_a_create_that_hangs_is_never_posted_again(house: House) -> None:
    worker = house.worker(leases=SHORT_LEASES)
    job = await house.order()
    await worker.turn()
    house.provider.hang("submit")
    await settle(worker)
    assert (await house.now(job)).failure is FailureReason.OUTCOME_UNKNOWN
    assert house.provider.posts == 1
    assert await house.counted() == 0


@pytest.mark.parametrize(("method", "state"), [("status", JobState.RUNNING), ("download", JobState.DELIVERING)])
async def test_a_look_or_a_download_that_hangs_is_tried_again(house: House, method: str, state: JobState) -> None:
    job = await house.running(house.worker())
    worker = house.worker(leases=SHORT_LEASES)
    if method == "download":
        house.provider.end_all()
    house.pass_time(seconds=LOOK_S)
    house.provider.hang(method)
    await settle(worker)
    hung = await house.now(job)
    assert (hung.state, hung.attempts) == (state, 1)
    assert hung.due_at is not None
    assert hung.due_at > house.clock()


async def test_a_post_that_hangs_is_adopted_by_the_next_try(house: House) -> None:
    job = await house.running(house.worker())
    house.provider.end_all()
    house.pass_time(seconds=LOOK_S)
    house.messenger.fail("post_video", TimeoutError(), late=True)
    worker = house.worker()
    await settle(worker)
    house.pass_time(minutes=1)
    await settle(worker)
    assert await house.state(job) is JobState.DELIVERED
    assert len(house.messenger.of("video", job)) == 1


@pytest.mark.parametrize(
    ("method", "state"),
    [
        ("show_status", JobState.QUEUED),
        ("status", JobState.RUNNING),
        ("download", JobState.DELIVERING),
        ("post_video", JobState.DELIVERING),
    ],
)
async def test_a_step_with_a_bug_keeps_its_job_and_comes_back_ever_more_seldom(
    house: House, method: str, state: JobState
) -> None:
    worker = house.worker()
    place = house.provider if method in {"status", "download"} else house.messenger
    place.fail_from_now_on(method, ZeroDivisionError("a bug"))
    job = await house.order()
    await settle(worker)
    house.provider.end_all()
    for _ in range(20):
        house.pass_time(seconds=5)
        await settle(worker)
    assert 5 <= place.calls.count(method) <= 10
    assert await house.state(job) is state
    place.heal()
    for _ in range(3):
        house.pass_time(minutes=2)
        await settle(worker)
        house.provider.end_all()
    assert await house.state(job) is JobState.DELIVERED


async def test_a_create_with_a_bug_is_never_posted_again(house: House) -> None:
    worker = house.worker()
    house.provider.fail("submit", ZeroDivisionError("a bug"), late=True)
    job = await house.order()
    await settle(worker)
    house.pass_time(hours=1)
    await settle(worker)
    assert (await house.now(job)).failure is FailureReason.OUTCOME_UNKNOWN
    assert house.provider.posts == 1


async def test_a_step_whose_bug_stays_for_a_day_ends_its_job(house: House) -> None:
    worker = house.worker()
    job = await house.running(worker)
    house.provider.fail_from_now_on("status", ZeroDivisionError("a bug"))
    house.pass_time(hours=24, seconds=1)
    await settle(worker)
    assert (await house.now(job)).failure is FailureReason.ABANDONED
    assert await house.counted() == 0


# --- the loop ---


async def test_the_loop_brings_a_job_all_the_way_by_itself(house: House) -> None:
    house.provider.answer = TaskStatus.COMPLETED
    job = await house.order()
    async with loop_of(house.worker()):
        await house.until(job, JobState.DELIVERED)
    assert len(house.messenger.of("video", job)) == 1


async def test_a_wake_makes_the_loop_look_at_once(house: House) -> None:
    worker = house.worker()  # it would sleep for an hour
    async with loop_of(worker):
        await house.board.called("next_due_at")
        job = await house.order()
        worker.wake()
        await house.until(job, JobState.RUNNING)


async def test_a_wake_while_the_loop_is_looking_is_not_lost(house: House) -> None:
    worker = house.worker()
    looking = house.board.hang("next_due_at")
    async with loop_of(worker):
        await house.board.called("next_due_at")
        job = await house.order()
        worker.wake()
        looking.set()
        await house.until(job, JobState.RUNNING)


async def test_the_loop_wakes_by_itself_when_something_is_due(house: House) -> None:
    worker = house.worker()
    job = await house.running(worker)
    house.provider.end_all()
    house.pass_time(seconds=LOOK_S - 0.01)
    async with loop_of(worker):
        await house.board.called("next_due_at")
        house.pass_time(seconds=0.01)
        await house.until(job, JobState.DELIVERED)


async def test_the_loop_rests_while_all_its_places_are_taken(house: House) -> None:
    """What is due then lies in the past, and must not be asked for again and again."""
    for _ in range(3):
        await house.order()
    shown = house.messenger.hang("show_status")
    async with loop_of(house.worker(max_steps=1)):
        await house.messenger.called("show_status")
        await come_to_rest(house)
        shown.set()


async def test_the_loop_rests_while_leases_hold_what_is_due(house: House) -> None:
    await house.order()
    await house.store.claim_due(house.clock(), 1, LEASES)
    async with loop_of(house.worker()):
        await house.board.called("next_due_at")
        await come_to_rest(house)


async def test_the_loop_rests_while_the_upstream_holds_all_jobs(house: House) -> None:
    for _ in range(3):
        await house.order()
    house.provider.fail_from_now_on("submit", UpstreamClosed("no balance", status=403))
    async with loop_of(house.worker()):
        await house.provider.called("submit")
        await come_to_rest(house)


async def test_the_loop_rests_while_a_write_waits_for_the_store(house: House) -> None:
    """The job's lease is over by then, so that it is due, but it must not be claimed."""
    await house.order()
    house.board.fail_from_now_on("apply_later", DOWN)
    worker = house.worker(write_backoff=Backoff(first_s=60, cap_s=60), last_write=timedelta(0))
    loop = asyncio.create_task(worker.run())
    await house.board.called("apply_later")
    house.pass_time(minutes=10)
    worker.wake()
    await come_to_rest(house)
    await worker.stop(grace_s=0)
    await loop
    assert house.messenger.calls == ["show_status"]


# --- stopping ---


async def test_a_step_under_way_gets_its_grace(house: House) -> None:
    worker = house.worker()
    job = await house.order()
    await worker.turn()
    answer = house.provider.hang("submit")
    loop = asyncio.create_task(worker.run())
    await house.provider.called("submit")
    stop = asyncio.create_task(worker.stop(grace_s=30))
    await pass_rounds(house)
    assert not stop.done()
    answer.set()
    await stop
    await loop
    assert await house.state(job) is JobState.RUNNING


async def test_a_stopped_worker_claims_nothing_more(house: House) -> None:
    worker = house.worker()
    async with loop_of(worker):
        await house.board.called("next_due_at")
    job = await house.order()
    worker.wake()
    assert await worker.turn() == 0
    assert (await house.now(job)).claims == 0


async def test_a_claim_under_way_at_the_stop_still_gets_its_grace(house: House) -> None:
    """Its jobs are taken already: dropped now, they would be found as submitting, and fail."""
    worker = house.worker()
    job = await house.order()
    await worker.turn()
    claimed = house.board.hang("claim_queued")
    loop = asyncio.create_task(worker.run())
    await house.board.called("claim_queued", 2)
    stop = asyncio.create_task(worker.stop(grace_s=30))
    await pass_rounds(house)
    assert not stop.done()
    claimed.set()
    await stop
    await loop
    assert await house.state(job) is JobState.RUNNING


async def test_what_does_not_end_in_its_grace_is_left_to_the_next_worker_at_once(house: House) -> None:
    worker = house.worker()
    job = await house.running(worker)
    house.provider.end_all()
    house.pass_time(seconds=LOOK_S)
    hanging = house.provider.hang("status")
    turn = asyncio.create_task(worker.turn())
    await house.provider.called("status")
    await worker.stop(grace_s=0)
    await turn
    left = await house.now(job)
    assert (left.state, left.lease_token) == (JobState.RUNNING, None)
    hanging.set()
    await settle(house.worker())
    assert await house.state(job) is JobState.DELIVERED


async def test_a_create_cut_off_by_the_stop_is_never_posted_again(house: House) -> None:
    worker = house.worker()
    job = await house.order()
    await worker.turn()
    house.provider.hang("submit")
    turn = asyncio.create_task(worker.turn())
    await house.provider.called("submit")
    await worker.stop(grace_s=0)
    await turn
    await settle(house.worker())
    assert (await house.now(job)).failure is FailureReason.OUTCOME_UNKNOWN
    assert house.provider.posts == 1


async def test_an_outcome_that_is_known_at_the_stop_is_still_written(house: House) -> None:
    worker = house.worker()
    job = await house.order()
    await worker.turn()
    written = house.board.hang("apply")
    turn = asyncio.create_task(worker.turn())
    await house.board.called("apply")
    stop = asyncio.create_task(worker.stop(grace_s=0))
    await pass_rounds(house)
    assert not stop.done()
    written.set()
    await stop
    await turn
    assert await house.state(job) is JobState.RUNNING
    assert house.provider.posts == 1


async def test_a_not_yet_that_is_known_at_the_stop_is_still_written(house: House) -> None:
    worker = house.worker(linger=timedelta(seconds=0.2))
    job = await house.order()
    turn = asyncio.create_task(worker.turn())
    await house.messenger.called("show_status")
    while not worker._outbox._not_yet:
        await asyncio.sleep(0)
    await worker.stop(grace_s=0)
    await turn
    greeted = await house.now(job)
    assert (greeted.status_message_id, greeted.claims) == (1000, 0)


async def test_a_stop_waits_not_for_ever_for_a_store_that_is_gone(house: House) -> None:
    worker = house.worker(last_write=timedelta(milliseconds=10))
    await house.order()
    house.board.fail_from_now_on("apply_later", DOWN)
    house.board.fail_from_now_on("release", DOWN)
    turn = asyncio.create_task(worker.turn())
    await house.board.called("apply_later", 2)
    await worker.stop(grace_s=0)
    await turn


# --- several workers ---


async def test_two_workers_never_run_one_job_at_once(house: House) -> None:
    jobs = [await house.order(user_id=number) for number in range(12)]
    house.provider.answer = TaskStatus.COMPLETED
    workers = [house.worker(board=WatchedBoard(house.store), idle=timedelta(milliseconds=1)) for _ in range(2)]
    loops = [asyncio.create_task(worker.run()) for worker in workers]
    for job in jobs:
        await house.until(job, *ENDED)
    for worker in workers:
        await worker.stop(grace_s=10)
    await asyncio.gather(*loops)
    assert {await house.state(job) for job in jobs} == {JobState.DELIVERED}
    assert house.provider.posts == len(jobs)
    for kind in ("status", "video"):
        assert [len(house.messenger.of(kind, job)) for job in jobs] == [1] * len(jobs)
