import asyncio
from datetime import timedelta

from bot.domain.jobs import FailureReason, JobState
from tests.harness import WorkerHarness, hang_call, let_loop_run, run_until_idle, running_loop


async def test_a_step_under_way_gets_its_grace(harness: WorkerHarness) -> None:
    worker = harness.worker()
    job = await harness.queued_job(worker)
    answer = harness.provider.hang("submit")
    loop = asyncio.create_task(worker.run())
    await harness.provider.wait_for_call("submit")
    stop = asyncio.create_task(worker.stop(grace_s=30))
    await let_loop_run(harness)
    assert not stop.done()
    answer.set()
    await stop
    await loop
    assert await harness.state(job) is JobState.RUNNING


async def test_a_stopped_worker_claims_nothing_more(harness: WorkerHarness) -> None:
    worker = harness.worker()
    async with running_loop(worker):
        await harness.worker_store.wait_for_call("next_due_at")
    job = await harness.order()
    worker.wake()
    assert await worker.run_once() == 0
    assert (await harness.reload(job)).claim_count == 0


async def test_a_claim_under_way_at_the_stop_still_gets_its_grace(harness: WorkerHarness) -> None:
    """Its jobs are taken already: dropped now, they would be found as submitting, and fail."""
    worker = harness.worker()
    job = await harness.queued_job(worker)
    claimed = harness.worker_store.hang("claim_queued")
    loop = asyncio.create_task(worker.run())
    await harness.worker_store.wait_for_call("claim_queued", 2)
    stop = asyncio.create_task(worker.stop(grace_s=30))
    await let_loop_run(harness)
    assert not stop.done()
    claimed.set()
    await stop
    await loop
    assert await harness.state(job) is JobState.RUNNING


async def test_what_does_not_end_in_its_grace_is_left_to_the_next_worker_at_once(harness: WorkerHarness) -> None:
    worker = harness.worker()
    job = await harness.finished_job(worker)
    looking, turn = await hang_call(worker, harness.provider, "status")
    await worker.stop(grace_s=0)
    await turn
    left = await harness.reload(job)
    assert (left.state, left.lease_token) == (JobState.RUNNING, None)
    looking.set()
    await run_until_idle(harness.worker())
    assert await harness.state(job) is JobState.DELIVERED


async def test_a_create_cut_off_by_the_stop_is_never_posted_again(harness: WorkerHarness) -> None:
    worker = harness.worker()
    job = await harness.queued_job(worker)
    _, turn = await hang_call(worker, harness.provider, "submit")
    await worker.stop(grace_s=0)
    await turn
    await run_until_idle(harness.worker())
    assert (await harness.reload(job)).failure_reason is FailureReason.OUTCOME_UNKNOWN
    assert harness.provider.submit_count == 1


class Lodger:
    """A companion that notes what it is told."""

    def __init__(self) -> None:
        self.wakes = 0
        self.runs = asyncio.Event()
        self._stopped = asyncio.Event()

    async def run(self) -> None:
        self.runs.set()
        await self._stopped.wait()
        self.runs.clear()

    def wake(self) -> None:
        self.wakes += 1

    def stop(self) -> None:
        self._stopped.set()


async def test_a_companion_lives_is_woken_and_ends_with_the_worker(harness: WorkerHarness) -> None:
    lodger = Lodger()
    worker = harness.worker(background_services=[lodger])
    async with asyncio.timeout(30), running_loop(worker):
        await lodger.runs.wait()
        before = lodger.wakes
        worker.wake()
        assert lodger.wakes > before
    assert not lodger.runs.is_set()


class Laggard(Lodger):
    """A companion in the middle of something that does not end."""

    def stop(self) -> None:
        pass


async def test_a_companion_that_does_not_end_is_cut_off(harness: WorkerHarness) -> None:
    laggard = Laggard()
    worker = harness.worker(background_services=[laggard], final_write_timeout=timedelta(milliseconds=1))
    async with asyncio.timeout(30), running_loop(worker):
        await laggard.runs.wait()
