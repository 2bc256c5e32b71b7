"""Every line that is logged while a stage runs has the id of its job."""

import asyncio
import io
import json
from collections.abc import Iterator

import pytest

from bot.domain.errors import UpstreamUnreached
from bot.operations import logs
from bot.worker.loop import Worker
from tests.harness import POLL_INTERVAL_S, WorkerHarness, run_until_idle
from tests.isolation import isolated_logging


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    with isolated_logging():
        written = io.StringIO()
        logs.set_up("INFO", log_format="json", stream=written)
        yield written


def lines(stream: io.StringIO) -> list[dict[str, str]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


async def test_a_line_that_does_not_name_its_job_has_its_id_all_the_same(
    harness: WorkerHarness, stream: io.StringIO
) -> None:
    worker = harness.worker()
    job = await harness.queued_job(worker)
    harness.provider.fail("submit", UpstreamUnreached("refused"))
    await worker.run_once()
    [paused] = [line for line in lines(stream) if line["message"].startswith("submissions are paused")]
    assert paused["job"] == job.id


async def test_a_videos_whole_history_is_found_by_its_id(harness: WorkerHarness, stream: io.StringIO) -> None:
    worker = harness.worker()
    jobs = [await harness.running_job(worker, user_id=number) for number in (1, 2)]
    harness.provider.finish_all()
    harness.advance_clock(seconds=POLL_INTERVAL_S)
    await run_until_idle(worker)
    for job in jobs:
        said = [line["message"] for line in lines(stream) if line.get("job") == job.id]
        assert said == [
            f"job {job.id}: submitting → running",
            f"job {job.id}: running → delivering",
            f"job {job.id}: delivering → delivered",
        ]


async def test_a_line_about_a_batch_of_jobs_is_about_none_of_them(
    harness: WorkerHarness, stream: io.StringIO
) -> None:
    worker: Worker = harness.worker()
    await harness.running_job(worker)
    harness.advance_clock(seconds=POLL_INTERVAL_S)
    answered = harness.provider.hang("status")
    run = asyncio.create_task(worker.run_once())
    await harness.provider.wait_for_call("status")
    await harness.store.free_leases()
    answered.set()
    await run
    [lost] = [line for line in lines(stream) if "had lost their lease" in line["message"]]
    assert "job" not in lost
