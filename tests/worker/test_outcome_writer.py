import asyncio
from datetime import timedelta

import pytest

from bot.domain.errors import CommitUnknown, UpstreamUnreached
from bot.domain.jobs import FailureReason, JobState
from bot.domain.schedule import Backoff
from bot.worker.loop import MAX_CLAIMS
from bot.worker.outcome_writer import MAX_BUG_RETRIES
from tests.harness import (
    POLL_INTERVAL_S,
    STORE_DOWN,
    WorkerHarness,
    hang_call,
    let_loop_run,
    run_until_idle,
    wait_until_quiet,
)
from tests.providers_asked import vtrix


async def test_an_outcome_that_can_not_be_written_is_kept_until_the_store_is_back(harness: WorkerHarness) -> None:
    worker = harness.worker()
    job = await harness.queued_job(worker)
    harness.worker_store.fail_always("apply", STORE_DOWN)
    run = asyncio.create_task(worker.run_once())
    await harness.worker_store.wait_for_call("apply", 3)
    harness.advance_clock(minutes=10)  # the lease is long over: the row is due
    assert await worker._claim() == 0
    harness.worker_store.stop_failing()
    await run
    kept = await harness.reload(job)
    assert (kept.state, kept.upstream_id) == (JobState.RUNNING, "task-1")
    assert harness.provider.submit_count == 1
    await run_until_idle(worker)
    assert await harness.state(job) is JobState.RUNNING


async def test_a_reschedule_that_can_not_be_written_is_kept_too(harness: WorkerHarness) -> None:
    worker = harness.worker()
    await harness.order()
    await harness.order()
    harness.worker_store.fail("reschedule", STORE_DOWN, STORE_DOWN, STORE_DOWN)
    await worker.run_once()
    await run_until_idle(worker)
    assert harness.provider.submit_count == 2
    assert harness.messenger.calls.count("show_status") == 2


async def test_a_submission_gate_that_can_not_be_opened_loses_no_outcome(harness: WorkerHarness) -> None:
    worker = harness.worker()
    harness.provider.fail("submit", UpstreamUnreached("connection refused"))
    job = await harness.order()
    await run_until_idle(worker)
    harness.worker_store.fail_always("open_gate", STORE_DOWN)
    harness.advance_clock(minutes=1)
    await run_until_idle(worker)
    assert await harness.state(job) is JobState.RUNNING


async def test_an_outcome_that_can_never_be_written_blocks_no_other_job_and_is_abandoned(
    harness: WorkerHarness,
) -> None:
    worker = harness.worker()
    broken = await harness.finished_job(worker)
    await worker.run_once()
    harness.messenger.next_id = 2**70  # no database takes it
    await worker.run_once()
    harness.messenger.next_id = 1
    other = await harness.order(user_id=2)
    await run_until_idle(worker)
    assert await harness.state(other) is JobState.RUNNING
    for _ in range(MAX_CLAIMS - 1):
        harness.advance_clock(minutes=5)
        await run_until_idle(worker)
    assert len(harness.messenger.posted("video", broken)) == 1
    harness.messenger.messages.clear()  # else its video would be found, and be its end
    harness.advance_clock(minutes=5)
    await run_until_idle(worker)
    assert (await harness.reload(broken)).failure_reason is FailureReason.ABANDONED


async def test_an_outcome_that_was_written_although_its_answer_was_lost_is_not_said_to_be_dropped(
    harness: WorkerHarness, caplog: pytest.LogCaptureFixture
) -> None:
    worker = harness.worker()
    job = await harness.queued_job(worker)
    harness.worker_store.fail("apply", CommitUnknown("the connection was closed"), response_lost=True)
    await worker.run_once()
    assert await harness.state(job) is JobState.RUNNING
    assert harness.worker_store.calls.count("apply") == 2
    assert "open_gate" in harness.worker_store.calls
    assert "dropped" not in caplog.text


@pytest.mark.full
async def test_many_reschedules_share_a_transaction(harness: WorkerHarness) -> None:
    worker = harness.worker(providers=vtrix(30))
    for number in range(30):
        await harness.order(user_id=number)
    await run_until_idle(worker)
    harness.advance_clock(seconds=POLL_INTERVAL_S)
    harness.worker_store.calls.clear()
    assert await worker.run_once() == 30
    assert harness.provider.calls.count("status") == 30
    assert harness.worker_store.calls == ["claim_due", "claim_queued", "claim_polls", "reschedule"]


