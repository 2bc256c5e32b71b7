from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import select

from bot.chat.messages.audit_texts import phrase
from bot.domain.errors import NotPossible
from bot.domain.jobs import (
    CancelResult,
    Fail,
    FailureCause,
    FailureDetail,
    FailureReason,
    Job,
    JobState,
    JobUpdate,
    MoveTo,
    Reschedule,
)
from bot.services.admin.audited import Admin
from bot.services.admin.jobs import JobService
from bot.store.engine import Database
from bot.store.guilds.audit_log import audit_entry_of
from bot.store.jobs.job_store import JobStore
from bot.store.money import ledger
from bot.store.schema import audit_log
from tests.store.factories import (
    DETAIL,
    MINUTE,
    NOW,
    add,
    add_waiting,
    bring_to,
    claim,
    close_gate,
    entries,
    grant,
    new_job,
    next_job,
    notified_texts,
    read,
    requester_of,
    set_guild,
)

LIFETIME = timedelta(hours=24)
HERE, ELSEWHERE = Admin(10, 99), Admin(20, 98)
HELD = (JobState.SUBMITTING, JobState.RUNNING, JobState.DELIVERING)


@pytest.fixture
def woken() -> list[None]:
    """One for each time the worker was woken."""
    return []


@pytest.fixture
def roster(database: Database, woken: list[None]) -> JobService:
    return JobService(database, wake=lambda: woken.append(None), clock=lambda: NOW, task_lifetime=LIFETIME)


async def free(store: JobStore, job: Job, *, due_at: datetime | None = None, failed: bool = False) -> Job:
    """The job without a lease, looked at again at that moment; failed: because a look went wrong."""
    assert await store.apply(job, Reschedule(due_at or NOW + 10 * MINUTE, attempt=failed), NOW)
    return await read(store, job)


async def backing_off(store: JobStore, state: JobState = JobState.RUNNING) -> Job:
    return await free(store, await bring_to(store, state), failed=True)


async def failed_with_task(store: JobStore, submitted_at: datetime = NOW, cost: str | None = None) -> Job:
    """A job whose task ran too long; free for its member."""
    job = await add_waiting(store)
    submitting = await next_job(store)
    assert submitting is not None
    facts = JobUpdate(upstream_id=f"task-{job.id}", submitted_at=submitted_at)
    assert await store.apply(submitting, MoveTo(JobState.RUNNING, facts), NOW)
    learned = JobUpdate(cost_usd=None if cost is None else Decimal(cost))
    outcome = Fail(FailureReason.TIMED_OUT, DETAIL, learned)
    assert await store.apply(await claim(store, job.id), outcome, NOW)
    return await read(store, job)


async def told(database: Database) -> tuple[list[tuple[int, int | None, str]], list[str]]:
    """The audit log in words, and what the log channels are told."""
    async with database.read() as connection:
        rows = await connection.execute(select(audit_log).order_by(audit_log.c.id))
        entries = [audit_entry_of(row) for row in rows]
    return [(it.guild_id, it.actor_id, phrase(it)) for it in entries], await notified_texts(database)


async def usd_today(database: Database, guild_id: int = 10) -> Decimal:
    async with database.read() as connection:
        return (await ledger.spent(connection, guild_id, NOW)).usd_today


async def window(store: JobStore, job: Job) -> int:
    """How many videos stand in the member's window."""
    allowance = await store.allowance(requester_of(new_job(user_id=job.user_id)), NOW)
    return len(allowance.usage.charged_at)


async def test_a_quiet_server_has_an_empty_overview(roster: JobService) -> None:
    overview = await roster.overview(HERE)

    assert (overview.active, overview.count, overview.failures, overview.closed_until) == ((), 0, (), None)


async def test_the_board_has_what_is_not_over_oldest_first(store: JobStore, roster: JobService) -> None:
    running = await bring_to(store, JobState.RUNNING)
    await bring_to(store, JobState.DELIVERED, NOW + MINUTE)
    queued = await add(store, NOW + 2 * MINUTE)

    overview = await roster.overview(HERE)

    assert [standing.job.id for standing in overview.active] == [running.id, queued.id]
    assert overview.count == 2


async def test_the_board_of_a_full_server_says_how_many_there_are(store: JobStore, roster: JobService) -> None:
    for _ in range(27):
        await add(store)

    overview = await roster.overview(HERE)

    assert (len(overview.active), overview.count) == (25, 27)


