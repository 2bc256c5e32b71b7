import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import av
import pytest

from bot.errors import (
    DeliveryDelayed,
    DeliveryForbidden,
    OutcomeUnknown,
    ResultUnusable,
    StoreError,
    TooLargeToPost,
    Undeliverable,
    UpstreamBusy,
    UpstreamClosed,
    UpstreamIll,
    UpstreamRefused,
    UpstreamUnreached,
)
from bot.jobs import Advance, Facts, Fail, FailureReason, Hold, Job, JobState, Later, Order, Outcome
from bot.schedule import LookPolicy
from bot.steps import GREETING_ATTEMPTS, STEPS, Policy, Tools, announce, deliver, greet, poll, submit
from bot.upstream.base import TaskStatus
from tests.fakes import FRAME, NOW, OPEN_GATE, VIDEO, FakeClock, FakeDesk, FakeMessenger, FakeProvider

LOOKS = LookPolicy(min_s=5, max_s=30)
POLICY = Policy(timedelta(minutes=30), timedelta(hours=24), LOOKS, refusal_pauses_s=(0, 0))
CLOSED = UpstreamClosed("no balance", status=403)
KEYLESS = UpstreamClosed("no such key", status=401)
BUSY = UpstreamBusy("slow down", retry_after_s=None)
UNREACHED = UpstreamUnreached("connection refused")
ILL = UpstreamIll("502")
DELAYED = DeliveryDelayed("Discord is ill")
FORBIDDEN = DeliveryForbidden("Missing Permissions")
GONE = Undeliverable("Unknown Channel")


@dataclass
class Bench:
    folder: Path
    provider: FakeProvider = field(default_factory=FakeProvider)
    messenger: FakeMessenger = field(default_factory=FakeMessenger)
    desk: FakeDesk = field(default_factory=FakeDesk)
    clock: FakeClock = field(default_factory=FakeClock)

    @property
    def tools(self) -> Tools:
        return Tools(self.provider, self.messenger, self.desk, POLICY, self.clock, self.folder, chance=lambda: 0.0)

    def job(self, state: JobState, **changes: Any) -> Job:
        job = Job("job-1", state, 10, 100, 1, Order("a fox runs"), NOW, NOW, NOW, claims=1, lease_token="token")
        self.desk.frames[job.id] = FRAME
        if state is JobState.RUNNING:
            job = replace(job, upstream_id="task-1", submitted_at=NOW)
        if state is JobState.DELIVERING:
            job = replace(job, upstream_id="task-1", submitted_at=NOW, result_url="https://cdn.example/v.mp4")
        return replace(job, **changes)

    async def running(self, **changes: Any) -> Job:
        """A running job, with its task upstream."""
        task = await self.provider.submit(Order("a fox runs"), FRAME)
        self.provider.calls.clear()
        return self.job(JobState.RUNNING, upstream_id=task.id, **changes)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def failure(outcome: Outcome) -> FailureReason:
    assert isinstance(outcome, Fail), outcome
    return outcome.reason


def wait_s(outcome: Outcome) -> float:
    assert isinstance(outcome, Later), outcome
    assert outcome.due_at is not None
    return (outcome.due_at - NOW).total_seconds()


def noisy_video(path: Path) -> bytes:
    """A second of noise: some hundred kilobytes that an encoder can do without."""
    noise = random.Random(1)  # noqa: S311 - no secret
    with av.open(str(path), "w", format="mp4") as out:
        stream = out.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        stream.options = {"crf": "1", "preset": "ultrafast"}
        for _ in range(10):
            picture = av.VideoFrame(160, 120, "rgb24")
            picture.planes[0].update(noise.randbytes(picture.planes[0].buffer_size))
            out.mux(stream.encode(picture))
        out.mux(stream.encode(None))
    return path.read_bytes()


def test_every_state_has_its_step() -> None:
    assert set(STEPS) == set(JobState)


# --- greet ---


async def test_greeting_shows_the_status_and_lets_the_job_wait_for_its_turn(bench: Bench) -> None:
    job = bench.job(JobState.QUEUED)
    assert await greet(job, bench.tools) == Later(None, Facts(status_message_id=1000))
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
    assert outcome == Later(NOW + timedelta(seconds=1), attempt=True)


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
    assert await greet(job, bench.tools) == Later(None)


