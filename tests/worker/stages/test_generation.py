import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from bot.domain.errors import (
    OutcomeUnknown,
    StoreError,
    UpstreamBusy,
    UpstreamRefused,
)
from bot.domain.jobs import (
    Fail,
    FailureCause,
    FailureDetail,
    FailureReason,
    JobState,
    JobUpdate,
    MoveTo,
    PauseSubmissions,
    Reschedule,
)
from bot.providers.base import TaskStatus
from bot.worker.stages import GREETING_ATTEMPTS, STEPS, announce, deliver, greet, poll, submit
from tests.bench import BUSY, CLOSED, DELAYED, FORBIDDEN, GONE, ILL, KEYLESS, UNREACHED, Bench, failure, wait_s
from tests.fakes import NOW, OPEN_GATE


def test_every_state_has_its_step() -> None:
    assert set(STEPS) == set(JobState)


# --- greet ---


async def test_greeting_shows_the_status_and_lets_the_job_wait_for_its_turn(bench: Bench) -> None:
    job = bench.job(JobState.QUEUED)
    assert await greet(job, bench.tools) == Reschedule(None, JobUpdate(status_message_id=1000))
    assert len(bench.messenger.of("status", job)) == 1


@pytest.mark.parametrize("error", [FORBIDDEN, GONE])
async def test_where_nothing_can_be_posted_the_job_fails_before_it_costs(bench: Bench, error: Exception) -> None:
    bench.messenger.fail("show_status", error)
    outcome = await greet(bench.job(JobState.QUEUED), bench.tools)
    assert failure(outcome) is FailureReason.UNDELIVERABLE
    assert bench.provider.calls == []


async def test_a_greeting_that_is_delayed_is_tried_again(bench: Bench) -> None:
    bench.messenger.fail("show_status", DELAYED)
    outcome = await greet(bench.job(JobState.QUEUED), bench.tools)
    assert outcome == Reschedule(NOW + timedelta(seconds=1), attempt=True)


async def test_a_greeting_that_was_tried_adopts_the_message_that_is_there(bench: Bench) -> None:
    job = bench.job(JobState.QUEUED)
    bench.messenger.fail("show_status", DELAYED, late=True)
    await greet(job, bench.tools)
    await greet(replace(job, attempts=1), bench.tools)
    await greet(replace(job, claims=2), bench.tools)
    assert len(bench.messenger.of("status", job)) == 1


async def test_a_greeting_that_never_works_does_not_keep_the_video_back(bench: Bench) -> None:
    bench.messenger.fail("show_status", DELAYED)
    job = bench.job(JobState.QUEUED, attempts=GREETING_ATTEMPTS - 1)
    assert await greet(job, bench.tools) == Reschedule(None)


# --- submit ---


async def test_a_submitted_job_runs_and_knows_its_task(bench: Bench) -> None:
    outcome = await submit(bench.job(JobState.SUBMITTING), bench.tools)
    facts = JobUpdate(upstream_id="task-1", submitted_at=NOW, raw={"id": "task-1"})
    assert outcome == MoveTo(JobState.RUNNING, facts, due_at=NOW + timedelta(seconds=5))


async def test_a_task_that_is_done_at_once_is_not_looked_at(bench: Bench) -> None:
    bench.provider.answer = TaskStatus.COMPLETED
    outcome = await submit(bench.job(JobState.SUBMITTING), bench.tools)
    assert outcome == MoveTo(
        JobState.DELIVERING,
        JobUpdate(
            upstream_id="task-1",
            submitted_at=NOW,
            result_url="https://cdn.example/task-1.mp4",
            cost_usd=Decimal("0.12"),
            raw={"id": "task-1"},
        ),
    )


async def test_a_task_that_fails_at_once_fails_its_job_and_is_kept_on_record(bench: Bench) -> None:
    bench.provider.answer = TaskStatus.FAILED
    outcome = await submit(bench.job(JobState.SUBMITTING), bench.tools)
    assert isinstance(outcome, Fail)
    assert outcome.reason is FailureReason.UPSTREAM_FAILED
    assert outcome.facts.upstream_id == "task-1"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (UpstreamRefused("the prompt is unkind"), FailureReason.REFUSED),
        (OutcomeUnknown("the connection broke"), FailureReason.OUTCOME_UNKNOWN),
    ],
)
async def test_a_create_that_was_refused_or_lost_fails_the_job(
    bench: Bench, error: Exception, reason: FailureReason
) -> None:
    bench.provider.fail("submit", error)
    assert failure(await submit(bench.job(JobState.SUBMITTING), bench.tools)) is reason