async def test_waiting_jobs_know_their_place_in_the_line_of_all_servers(
    store: JobStore, roster: JobService
) -> None:
    first = await add_waiting(store, NOW, user_id=1)
    await add_waiting(store, NOW + MINUTE, user_id=2, guild_id=20)
    third = await add_waiting(store, NOW + 2 * MINUTE, user_id=3)
    greeted_next = await add(store, NOW + 3 * MINUTE, user_id=4)

    overview = await roster.overview(HERE)

    assert [(standing.job.id, standing.place) for standing in overview.active] == [
        (first.id, 1),
        (third.id, 3),
        (greeted_next.id, None),
    ]


async def test_whoever_holds_a_slot_stands_further_back(store: JobStore, roster: JobService) -> None:
    await bring_to(store, JobState.RUNNING, user_id=1)
    busy = await add_waiting(store, NOW, user_id=1)
    idle = await add_waiting(store, NOW + MINUTE, user_id=2)

    overview = await roster.overview(HERE)

    places = {standing.job.id: standing.place for standing in overview.active}
    assert (places[idle.id], places[busy.id]) == (1, 2)


async def test_the_board_says_until_when_the_video_service_is_closed(store: JobStore, roster: JobService) -> None:
    until = NOW + 5 * MINUTE
    await close_gate(store, until, "401 key sk-secret is wrong", NOW)

    overview = await roster.overview(HERE)

    assert overview.closed_until == until
    assert "sk-secret" not in repr(overview)


async def test_a_gate_that_was_closed_once_is_no_news(store: JobStore, roster: JobService) -> None:
    await close_gate(store, NOW, "busy", NOW - MINUTE)

    assert (await roster.overview(HERE)).closed_until is None


async def test_the_board_has_the_latest_failures_of_a_week(store: JobStore, roster: JobService) -> None:
    old = await bring_to(store, JobState.FAILED, NOW - timedelta(days=8))
    fresh = [await bring_to(store, JobState.FAILED, NOW - number * MINUTE) for number in range(7, 0, -1)]

    overview = await roster.overview(HERE)

    assert [job.id for job in overview.failures] == [job.id for job in reversed(fresh)][:5]
    assert old.id not in {job.id for job in overview.failures}


async def test_the_board_shows_no_other_servers_jobs(store: JobStore, roster: JobService) -> None:
    await backing_off(store)
    await bring_to(store, JobState.FAILED, NOW + MINUTE)
    await add_waiting(store)

    overview = await roster.overview(ELSEWHERE)

    assert (overview.active, overview.count, overview.failures) == ((), 0, ())
    assert await roster.cancellable(ELSEWHERE) == []
    assert await roster.retryable(ELSEWHERE) == []


@pytest.mark.parametrize("state", [JobState.QUEUED, *HELD, JobState.FAILED])
async def test_another_servers_job_is_as_good_as_unknown(
    store: JobStore, roster: JobService, database: Database, state: JobState
) -> None:
    job = await bring_to(store, state)
    before = await read(store, job)

    for act in (
        roster.cancel(ELSEWHERE, job.id, even_if_paid=True),
        roster.cancel(ELSEWHERE, job.id, even_if_paid=False),
        roster.retry(ELSEWHERE, job.id),
        roster.cancel(ELSEWHERE, "nothing", even_if_paid=True),
        roster.retry(ELSEWHERE, "nothing"),
    ):
        with pytest.raises(NotPossible, match="UNKNOWN_JOB"):
            await act

    assert await read(store, job) == before
    assert await told(database) == ([], [])


async def test_a_queued_job_is_cancelled_free(
    store: JobStore, roster: JobService, database: Database, woken: list[None]
) -> None:
    job = await add_waiting(store)

    done = await roster.cancel(HERE, job.id, even_if_paid=False)

    assert done.result is CancelResult.CANCELLED
    assert (await read(store, job)).state is JobState.CANCELLED
    assert await window(store, job) == 0
    assert await usd_today(database) == 0
    assert woken


async def test_a_job_that_awaits_a_moderator_is_cancelled_free(
    store: JobStore, roster: JobService, database: Database
) -> None:
    await set_guild(store, approval_required=True)
    job = await add(store)
    assert job.state is JobState.AWAITING

    done = await roster.cancel(HERE, job.id, even_if_paid=False)

    assert done.result is CancelResult.CANCELLED
    assert await window(store, job) == 0
    assert await usd_today(database) == 0


