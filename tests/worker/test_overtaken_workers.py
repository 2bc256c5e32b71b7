"""A worker that was stopped for longer than its leases: what it does then, it does under a lease that is over."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from bot.domain.errors import LeaseOver
from bot.domain.jobs import JobState
from bot.operations.held_lease import is_overtaken
from bot.worker.config import DEFAULT_LEASE
from tests.fakes import FakeProvider
from tests.harness import WorkerHarness, run_until_idle, running_loop

OFTEN = timedelta(milliseconds=1)
LEASE_S = DEFAULT_LEASE.total_seconds()


class Uptime:
    """A steady clock that moves by hand."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


class AskingProvider(FakeProvider):
    """Notes at each download whether its job may be another worker's. meanwhile: is called before that."""

    def __init__(self, meanwhile: Callable[[], None] = lambda: None) -> None:
        super().__init__()
        self.meanwhile = meanwhile
        self.overtaken: list[bool] = []

    async def download(self, url: str, to: Path) -> int:
        self.meanwhile()
        size_bytes = await super().download(url, to)
        self.overtaken.append(is_overtaken())
        return size_bytes


@pytest.fixture
def uptime() -> Uptime:
    return Uptime()


def move(uptime: Uptime, seconds: float) -> Callable[[], None]:
    def meanwhile() -> None:
        uptime.now_s += seconds

    return meanwhile


@pytest.mark.parametrize(("seconds", "overtaken"), [(LEASE_S - 1, False), (LEASE_S, True)])
async def test_a_stage_works_under_its_jobs_lease(
    harness: WorkerHarness, uptime: Uptime, seconds: float, *, overtaken: bool
) -> None:
    harness.provider = provider = AskingProvider(move(uptime, seconds))
    job = await harness.finished_job(harness.worker())
    await run_until_idle(harness.worker(steady_s=uptime))
    assert provider.overtaken == [overtaken]
    assert await harness.state(job) is JobState.DELIVERED


async def test_a_renewed_lease_is_not_over(harness: WorkerHarness, uptime: Uptime) -> None:
    harness.provider = provider = AskingProvider(move(uptime, LEASE_S))
    job = await harness.finished_job(harness.worker())
    fetched = harness.provider.hang("download")
    async with running_loop(harness.worker(steady_s=uptime, renew_interval=OFTEN)):
        await provider.wait_for_call("download")
        await harness.worker_store.wait_for_call("renew", harness.worker_store.calls.count("renew") + 2)
        fetched.set()
        await harness.wait_for_state(job, JobState.DELIVERED)
    assert provider.overtaken == [False]


async def test_a_create_that_was_not_sent_as_its_lease_was_over_goes_back_to_the_queue(
    harness: WorkerHarness,
) -> None:
    job = await harness.queued_job(harness.worker())
    harness.provider.fail("submit", LeaseOver("nothing was sent"))
    await harness.worker().run_once()
    left = await harness.reload(job)
    assert (left.state, left.lease_token, left.claim_count) == (JobState.QUEUED, None, 0)
    await run_until_idle(harness.worker())
    assert await harness.state(job) is JobState.RUNNING
