"""An hour without the gateway: nothing is lost, nobody is bothered more than needed, and no stampede follows."""

from datetime import timedelta
from pathlib import Path

import pytest

from bot.domain.jobs import FailureReason, JobState
from bot.store.jobs.job_store import JobStore
from tests.fakes import NOW
from tests.faults.upstream_harness import Machine, Reply, machine, says
from tests.harness import run_until_idle

SLOTS = 3
PAUSE_S = 0.5
HOUR_S = 3600
STEP_S = 30


async def pass_an_hour(house: Machine, **pace: object) -> None:
    worker = house.worker(**pace)
    for _ in range(HOUR_S // STEP_S):
        house.clock.move(seconds=STEP_S)
        await run_until_idle(worker)


@pytest.mark.parametrize(
    ("outage", "sacrificed"),
    [(says("<html>", 502), 1), (says({"message": "bad key"}, 401), 0)],
    ids=["502", "401"],
)
async def test_an_hour_long_outage_loses_no_waiting_job_and_ends_without_a_burst(
    outage: Reply, sacrificed: int, store: JobStore, tmp_path: Path
) -> None:
    """Where answers are lost, one job finds out; the others wait, and a look that costs nothing goes first."""
    async with machine(store, tmp_path) as house:
        pace = {"max_running": SLOTS, "submit_interval": timedelta(seconds=PAUSE_S)}
        worker, gateway = house.worker(**pace), house.gateway
        running = [await house.order(user_id) for user_id in (101, 102)]
        while gateway.tasks < len(running):
            await run_until_idle(worker)
            house.clock.move(seconds=PAUSE_S)
        gateway.lasting = dict.fromkeys(("create", "look", "result"), outage)
        waiting = [await house.order(user_id) for user_id in range(1, 9)]
        posted = len(gateway.prompts)
        gateway.asked.clear()
        await pass_an_hour(house, **pace)

        failed = [now for now in [await house.now(job) for job in waiting] if now.state is JobState.FAILED]
        assert [now.failure_reason for now in failed] == [FailureReason.OUTCOME_UNKNOWN] * sacrificed
        assert {(await house.now(job)).state for job in running} == {JobState.RUNNING}
        assert len(gateway.prompts) - posted == (sacrificed or gateway.count("create"))
        assert gateway.count("look") < 200, "pauses grow"
        assert gateway.count("create") < 40
        told = (await house.end_of(waiting[0])).operator
        assert told.count("isn't accepting jobs") == 1, "and the operator is told once"

        gateway.lasting.clear()
        posted, tasks = len(gateway.prompts), gateway.tasks
        worker = house.worker(**pace)
        rest = [job for job in waiting if job.id not in {now.id for now in failed}]
        left = [*running, *rest]
        states: list[JobState] = []
        while states != [JobState.DELIVERED] * len(left):
            before = gateway.tasks
            await run_until_idle(worker)
            assert gateway.tasks - before <= 1, "the agreed rate holds"
            states = [(await house.now(job)).state for job in left]
            assert states.count(JobState.RUNNING) <= SLOTS
            house.clock.move(seconds=PAUSE_S if gateway.tasks > tasks else STEP_S)
            assert house.clock() < NOW + timedelta(hours=2), "it goes on by itself"
        assert gateway.prompts[posted:] == [job.order.prompt for job in rest], "in order, each once"
        assert gateway.tasks - tasks == len(rest)
        assert (await house.store.gate()).failures == 0


async def test_jobs_that_fail_together_count_as_one_failure(store: JobStore, tmp_path: Path) -> None:
    """Five that were on their way fail as one: the next try comes after seconds, not minutes."""
    async with machine(store, tmp_path) as house:
        jobs = [await house.order(user_id) for user_id in range(1, 6)]
        worker = house.worker()
        await worker.run_once()
        house.gateway.lasting["create"] = says({"message": "slow down"}, 429)
        for _ in jobs:
            await worker._claim()
        await run_until_idle(worker)
        gate = await store.gate()
        assert gate.failures == 1
        assert gate.opens_at is not None
        assert gate.opens_at - house.clock() <= timedelta(seconds=5)