@pytest.mark.parametrize("state", HELD)
async def test_one_under_way_is_asked_about_first(
    store: JobStore, roster: JobService, database: Database, state: JobState
) -> None:
    job = await bring_to(store, state)
    before = await read(store, job)

    done = await roster.cancel(HERE, job.id, even_if_paid=False)

    assert done.result is CancelResult.PAID
    assert await read(store, job) == before
    assert await told(database) == ([], [])


@pytest.mark.parametrize("state", HELD)
async def test_an_admins_cancel_charges_no_member_and_keeps_the_cost(
    store: JobStore, roster: JobService, database: Database, state: JobState
) -> None:
    job = await bring_to(store, state)
    reserved = await usd_today(database)
    assert reserved > 0

    done = await roster.cancel(HERE, job.id, even_if_paid=True)

    assert done.result is CancelResult.FLAGGED
    now = await read(store, job)
    assert (now.state, now.cancel_requested, now.charged) == (state, True, False)
    assert await window(store, job) == 0
    assert await usd_today(database) == reserved


async def test_what_a_given_up_video_really_cost_is_settled_at_its_end(
    store: JobStore, roster: JobService, database: Database
) -> None:
    job = await bring_to(store, JobState.RUNNING)
    await roster.cancel(HERE, job.id, even_if_paid=True)

    ended = MoveTo(JobState.CANCELLED, JobUpdate(cost_usd=Decimal("0.07")))
    assert await store.apply(job, ended, NOW)

    assert await usd_today(database) == Decimal("0.07")
    assert await window(store, job) == 0


async def test_a_credit_comes_back_with_an_admins_cancel(store: JobStore, roster: JobService) -> None:
    await set_guild(store, videos_per_window=0)
    await grant(store, 1)
    job = await bring_to(store, JobState.RUNNING)
    assert job.credit_grant_id is not None

    await roster.cancel(HERE, job.id, even_if_paid=True)

    allowance = await store.allowance(requester_of(new_job()), NOW)
    assert [credit.left for credit in allowance.usage.credits] == [1]


async def test_a_running_job_that_is_cancelled_is_due_at_once(
    store: JobStore, roster: JobService, woken: list[None]
) -> None:
    job = await free(store, await bring_to(store, JobState.RUNNING))

    await roster.cancel(HERE, job.id, even_if_paid=True)

    assert (await read(store, job)).due_at == NOW
    assert woken


async def test_a_second_cancel_says_that_it_is_given_up(
    store: JobStore, roster: JobService, database: Database
) -> None:
    job = await bring_to(store, JobState.RUNNING)
    await roster.cancel(HERE, job.id, even_if_paid=True)

    with pytest.raises(NotPossible, match="ALREADY_CANCELLED"):
        await roster.cancel(HERE, job.id, even_if_paid=True)

    assert len((await told(database))[0]) == 1
    assert await roster.cancellable(HERE) == []


@pytest.mark.parametrize("state", [JobState.DELIVERED, JobState.FAILED, JobState.CANCELLED])
async def test_what_is_over_cannot_be_cancelled(store: JobStore, roster: JobService, state: JobState) -> None:
    job = await bring_to(store, state)

    with pytest.raises(NotPossible, match="NOTHING_TO_CANCEL"):
        await roster.cancel(HERE, job.id, even_if_paid=True)


@pytest.mark.parametrize("state", [JobState.QUEUED, JobState.RUNNING])
async def test_a_cancel_says_why_and_stands_in_the_ledger_as_the_admins(
    store: JobStore, roster: JobService, state: JobState
) -> None:
    job = await bring_to(store, state)

    await roster.cancel(HERE, job.id, even_if_paid=True)

    assert (await read(store, job)).failure_detail == FailureDetail(FailureCause.CANCELLED_BY_ADMIN)
    assert [entry.actor_id for entry in await entries(store, job)] == [job.user_id, HERE.user_id]


async def test_a_cancel_is_written_down_and_told(store: JobStore, roster: JobService, database: Database) -> None:
    await set_guild(store, log_channel_id=5)
    job = await add_waiting(store, user_id=7)

    await roster.cancel(HERE, job.id, even_if_paid=False)

    audit_log, texts = await told(database)
    assert audit_log == [(10, 99, f"cancelled a video for <@7> (`{job.id}`)")]
    (text,) = texts
    assert "<@99>" in text
    assert "cancelled a video for <@7>" in text


async def test_cancel_offers_the_servers_jobs_that_are_not_over(store: JobStore, roster: JobService) -> None:
    running = await bring_to(store, JobState.RUNNING)
    await bring_to(store, JobState.DELIVERED, NOW + MINUTE)
    queued = await add(store, NOW + 2 * MINUTE)
    await add(store, guild_id=20)

    assert [job.id for job in await roster.cancellable(HERE)] == [running.id, queued.id]


