import asyncio
from datetime import timedelta

from bot.domain.jobs import FailureReason, JobState
from tests.harness import WorkerHarness, hang_call, let_loop_run, run_until_idle, running_loop


async def test_a_job_in_progress_gets_the_grace_period(harness: WorkerHarness) -> None:
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


async def test_a_claim_in_progress_at_the_stop_still_gets_the_grace_period(harness: WorkerHarness) -> None:
    """Its job is claimed already: dropped now, it would be found as submitting, and fail."""
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


async def test_what_does_not_end_in_time_is_released_to_the_next_worker(harness: WorkerHarness) -> None:
    worker = harness.worker()
    job = await harness.finished_job(worker)
    looking, run = await hang_call(worker, harness.provider, "status")
    await worker.stop(grace_s=0)
    await run
    left = await harness.reload(job)
    assert (left.state, left.lease_token) == (JobState.RUNNING, None)
    looking.set()
    await run_until_idle(harness.worker())
    assert await harness.state(job) is JobState.DELIVERED


async def test_a_submission_cancelled_by_the_stop_is_never_repeated(harness: WorkerHarness) -> None:
    worker = harness.worker()
    job = await harness.queued_job(worker)
    _, run = await hang_call(worker, harness.provider, "submit")
    await worker.stop(grace_s=0)
    await run
    await run_until_idle(harness.worker())
    assert (await harness.reload(job)).failure_reason is FailureReason.OUTCOME_UNKNOWN
    assert harness.provider.submit_count == 1


class FakeService:
    """A background service that counts its calls."""

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


async def test_a_background_service_runs_is_woken_and_stops_with_the_worker(harness: WorkerHarness) -> None:
    service = FakeService()
    worker = harness.worker(background_services=[service])
    async with asyncio.timeout(60), running_loop(worker):
        await service.runs.wait()
        before = service.wakes
        worker.wake()
        assert service.wakes > before
    assert not service.runs.is_set()


class StuckService(FakeService):
    """A background service that ignores a stop."""

    def stop(self) -> None:
        pass


async def test_a_background_service_that_does_not_stop_is_cancelled(harness: WorkerHarness) -> None:
    service = StuckService()
    worker = harness.worker(background_services=[service], final_write_timeout=timedelta(milliseconds=1))
    async with asyncio.timeout(60), running_loop(worker):
        await service.runs.wait()