async def test_the_loop_sleeps_while_a_write_waits_for_the_store(harness: WorkerHarness) -> None:
    """The job's lease has expired, so it is due, but it must not be claimed."""
    await harness.order()
    harness.worker_store.fail_always("reschedule", STORE_DOWN)
    worker = harness.worker(write_backoff=Backoff(first_s=60, cap_s=60), final_write_timeout=timedelta(0))
    loop = asyncio.create_task(worker.run())
    await harness.worker_store.wait_for_call("reschedule")
    harness.advance_clock(minutes=10)
    worker.wake()
    await wait_until_quiet(harness)
    await worker.stop(grace_s=0)
    await loop
    assert harness.messenger.calls == ["show_status"]


async def test_an_outcome_that_is_known_at_the_stop_is_still_written(harness: WorkerHarness) -> None:
    worker = harness.worker()
    job = await harness.queued_job(worker)
    written, run = await hang_call(worker, harness.worker_store, "apply")
    stop = asyncio.create_task(worker.stop(grace_s=0))
    await let_loop_run(harness)
    assert not stop.done()
    written.set()
    await stop
    await run
    assert await harness.state(job) is JobState.RUNNING
    assert harness.provider.submit_count == 1


async def test_a_reschedule_that_is_known_at_the_stop_is_still_written(harness: WorkerHarness) -> None:
    worker = harness.worker(batch_delay=timedelta(seconds=0.2))
    job = await harness.order()
    run = asyncio.create_task(worker.run_once())
    await harness.messenger.wait_for_call("show_status")
    while not worker._outcome_writer._pending:
        await asyncio.sleep(0)
    await worker.stop(grace_s=0)
    await run
    greeted = await harness.reload(job)
    assert (greeted.status_message_id, greeted.claim_count) == (1000, 0)


async def test_a_stop_does_not_wait_forever_for_a_store_that_is_down(harness: WorkerHarness) -> None:
    worker = harness.worker(final_write_timeout=timedelta(milliseconds=10))
    await harness.order()
    harness.worker_store.fail_always("reschedule", STORE_DOWN)
    harness.worker_store.fail_always("release", STORE_DOWN)
    run = asyncio.create_task(worker.run_once())
    await harness.worker_store.wait_for_call("reschedule", 2)
    await worker.stop(grace_s=0)
    await run


async def test_a_write_that_fails_by_a_bug_is_retried_a_few_times(harness: WorkerHarness) -> None:
    worker = harness.worker()
    job = await harness.queued_job(worker)
    harness.worker_store.fail("apply", *[ZeroDivisionError("a bug")] * MAX_BUG_RETRIES)
    await worker.run_once()
    assert await harness.state(job) is JobState.RUNNING
    assert harness.provider.submit_count == 1


async def test_a_reschedule_that_can_never_be_written_blocks_no_other(harness: WorkerHarness) -> None:
    worker = harness.worker()
    jobs = [await harness.order() for _ in range(3)]
    harness.messenger.next_id = 2**63 - 2  # the third message's is more than a database takes
    shown = harness.messenger.hang("show_status")
    run = asyncio.create_task(worker.run_once())
    await harness.messenger.wait_for_call("show_status", 3)
    shown.set()
    await run
    assert harness.worker_store.calls.count("reschedule") == 1 + 3
    assert [(await harness.reload(job)).status_message_id for job in jobs].count(None) == 1


async def test_an_outage_while_a_batch_is_written_one_by_one_loses_none_of_it(harness: WorkerHarness) -> None:
    worker = harness.worker()
    jobs = [await harness.order() for _ in range(3)]
    harness.worker_store.fail("reschedule", ZeroDivisionError("a bug"), STORE_DOWN, STORE_DOWN)
    shown = harness.messenger.hang("show_status")
    run = asyncio.create_task(worker.run_once())
    await harness.messenger.wait_for_call("show_status", 3)
    shown.set()
    await run
    written = [await harness.reload(job) for job in jobs]
    assert None not in [job.status_message_id for job in written]
    assert [job.claim_count for job in written] == [0, 0, 0]