# --- submit ---


async def test_a_submitted_job_runs_and_knows_its_task(bench: Bench) -> None:
    outcome = await submit(bench.job(JobState.SUBMITTING), bench.tools)
    facts = Facts(upstream_id="task-1", submitted_at=NOW, raw={"id": "task-1"})
    assert outcome == Advance(JobState.RUNNING, facts, due_at=NOW + timedelta(seconds=5))


async def test_a_task_that_is_done_at_once_is_not_looked_at(bench: Bench) -> None:
    bench.provider.answer = TaskStatus.COMPLETED
    outcome = await submit(bench.job(JobState.SUBMITTING), bench.tools)
    assert outcome == Advance(
        JobState.DELIVERING,
        Facts(
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
    bench.provider.fail("submit", UpstreamRefused("the prompt is unkind"))
    outcome = await submit(bench.job(JobState.SUBMITTING), bench.tools)
    assert isinstance(outcome, Fail)
    assert "the prompt is unkind" in outcome.detail


@pytest.mark.parametrize("error", [CLOSED, KEYLESS, BUSY, UNREACHED])
async def test_an_upstream_that_takes_nothing_holds_the_job(bench: Bench, error: Exception) -> None:
    bench.provider.fail("submit", error)
    outcome = await submit(bench.job(JobState.SUBMITTING), bench.tools)
    assert outcome == Hold(NOW + timedelta(seconds=2.5), str(error))


async def test_each_hold_in_a_row_is_longer(bench: Bench) -> None:
    bench.desk.standing = replace(OPEN_GATE, failures=3)
    bench.provider.fail("submit", KEYLESS)
    outcome = await submit(bench.job(JobState.SUBMITTING), bench.tools)
    assert outcome == Hold(NOW + timedelta(seconds=20), "no such key")


async def test_a_busy_upstream_says_how_long_to_hold(bench: Bench) -> None:
    bench.provider.fail("submit", UpstreamBusy("slow down", retry_after_s=77))
    outcome = await submit(bench.job(JobState.SUBMITTING), bench.tools)
    assert outcome == Hold(NOW + timedelta(seconds=77), "slow down")


async def test_a_busy_upstream_that_says_at_once_is_not_hammered(bench: Bench) -> None:
    bench.provider.fail("submit", UpstreamBusy("slow down", retry_after_s=0))
    outcome = await submit(bench.job(JobState.SUBMITTING), bench.tools)
    assert outcome == Hold(NOW + timedelta(seconds=2.5), "slow down")


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
    assert isinstance(outcome, Hold)
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
    assert await poll(job, bench.tools) == Later(NOW + timedelta(seconds=90), Facts(progress=0.4))


async def test_a_finished_task_goes_on_to_delivery_with_its_cost(bench: Bench) -> None:
    job = await bench.running()
    bench.provider.end("task-1")
    facts = Facts(result_url="https://cdn.example/task-1.mp4", cost_usd=Decimal("0.12"), raw={"id": "task-1"})
    assert await poll(job, bench.tools) == Advance(JobState.DELIVERING, facts)


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
    assert "the model stumbled" in outcome.detail


async def test_a_task_that_the_upstream_does_not_know_again_and_again_fails_the_job(bench: Bench) -> None:
    outcome = await poll(bench.job(JobState.RUNNING, upstream_id="never heard of"), bench.tools)
    assert failure(outcome) is FailureReason.UPSTREAM_FAILED
    assert bench.provider.calls == ["status"] * 3


async def test_a_refused_look_may_be_a_hiccup_whatever_failed_before(bench: Bench) -> None:
    job = await bench.running(attempts=7)
    bench.provider.fail("status", UpstreamRefused("404"), UpstreamRefused("404"))
    assert isinstance(await poll(job, bench.tools), Later)


async def test_a_failure_is_told_though_the_status_can_not_be_edited(bench: Bench) -> None:
    bench.messenger.fail("show_status", GONE)
    job = bench.job(JobState.FAILED)
    await announce(job, bench.tools)
    assert len(bench.messenger.of("failure", job)) == 1


async def test_a_video_that_fits_waits_for_no_encoder(bench: Bench) -> None:
    outcome = await deliver(bench.job(JobState.DELIVERING), replace(bench.tools, encoders=asyncio.Semaphore(0)))
    assert isinstance(outcome, Advance)


async def test_a_work_folder_that_was_swept_away_is_made_again(bench: Bench) -> None:
    tools = replace(bench.tools, folder=bench.folder / "swept")
    assert isinstance(await deliver(bench.job(JobState.DELIVERING), tools), Advance)


@pytest.mark.parametrize("error", [CLOSED, KEYLESS, BUSY, UNREACHED, ILL])
async def test_a_look_that_fails_is_tried_again_with_growing_pauses(bench: Bench, error: Exception) -> None:
    job = await bench.running()
    bench.provider.fail("status", error, error)
    first = await poll(job, bench.tools)
    later = await poll(replace(job, attempts=4), bench.tools)
    assert isinstance(first, Later)
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
    assert "30 minutes" in outcome.detail


async def test_time_over_counts_only_when_the_upstream_answers(bench: Bench) -> None:
    job = await bench.running()
    bench.clock.move(hours=5)
    bench.provider.fail("status", ILL)
    assert isinstance(await poll(job, bench.tools), Later)


async def test_a_task_that_ended_while_nobody_could_look_is_delivered_however_late(bench: Bench) -> None:
    job = await bench.running()
    bench.clock.move(hours=5)
    bench.provider.end("task-1")
    outcome = await poll(job, bench.tools)
    assert isinstance(outcome, Advance)
    assert outcome.to is JobState.DELIVERING


async def test_a_task_that_the_upstream_has_forgotten_by_now_is_given_up(bench: Bench) -> None:
    job = await bench.running()
    bench.clock.move(hours=24, seconds=1)
    bench.provider.fail("status", ILL)
    assert failure(await poll(job, bench.tools)) is FailureReason.TIMED_OUT


async def test_a_cancelled_job_is_looked_after_until_its_task_is_over(bench: Bench) -> None:
    job = await bench.running(cancel_requested=True)
    assert isinstance(await poll(job, bench.tools), Later)
    bench.provider.end("task-1")
    outcome = await poll(job, bench.tools)
    assert isinstance(outcome, Advance)
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
    assert isinstance(outcome, Advance)
    assert (outcome.to, outcome.counted) == (JobState.CANCELLED, False)


# --- deliver ---


async def test_a_video_is_posted_and_leaves_nothing_on_the_disk(bench: Bench) -> None:
    job = bench.job(JobState.DELIVERING)
    outcome = await deliver(job, bench.tools)
    [posted] = bench.messenger.of("video", job)
    assert outcome == Advance(JobState.DELIVERED, Facts(result_message_id=posted.id))
    assert posted.content == VIDEO
    assert list(bench.folder.iterdir()) == []


async def test_a_first_try_does_not_search_the_channel(bench: Bench) -> None:
    await deliver(bench.job(JobState.DELIVERING), bench.tools)
    assert "find_video" not in bench.messenger.calls


@pytest.mark.parametrize("trace", [{"attempts": 1}, {"claims": 2}])
async def test_a_video_that_was_posted_without_an_answer_is_adopted(bench: Bench, trace: dict[str, int]) -> None:
    job = bench.job(JobState.DELIVERING)
    bench.messenger.fail("post_video", DELAYED, late=True)
    assert isinstance(await deliver(job, bench.tools), Later)
    outcome = await deliver(replace(job, **trace), bench.tools)  # type: ignore[arg-type]  # mypy: a dict is any field
    [posted] = bench.messenger.of("video", job)
    assert outcome == Advance(JobState.DELIVERED, Facts(result_message_id=posted.id))
    assert bench.provider.calls == ["download"]


async def test_a_second_try_posts_where_the_first_did_not(bench: Bench) -> None:
    job = bench.job(JobState.DELIVERING, attempts=1)
    outcome = await deliver(job, bench.tools)
    [posted] = bench.messenger.of("video", job)
    assert outcome == Advance(JobState.DELIVERED, Facts(result_message_id=posted.id))


async def test_nothing_is_posted_while_it_is_unknown_whether_it_is_there(bench: Bench) -> None:
    job = bench.job(JobState.DELIVERING, attempts=1)
    bench.messenger.fail("find_video", DELAYED)
    assert isinstance(await deliver(job, bench.tools), Later)
    assert bench.messenger.messages == {}


async def test_a_cancelled_job_is_not_posted(bench: Bench) -> None:
    outcome = await deliver(bench.job(JobState.DELIVERING, cancel_requested=True), bench.tools)
    assert outcome == Advance(JobState.CANCELLED)
    assert bench.messenger.calls == bench.provider.calls == []


async def test_a_cancel_that_comes_after_the_post_comes_too_late(bench: Bench) -> None:
    bench.messenger.fail("post_video", DELAYED, late=True)
    job = bench.job(JobState.DELIVERING)
    await deliver(job, bench.tools)
    [posted] = bench.messenger.of("video", job)
    outcome = await deliver(replace(job, attempts=1, cancel_requested=True), bench.tools)
    assert outcome == Advance(JobState.DELIVERED, Facts(result_message_id=posted.id))


async def test_a_cancel_while_the_video_is_fetched_keeps_it_unposted(bench: Bench) -> None:
    job = bench.job(JobState.DELIVERING)
    bench.desk.jobs[job.id] = replace(job, cancel_requested=True)
    assert await deliver(job, bench.tools) == Advance(JobState.CANCELLED)
    assert bench.messenger.messages == {}


async def test_a_greeting_that_hangs_counts_as_an_attempt(bench: Bench) -> None:
    bench.messenger.hang("show_status")
    outcome = await greet(bench.job(JobState.QUEUED), replace(bench.tools, greet_s=0.01))
    assert isinstance(outcome, Later)
    assert outcome.attempt


async def test_a_store_that_hangs_before_the_submission_lets_the_job_wait(bench: Bench) -> None:
    bench.desk.hang("frame")
    outcome = await submit(bench.job(JobState.SUBMITTING), replace(bench.tools, store_s=0.01))
    assert isinstance(outcome, Hold)
    assert bench.provider.posts == 0


async def test_a_result_that_can_not_be_fetched_fails_the_job(bench: Bench) -> None:
    bench.provider.fail("download", ResultUnusable("404"))
    assert failure(await deliver(bench.job(JobState.DELIVERING), bench.tools)) is FailureReason.RESULT_UNUSABLE


@pytest.mark.parametrize("method", ["upload_limit_bytes", "post_video"])
async def test_a_channel_that_is_gone_fails_the_job(bench: Bench, method: str) -> None:
    bench.messenger.fail(method, GONE)
    assert failure(await deliver(bench.job(JobState.DELIVERING), bench.tools)) is FailureReason.UNDELIVERABLE


async def test_a_forbidden_channel_gets_time_to_be_opened_again(bench: Bench) -> None:
    job = bench.job(JobState.DELIVERING)
    bench.messenger.fail("post_video", FORBIDDEN, FORBIDDEN)
    bench.clock.move(minutes=30)
    assert isinstance(await deliver(job, bench.tools), Later)
    bench.clock.move(seconds=1)
    assert failure(await deliver(job, bench.tools)) is FailureReason.UNDELIVERABLE


@pytest.mark.parametrize(
    ("method", "error"),
    [
        ("download", BUSY),
        ("download", UNREACHED),
        ("download", ILL),
        ("download", CLOSED),
        ("post_video", DELAYED),
        ("upload_limit_bytes", DELAYED),
    ],
)
async def test_a_delivery_that_can_not_be_made_now_is_made_later_within_the_results_life(
    bench: Bench, method: str, error: Exception
) -> None:
    job = bench.job(JobState.DELIVERING, attempts=2)
    place = bench.provider if method == "download" else bench.messenger
    place.fail(method, error, error)
    assert await deliver(job, bench.tools) == Later(NOW + timedelta(seconds=4), attempt=True)
    bench.clock.move(hours=24, seconds=1)
    assert failure(await deliver(job, bench.tools)) is FailureReason.UNDELIVERABLE


async def test_a_download_waits_as_long_as_a_busy_upstream_says(bench: Bench) -> None:
    bench.provider.fail("download", UpstreamBusy("slow down", retry_after_s=77))
    assert wait_s(await deliver(bench.job(JobState.DELIVERING), bench.tools)) == 77


async def test_a_video_over_the_channels_limit_is_made_to_fit(bench: Bench) -> None:
    bench.provider.video = noisy_video(bench.folder / "noise.mp4")
    limit = len(bench.provider.video) // 3
    bench.messenger.says_it_takes = bench.messenger.takes = limit
    job = bench.job(JobState.DELIVERING)
    await deliver(job, bench.tools)
    [posted] = bench.messenger.of("video", job)
    assert 0 < len(posted.content) <= limit
    assert bench.messenger.calls.count("post_video") == 1


async def test_a_channel_that_takes_less_than_it_said_gets_a_smaller_video(bench: Bench) -> None:
    bench.provider.video = noisy_video(bench.folder / "noise.mp4")
    bench.messenger.takes = len(bench.provider.video) // 3
    job = bench.job(JobState.DELIVERING)
    await deliver(job, bench.tools)
    [posted] = bench.messenger.of("video", job)
    assert 0 < len(posted.content) <= bench.messenger.takes


async def test_a_video_that_can_not_be_made_to_fit_fails_the_job(bench: Bench) -> None:
    bench.messenger.says_it_takes = len(VIDEO) - 1
    assert failure(await deliver(bench.job(JobState.DELIVERING), bench.tools)) is FailureReason.RESULT_UNUSABLE


async def test_a_channel_that_takes_no_size_at_all_is_not_tried_for_ever(bench: Bench) -> None:
    too_large = TooLargeToPost("too large", limit_bytes=10_000_000)
    bench.messenger.fail("post_video", too_large, too_large)
    assert failure(await deliver(bench.job(JobState.DELIVERING), bench.tools)) is FailureReason.RESULT_UNUSABLE


# --- announce ---


@pytest.mark.parametrize("state", [JobState.DELIVERED, JobState.CANCELLED])
async def test_an_end_is_shown_in_the_status_message_without_a_ping(bench: Bench, state: JobState) -> None:
    queued = bench.job(JobState.QUEUED)
    message_id = await bench.messenger.show_status(queued, look_first=False)
    outcome = await announce(bench.job(state, status_message_id=message_id), bench.tools)
    assert outcome == Later(None, Facts(status_message_id=message_id))
    assert [one.shows for one in bench.messenger.messages.values()] == [state]


async def test_a_failure_is_told_to_its_member(bench: Bench) -> None:
    job = bench.job(JobState.FAILED)
    await announce(job, bench.tools)
    assert len(bench.messenger.of("failure", job)) == 1


@pytest.mark.parametrize("trace", [{"attempts": 1}, {"claims": 2}])
async def test_a_failure_is_told_once_though_its_answer_was_lost(bench: Bench, trace: dict[str, int]) -> None:
    job = bench.job(JobState.FAILED)
    bench.messenger.fail("tell_failure", DELAYED, late=True)
    first = await announce(job, bench.tools)
    assert first == Later(NOW + timedelta(seconds=1), attempt=True)
    await announce(replace(job, **trace), bench.tools)  # type: ignore[arg-type]  # mypy: a dict is any field
    assert len(bench.messenger.of("failure", job)) == 1
    assert len(bench.messenger.of("status", job)) == 1


async def test_a_status_message_that_the_job_lost_track_of_is_found_again(bench: Bench) -> None:
    queued = bench.job(JobState.QUEUED)
    await bench.messenger.show_status(queued, look_first=False)
    job = bench.job(JobState.CANCELLED)
    await announce(job, bench.tools)
    assert [one.shows for one in bench.messenger.of("status", job)] == [JobState.CANCELLED]


@pytest.mark.parametrize("error", [FORBIDDEN, GONE])
async def test_an_end_that_can_not_be_told_is_let_be(bench: Bench, error: Exception) -> None:
    bench.messenger.fail("show_status", error)
    assert await announce(bench.job(JobState.FAILED), bench.tools) == Later(None)


async def test_an_end_that_is_old_news_is_let_be(bench: Bench) -> None:
    bench.messenger.fail("show_status", DELAYED)
    bench.clock.move(hours=24, seconds=1)
    assert await announce(bench.job(JobState.FAILED), bench.tools) == Later(None)