@pytest.mark.parametrize("state", [JobState.QUEUED, JobState.RUNNING, JobState.DELIVERING])
async def test_a_job_that_waits_after_a_failure_is_tried_now(
    store: JobStore, roster: JobService, database: Database, woken: list[None], state: JobState
) -> None:
    job = await backing_off(store, state)

    done = await roster.retry(HERE, job.id)

    now = await read(store, job)
    assert done.state is state
    assert (now.state, now.due_at, now.attempts) == (state, NOW, 1)
    assert woken
    audit_log, _ = await told(database)
    assert [(line[0], line[1]) for line in audit_log] == [(10, 99)]


async def test_a_job_that_is_being_worked_on_is_left_to_its_worker(store: JobStore, roster: JobService) -> None:
    job = await bring_to(store, JobState.RUNNING)

    with pytest.raises(NotPossible, match="NothingToRetry"):
        await roster.retry(HERE, job.id)


async def test_a_job_that_goes_well_is_not_hurried(store: JobStore, roster: JobService) -> None:
    job = await free(store, await bring_to(store, JobState.RUNNING))

    with pytest.raises(NotPossible, match="NothingToRetry"):
        await roster.retry(HERE, job.id)

    assert (await read(store, job)).due_at == job.due_at


@pytest.mark.parametrize("state", [JobState.DELIVERED, JobState.CANCELLED])
async def test_what_ended_well_or_was_cancelled_is_not_tried_again(
    store: JobStore, roster: JobService, state: JobState
) -> None:
    job = await bring_to(store, state)

    with pytest.raises(NotPossible):
        await roster.retry(HERE, job.id)


async def test_a_job_that_awaits_a_moderator_is_not_tried_again(store: JobStore, roster: JobService) -> None:
    await set_guild(store, approval_required=True)
    job = await add(store)

    with pytest.raises(NotPossible, match="AWAITING"):
        await roster.retry(HERE, job.id)


async def test_a_failed_job_whose_task_is_known_is_looked_at_again_free_for_its_member(
    store: JobStore, roster: JobService, database: Database, woken: list[None]
) -> None:
    job = await failed_with_task(store)
    assert await usd_today(database) == 0

    done = await roster.retry(HERE, job.id)

    now = await read(store, job)
    assert done.state is JobState.FAILED
    assert (now.state, now.due_at, now.failure_reason, now.charged) == (JobState.RUNNING, NOW, None, False)
    assert await window(store, job) == 0
    assert await usd_today(database) == job.estimated_cost_usd
    assert woken
    audit_log, _ = await told(database)
    assert audit_log == [(10, 99, f"retried a video for <@1> (`{job.id}`)")]


async def test_a_task_that_the_video_service_forgot_is_not_asked_for(
    store: JobStore, roster: JobService, database: Database
) -> None:
    job = await failed_with_task(store, NOW - LIFETIME)

    with pytest.raises(NotPossible, match="TOO_OLD"):
        await roster.retry(HERE, job.id)

    assert (await read(store, job)).state is JobState.FAILED
    audit_log, _ = await told(database)
    assert audit_log == []


async def test_a_job_that_failed_before_it_was_handed_in_must_be_ordered_again(
    store: JobStore, roster: JobService
) -> None:
    job = await bring_to(store, JobState.FAILED)

    with pytest.raises(NotPossible, match=r"NO_TASK.*outcome_unknown=False"):
        await roster.retry(HERE, job.id)


async def test_a_job_whose_outcome_is_unknown_is_the_operators(store: JobStore, roster: JobService) -> None:
    job = await bring_to(store, JobState.SUBMITTING)
    assert await store.apply(job, Fail(FailureReason.OUTCOME_UNKNOWN, DETAIL), NOW)

    with pytest.raises(NotPossible, match=r"NO_TASK.*outcome_unknown=True"):
        await roster.retry(HERE, job.id)


async def test_retry_offers_what_waits_after_a_failure_and_what_can_be_looked_at_again(
    store: JobStore, roster: JobService
) -> None:
    waiting = await backing_off(store)
    failed = await failed_with_task(store)
    await failed_with_task(store, NOW - LIFETIME)
    await bring_to(store, JobState.FAILED)
    await bring_to(store, JobState.DELIVERED)
    await free(store, await bring_to(store, JobState.RUNNING))

    offered = await roster.retryable(HERE)

    assert {job.id for job in offered} == {waiting.id, failed.id}