async def test_a_refusal_tells_the_member_what_the_upstream_said(bench: Bench) -> None:
    bench.provider.fail("submit", UpstreamRefused("400", code="E7", said="the prompt is unkind"))
    outcome = await submit(bench.job(JobState.SUBMITTING), bench.tools)
    assert isinstance(outcome, Fail)
    assert outcome.detail == FailureDetail(FailureCause.REFUSED_BY_SERVICE, "the prompt is unkind", code="E7")


@pytest.mark.parametrize("error", [CLOSED, KEYLESS, BUSY, UNREACHED])
async def test_an_upstream_that_takes_nothing_holds_the_job(bench: Bench, error: Exception) -> None:
    bench.provider.fail("submit", error)
    outcome = await submit(bench.job(JobState.SUBMITTING), bench.tools)
    assert outcome == PauseSubmissions(NOW + timedelta(seconds=2.5), str(error))


async def test_each_hold_in_a_row_is_longer(bench: Bench) -> None:
    bench.desk.standing = replace(OPEN_GATE, failures=3)
    bench.provider.fail("submit", KEYLESS)
    outcome = await submit(bench.job(JobState.SUBMITTING), bench.tools)
    assert outcome == PauseSubmissions(NOW + timedelta(seconds=20), "no such key")


async def test_a_busy_upstream_says_how_long_to_hold(bench: Bench) -> None:
    bench.provider.fail("submit", UpstreamBusy("slow down", retry_after_s=77))
    outcome = await submit(bench.job(JobState.SUBMITTING), bench.tools)
    assert outcome == PauseSubmissions(NOW + timedelta(seconds=77), "slow down")


async def test_a_busy_upstream_that_says_at_once_is_not_hammered(bench: Bench) -> None:
    bench.provider.fail("submit", UpstreamBusy("slow down", retry_after_s=0))
    outcome = await submit(bench.job(JobState.SUBMITTING), bench.tools)
    assert outcome == PauseSubmissions(NOW + timedelta(seconds=2.5), "slow down")


async def test_a_job_found_submitting_after_a_crash_is_never_posted_again(bench: Bench) -> None:
    outcome = await submit(bench.job(JobState.SUBMITTING, claims=2), bench.tools)
    assert failure(outcome) is FailureReason.OUTCOME_UNKNOWN
    assert bench.provider.calls == []


@pytest.mark.parametrize("method", ["frame", "gate"])
async def test_a_store_that_fails_before_the_post_sends_the_job_back_into_the_queue(
    bench: Bench, method: str
) -> None:
    bench.desk.fail(method, StoreError("the disk is full"))
    outcome = await submit(bench.job(JobState.SUBMITTING), bench.tools)
    assert isinstance(outcome, PauseSubmissions)
    assert bench.provider.calls == []


async def test_a_job_without_its_picture_fails_before_it_costs(bench: Bench) -> None:
    job = bench.job(JobState.SUBMITTING)
    bench.desk.frames.clear()
    assert failure(await submit(job, bench.tools)) is FailureReason.REFUSED
    assert bench.provider.calls == []


# --- poll ---


async def test_a_task_in_progress_is_looked_at_later_the_older_the_rarer(bench: Bench) -> None:
    job = await bench.running()
    bench.provider.tasks["task-1"] = replace(bench.provider.tasks["task-1"], progress=0.4)
    bench.clock.move(seconds=80)
    assert await poll(job, bench.tools) == Reschedule(NOW + timedelta(seconds=90), JobUpdate(progress=0.4))


async def test_a_finished_task_goes_on_to_delivery_with_its_cost(bench: Bench) -> None:
    job = await bench.running()
    bench.provider.end("task-1")
    facts = JobUpdate(result_url="https://cdn.example/task-1.mp4", cost_usd=Decimal("0.12"), raw={"id": "task-1"})
    assert await poll(job, bench.tools) == MoveTo(JobState.DELIVERING, facts)


async def test_a_finished_task_without_a_video_fails_the_job(bench: Bench) -> None:
    job = await bench.running()
    bench.provider.end("task-1", video=False)
    assert failure(await poll(job, bench.tools)) is FailureReason.RESULT_UNUSABLE


async def test_a_failed_task_fails_the_job_with_the_upstreams_words(bench: Bench) -> None:
    job = await bench.running()
    bench.provider.end("task-1", TaskStatus.FAILED)
    outcome = await poll(job, bench.tools)
    assert isinstance(outcome, Fail)
    assert outcome.reason is FailureReason.UPSTREAM_FAILED
    assert outcome.detail.cause is FailureCause.TASK_FAILED
    assert outcome.detail.quote == "the model stumbled"


async def test_a_task_that_the_upstream_does_not_know_again_and_again_fails_the_job(bench: Bench) -> None:
    outcome = await poll(bench.job(JobState.RUNNING, upstream_id="never heard of"), bench.tools)
    assert failure(outcome) is FailureReason.UPSTREAM_FAILED
    assert bench.provider.calls == ["status"] * 3


