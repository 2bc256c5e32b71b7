"""What the worker reports of its stages and of the jobs that end."""

import asyncio
from datetime import timedelta
from decimal import Decimal

import pytest

from bot.domain.errors import UpstreamIll, UpstreamRefused, UpstreamUnreached
from bot.domain.jobs import REMOVED, JobState
from bot.store.jobs.due import DueFor
from bot.worker.stage_times import BROKEN_OFF
from tests.harness import POLL_INTERVAL_S, WorkerHarness, hang_call, run_until_idle, running_loop
from tests.recording_observer import RecordingObserver


@pytest.fixture
def observer() -> RecordingObserver:
    return RecordingObserver()


async def test_the_stages_of_a_delivered_video_are_reported_with_what_they_decided(
    harness: WorkerHarness, observer: RecordingObserver
) -> None:
    worker = harness.worker(observer=observer)
    await harness.running_job(worker)
    harness.advance_clock(seconds=POLL_INTERVAL_S)
    await run_until_idle(worker)
    harness.provider.finish_all()
    harness.advance_clock(seconds=POLL_INTERVAL_S)
    await run_until_idle(worker)
    assert observer.stages == [
        ("post_status", "rescheduled"),
        ("submit", "moved"),
        ("poll", "rescheduled"),
        ("poll", "moved"),
        ("deliver", "moved"),
        ("finalise_status", "rescheduled"),
    ]
    assert set(observer.running.values()) == {0}
    assert min(observer.durations_s) >= 0


async def test_a_late_poll_is_reported_with_its_lateness(
    harness: WorkerHarness, observer: RecordingObserver
) -> None:
    worker = harness.worker(observer=observer)
    await harness.running_job(worker)
    harness.advance_clock(seconds=POLL_INTERVAL_S + 7)
    await run_until_idle(worker)
    assert [late_s for stage, late_s in observer.lateness if stage == "poll"] == [pytest.approx(7)]


async def test_failed_polls_paused_submissions_and_refusals_are_told_apart(
    harness: WorkerHarness, observer: RecordingObserver
) -> None:
    worker = harness.worker(observer=observer)
    await harness.running_job(worker)
    harness.provider.fail_next("status", UpstreamIll("502"))
    harness.advance_clock(seconds=POLL_INTERVAL_S)
    await run_until_idle(worker)
    await harness.queued_job(worker)
    harness.provider.fail_next("submit", UpstreamUnreached("refused"))
    await worker.run_once()
    harness.advance_clock(minutes=5)
    harness.provider.fail_next("submit", UpstreamRefused("no"))
    await run_until_idle(worker)
    assert ("poll", "retried") in observer.stages
    assert [outcome for stage, outcome in observer.stages if stage == "submit"] == ["moved", "paused", "failed"]


async def test_a_stage_that_is_cancelled_is_reported_as_broken_off(
    harness: WorkerHarness, observer: RecordingObserver
) -> None:
    worker = harness.worker(observer=observer)
    await harness.finished_job(worker)
    _, run = await hang_call(worker, harness.provider, "status")
    assert observer.running["poll"] == 1
    await worker.stop(grace_s=0)
    await asyncio.wait({run})
    assert observer.stages[-1] == ("poll", BROKEN_OFF)
    assert observer.running["poll"] == 0


async def test_a_delivered_video_is_counted_once_with_its_time_and_cost(
    harness: WorkerHarness, observer: RecordingObserver
) -> None:
    worker = harness.worker(observer=observer)
    job = await harness.running_job(worker)
    harness.advance_clock(seconds=60)
    harness.provider.finish_all()
    await run_until_idle(worker)
    harness.advance_clock(hours=1)
    await run_until_idle(worker)
    found = await harness.reload(job)
    ordered_for_s = (found.state_changed_at - found.created_at).total_seconds()
    assert observer.ended == [("delivered", "", ordered_for_s)]
    [(provider, model, source, usd)] = observer.costs
    assert (provider, model) == ("vtrix", "wan22_i2v_flash")
    expected = found.estimated_cost_usd if found.cost_usd is None else found.cost_usd
    assert source == ("estimated" if found.cost_usd is None else "reported")
    assert usd == expected != Decimal(0)


async def test_a_video_that_fails_or_is_cancelled_by_its_member_is_counted_with_its_reason(
    harness: WorkerHarness, observer: RecordingObserver
) -> None:
    worker = harness.worker(observer=observer)
    harness.provider.fail_next("submit", UpstreamRefused("no"))
    await harness.order()
    await run_until_idle(worker)
    cancelled = await harness.order()
    await harness.store.cancel(cancelled.id, harness.clock(), even_if_paid=False)
    await run_until_idle(worker)
    assert [(state, reason) for state, reason, _ in observer.ended] == [("failed", "refused"), ("cancelled", "")]
    assert observer.costs == []


async def test_an_end_that_takes_several_tries_to_show_is_counted_once(
    harness: WorkerHarness, observer: RecordingObserver
) -> None:
    worker = harness.worker(observer=observer)
    job = await harness.running_job(worker)
    harness.provider.finish_all()
    harness.advance_clock(seconds=POLL_INTERVAL_S)
    while (await harness.state(job)) is not JobState.DELIVERED:
        await worker.run_once()
    found = await harness.reload(job)
    assert found.result_message_id is not None
    await run_until_idle(worker)
    await harness.store.mark_removed(job.id, found.result_message_id, harness.clock())
    assert (await harness.reload(job)).result_message_id == REMOVED
    await run_until_idle(worker)
    assert len(observer.ended) == 1


async def test_the_worker_reports_that_it_looks_for_jobs_even_if_there_are_none(
    harness: WorkerHarness, observer: RecordingObserver
) -> None:
    worker = harness.worker(observer=observer, max_idle=timedelta(milliseconds=1))
    async with running_loop(worker), asyncio.timeout(30):
        while not {DueFor.STAGE, DueFor.POLL} <= set(observer.looked):
            await asyncio.sleep(0)
