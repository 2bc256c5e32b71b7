import asyncio
from datetime import timedelta

from bot.domain.jobs import FailureReason, JobState
from tests.harness import OperatorState, hanging, loop_of, pass_rounds, settle


async def test_a_step_under_way_gets_its_grace(house: OperatorState) -> None:
    worker = house.worker()
    job = await house.waiting(worker)
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


async def test_a_stopped_worker_claims_nothing_more(house: OperatorState) -> None:
    worker = house.worker()
    async with loop_of(worker):
        await house.board.called("next_due_at")
    job = await house.order()
    worker.wake()
    assert await worker.turn() == 0
    assert (await house.now(job)).claims == 0


async def test_a_claim_under_way_at_the_stop_still_gets_its_grace(house: OperatorState) -> None:
    """Its jobs are taken already: dropped now, they would be found as submitting, and fail."""
    worker = house.worker()
    job = await house.waiting(worker)
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


async def test_what_does_not_end_in_its_grace_is_left_to_the_next_worker_at_once(house: OperatorState) -> None:
    worker = house.worker()
    job = await house.finished(worker)
    looking, turn = await hanging(worker, house.provider, "status")
    await worker.stop(grace_s=0)
    await turn
    left = await house.now(job)
    assert (left.state, left.lease_token) == (JobState.RUNNING, None)
    looking.set()
    await settle(house.worker())
    assert await house.state(job) is JobState.DELIVERED


async def test_a_create_cut_off_by_the_stop_is_never_posted_again(house: OperatorState) -> None:
    worker = house.worker()
    job = await house.waiting(worker)
    _, turn = await hanging(worker, house.provider, "submit")
    await worker.stop(grace_s=0)
    await turn
    await settle(house.worker())
    assert (await house.now(job)).failure is FailureReason.OUTCOME_UNKNOWN
    assert house.provider.posts == 1


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


async def test_a_companion_lives_is_woken_and_ends_with_the_worker(house: OperatorState) -> None:
    lodger = Lodger()
    worker = house.worker(background_services=[lodger])
    async with asyncio.timeout(60), loop_of(worker):
        await lodger.runs.wait()
        before = lodger.wakes
        worker.wake()
        assert lodger.wakes > before
    assert not lodger.runs.is_set()


class Laggard(Lodger):
    """A companion in the middle of something that does not end."""

    def stop(self) -> None:
        pass


async def test_a_companion_that_does_not_end_is_cut_off(house: OperatorState) -> None:
    laggard = Laggard()
    worker = house.worker(background_services=[laggard], last_write=timedelta(milliseconds=1))
    async with asyncio.timeout(60), loop_of(worker):
        await laggard.runs.wait()