async def test_a_refused_look_may_be_a_hiccup_whatever_failed_before(bench: Bench) -> None:
    job = await bench.running(attempts=7)
    bench.provider.fail("status", UpstreamRefused("404"), UpstreamRefused("404"))
    assert isinstance(await poll(job, bench.tools), Reschedule)


async def test_a_failure_is_told_though_the_status_can_not_be_edited(bench: Bench) -> None:
    bench.messenger.fail("show_status", GONE)
    job = bench.job(JobState.FAILED)
    await announce(job, bench.tools)
    assert len(bench.messenger.of("failure", job)) == 1


async def test_a_video_that_fits_waits_for_no_encoder(bench: Bench) -> None:
    outcome = await deliver(bench.job(JobState.DELIVERING), replace(bench.tools, encoders=asyncio.Semaphore(0)))
    assert isinstance(outcome, MoveTo)


async def test_a_work_folder_that_was_swept_away_is_made_again(bench: Bench) -> None:
    tools = replace(bench.tools, folder=bench.folder / "swept")
    assert isinstance(await deliver(bench.job(JobState.DELIVERING), tools), MoveTo)


@pytest.mark.parametrize("error", [CLOSED, KEYLESS, BUSY, UNREACHED, ILL])
async def test_a_look_that_fails_is_tried_again_with_growing_pauses(bench: Bench, error: Exception) -> None:
    job = await bench.running()
    bench.provider.fail("status", error, error)
    first = await poll(job, bench.tools)
    later = await poll(replace(job, attempts=4), bench.tools)
    assert isinstance(first, Reschedule)
    assert first.attempt
    assert (wait_s(first), wait_s(later)) == (1, 16)


async def test_a_look_waits_as_long_as_a_busy_upstream_says(bench: Bench) -> None:
    job = await bench.running()
    bench.provider.fail("status", UpstreamBusy("slow down", retry_after_s=77))
    assert wait_s(await poll(job, bench.tools)) == 77


async def test_a_task_over_its_time_fails_the_job(bench: Bench) -> None:
    job = await bench.running()
    bench.clock.move(minutes=30, seconds=1)
    outcome = await poll(job, bench.tools)
    assert isinstance(outcome, Fail)
    assert outcome.reason is FailureReason.TIMED_OUT
    assert outcome.detail == FailureDetail(FailureCause.NOT_FINISHED, minutes=30)


async def test_time_over_counts_only_when_the_upstream_answers(bench: Bench) -> None:
    job = await bench.running()
    bench.clock.move(hours=5)
    bench.provider.fail("status", ILL)
    assert isinstance(await poll(job, bench.tools), Reschedule)


async def test_a_task_that_ended_while_nobody_could_look_is_delivered_however_late(bench: Bench) -> None:
    job = await bench.running()
    bench.clock.move(hours=5)
    bench.provider.end("task-1")
    outcome = await poll(job, bench.tools)
    assert isinstance(outcome, MoveTo)
    assert outcome.to is JobState.DELIVERING


async def test_a_task_that_the_upstream_has_forgotten_by_now_is_given_up(bench: Bench) -> None:
    job = await bench.running()
    bench.clock.move(hours=24, seconds=1)
    bench.provider.fail("status", ILL)
    assert failure(await poll(job, bench.tools)) is FailureReason.TIMED_OUT


async def test_a_cancelled_job_is_looked_after_until_its_task_is_over(bench: Bench) -> None:
    job = await bench.running(cancel_requested=True)
    assert isinstance(await poll(job, bench.tools), Reschedule)
    bench.provider.end("task-1")
    outcome = await poll(job, bench.tools)
    assert isinstance(outcome, MoveTo)
    assert (outcome.to, outcome.counted) == (JobState.CANCELLED, None)
    assert outcome.facts.cost_usd == Decimal("0.12")


def end_as_failed(bench: Bench) -> None:
    bench.provider.end("task-1", TaskStatus.FAILED)


def forget(bench: Bench) -> None:
    bench.provider.tasks.clear()


def take_too_long(bench: Bench) -> None:
    bench.clock.move(hours=1)


def be_silent_for_a_day(bench: Bench) -> None:
    bench.clock.move(hours=25)
    bench.provider.fail("status", ILL)


@pytest.mark.parametrize("happen", [end_as_failed, forget, take_too_long, be_silent_for_a_day])
async def test_a_cancelled_job_whose_task_brings_no_video_does_not_count(
    bench: Bench, happen: Callable[[Bench], None]
) -> None:
    job = await bench.running(cancel_requested=True, attempts=1)
    happen(bench)
    outcome = await poll(job, bench.tools)
    assert isinstance(outcome, MoveTo)
    assert (outcome.to, outcome.counted) == (JobState.CANCELLED, False)
