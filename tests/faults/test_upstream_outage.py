"""An hour without the gateway loses nothing, notifies the operator once and ends without a burst of requests."""

from datetime import timedelta
from pathlib import Path

import pytest

from bot.domain.jobs import FailureReason, JobState
from bot.store.jobs.job_store import JobStore
from tests.fakes import NOW
from tests.faults.upstream_harness import Reply, UpstreamHarness, responds, upstream_harness
from tests.harness import run_until_idle
from tests.providers_asked import VTRIX, vtrix

pytestmark = pytest.mark.full

SLOTS = 3
PAUSE_S = 0.5
HOUR_S = 3600
STEP_S = 30


async def run_for_an_hour(harness: UpstreamHarness, **config: object) -> None:
    worker = harness.worker(**config)
    for _ in range(HOUR_S // STEP_S):
        harness.clock.move(seconds=STEP_S)
        await run_until_idle(worker)


@pytest.mark.parametrize(
    ("outage", "lost_jobs"),
    [(responds("<html>", 502), 1), (responds({"message": "bad key"}, 401), 0)],
    ids=["502", "401"],
)
async def test_an_hour_long_outage_loses_no_waiting_job_and_ends_without_a_burst(
    outage: Reply, lost_jobs: int, store: JobStore, tmp_path: Path
) -> None:
    """Where responses are lost, one job fails; the others wait until a free poll succeeds."""
    async with upstream_harness(store, tmp_path) as harness:
        config = {"providers": vtrix(SLOTS, timedelta(seconds=PAUSE_S))}
        worker, gateway = harness.worker(**config), harness.gateway
        running = [await harness.order(user_id) for user_id in (101, 102)]
        while gateway.tasks < len(running):
            await run_until_idle(worker)
            harness.clock.move(seconds=PAUSE_S)
        gateway.permanent_replies = dict.fromkeys(("create", "poll", "result"), outage)
        waiting = [await harness.order(user_id) for user_id in range(1, 9)]
        posted = len(gateway.prompts)
        gateway.requests.clear()
        await run_for_an_hour(harness, **config)

        failed = [now for now in [await harness.reload(job) for job in waiting] if now.state is JobState.FAILED]
        assert [now.failure_reason for now in failed] == [FailureReason.OUTCOME_UNKNOWN] * lost_jobs
        assert {(await harness.reload(job)).state for job in running} == {JobState.RUNNING}
        assert len(gateway.prompts) - posted == (lost_jobs or gateway.count("create"))
        assert gateway.count("poll") < 200, "pauses grow"
        assert gateway.count("create") < 40
        operator_texts = (await harness.job_result(waiting[0])).operator
        assert operator_texts.count("isn't accepting jobs") == 1, "and the operator is notified once"

        gateway.permanent_replies.clear()
        posted, tasks = len(gateway.prompts), gateway.tasks
        worker = harness.worker(**config)
        rest = [job for job in waiting if job.id not in {now.id for now in failed}]
        left = [*running, *rest]
        states: list[JobState] = []
        while states != [JobState.DELIVERED] * len(left):
            before = gateway.tasks
            await run_until_idle(worker)
            assert gateway.tasks - before <= 1, "the agreed rate holds"
            states = [(await harness.reload(job)).state for job in left]
            assert states.count(JobState.RUNNING) <= SLOTS
            harness.clock.move(seconds=PAUSE_S if gateway.tasks > tasks else STEP_S)
            assert harness.clock() < NOW + timedelta(hours=2), "jobs continue by themselves"
        assert gateway.prompts[posted:] == [job.order.prompt for job in rest], "in order, each once"
        assert gateway.tasks - tasks == len(rest)
        assert (await harness.store.gate(VTRIX)).failures == 0


async def test_jobs_that_fail_together_count_as_one_failure(store: JobStore, tmp_path: Path) -> None:
    """Five concurrent failures count as one: the next try comes after seconds, not minutes."""
    async with upstream_harness(store, tmp_path) as harness:
        jobs = [await harness.order(user_id) for user_id in range(1, 6)]
        worker = harness.worker()
        await worker.run_once()
        harness.gateway.permanent_replies["create"] = responds({"message": "slow down"}, 429)
        for _ in jobs:
            await worker._claim()
        await run_until_idle(worker)
        gate = await store.gate(VTRIX)
        assert gate.failures == 1
        assert gate.opens_at is not None
        assert gate.opens_at - harness.clock() <= timedelta(seconds=5)
