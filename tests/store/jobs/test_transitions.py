from dataclasses import replace
from datetime import timedelta, timezone
from decimal import Decimal
from operator import attrgetter
from typing import Any

import pytest
from sqlalchemy import select

from bot.domain.jobs import ENDED, FailureCause, FailureDetail, FailureReason, Job, JobState, may_become
from bot.domain.outcomes import Fail, JobUpdate, MoveTo, Outcome, Reschedule
from bot.store.engine import Database
from bot.store.jobs.job_store import JobStore
from bot.store.schema import jobs
from tests.store.factories import (
    DETAIL,
    FRAME,
    LEASES,
    MANY,
    MINUTE,
    NOW,
    SECOND,
    UNLIMITED,
    add,
    bring_to,
    claim,
    read,
)
from tests.store.jobs.transition_samples import A_TASK, SOON

FACTS = JobUpdate(
    upstream_id="task-2",
    submitted_at=NOW - SECOND,
    progress=0.35,
    result_url="https://cdn.example/x.mp4?sig=%20狐",
    cost_usd=Decimal("0.1200"),
    upstream_response={"usage": {"cost": "0.1200"}, "狐狸": [None, True]},
    status_message_id=2**62,
    result_message_id=2**62 + 1,
)
stored_facts = attrgetter(
    "upstream_id",
    "submitted_at",
    "progress",
    "result_url",
    "cost_usd",
    "status_message_id",
    "result_message_id",
)
EVERY_OUTCOME: list[Outcome] = [
    MoveTo(JobState.CANCELLED),
    Reschedule(None),
    Fail(FailureReason.ABANDONED, DETAIL),
]


async def upstream_response_of(database: Database, job: Job) -> Any:
    async with database.read() as connection:
        return (await connection.execute(select(jobs.c.upstream_response).where(jobs.c.id == job.id))).scalar_one()


MOVES = [(state, to) for state in JobState for to in JobState if may_become(state, to) and state not in ENDED]


@pytest.mark.parametrize(("state", "to"), MOVES)
async def test_every_allowed_transition_is_applied(store: JobStore, state: JobState, to: JobState) -> None:
    held = await bring_to(store, state)
    assert await store.apply(held, MoveTo(to, A_TASK), SOON)
    job = await read(store, held)
    assert (job.state, job.state_changed_at) == (to, SOON)
    assert job.due_at == (None if to is JobState.QUEUED else SOON)
    assert (job.attempts, job.claim_count, job.lease_token) == (0, 0, None)


@pytest.mark.parametrize("state", JobState)
async def test_every_other_transition_is_rejected(store: JobStore, state: JobState) -> None:
    held = await bring_to(store, state)
    for to in JobState:
        if (state, to) not in MOVES:
            with pytest.raises(ValueError, match=f"can't go from {state} to {to}"):
                await store.apply(held, MoveTo(to, A_TASK), SOON)
    assert await read(store, held) == held


@pytest.mark.parametrize("state", JobState)
async def test_only_a_job_that_has_not_ended_can_fail(store: JobStore, state: JobState) -> None:
    held = await bring_to(store, state)
    failure = Fail(FailureReason.TIMED_OUT, DETAIL)
    if state in ENDED:
        with pytest.raises(ValueError, match="can't go from"):
            await store.apply(held, failure, SOON)
        assert await read(store, held) == held
    else:
        assert await store.apply(held, failure, SOON)
        assert (await read(store, held)).state is JobState.FAILED


@pytest.mark.parametrize("state", JobState)
async def test_a_picture_that_is_not_kept_is_deleted_once_its_job_is_submitted_or_has_ended(
    database: Database, state: JobState
) -> None:
    store = JobStore(database, replace(UNLIMITED, keeps_pictures=False))
    held = await bring_to(store, state)
    kept = FRAME if state in {JobState.AWAITING, JobState.QUEUED, JobState.SUBMITTING} else None
    assert await store.frame(held.id) == kept


async def test_a_transition_can_set_the_due_time(store: JobStore) -> None:
    held = await bring_to(store, JobState.SUBMITTING)
    await store.apply(held, MoveTo(JobState.RUNNING, A_TASK, due_at=NOW + MINUTE), NOW)
    assert (await read(store, held)).due_at == NOW + MINUTE


async def test_a_transition_returns_the_quota_only_if_it_says_so(store: JobStore) -> None:
    kept = await bring_to(store, JobState.RUNNING)
    await store.apply(kept, MoveTo(JobState.CANCELLED), NOW)
    assert (await read(store, kept)).charged
    returned = await bring_to(store, JobState.RUNNING)
    await store.apply(returned, MoveTo(JobState.CANCELLED, charged=False), NOW)
    assert not (await read(store, returned)).charged


async def test_a_failure_stores_its_reason_and_returns_the_quota(store: JobStore) -> None:
    held = await bring_to(store, JobState.RUNNING)
    detail = FailureDetail(FailureCause.TASK_FAILED, quote="It gave up: \ud800\x00", code="E7", minutes=3)
    await store.apply(held, Fail(FailureReason.UPSTREAM_FAILED, detail), SOON)
    job = await read(store, held)
    assert (job.failure_reason, job.failure_detail) == (
        FailureReason.UPSTREAM_FAILED,
        replace(detail, quote="It gave up: \ufffd\x00"),
    )
    assert (job.charged, job.due_at, job.lease_token) == (False, SOON, None)


async def test_rescheduling_keeps_the_state_and_releases_the_lease(store: JobStore) -> None:
    held = await bring_to(store, JobState.RUNNING)
    assert await store.apply(held, Reschedule(SOON), NOW + SECOND)
    job = await read(store, held)
    assert (job.state, job.state_changed_at, job.due_at) == (JobState.RUNNING, held.state_changed_at, SOON)
    assert (job.attempts, job.claim_count, job.lease_token) == (0, 0, None)
    [again] = await store.claim_due(SOON, MANY, LEASES)
    assert again.claim_count == 1


async def test_failed_attempts_count_up_until_one_works_or_the_state_changes(store: JobStore) -> None:
    held = await bring_to(store, JobState.RUNNING)
    for number in range(1, 4):
        await store.apply(held, Reschedule(NOW, attempt=True), NOW)
        held = await claim(store, held.id)
        assert held.attempts == number
    await store.apply(held, Reschedule(NOW), NOW)
    held = await claim(store, held.id)
    assert held.attempts == 0
    await store.apply(held, Reschedule(NOW, attempt=True), NOW)
    await store.apply(await claim(store, held.id), MoveTo(JobState.DELIVERING), NOW)
    assert (await read(store, held)).attempts == 0


async def test_a_job_rescheduled_without_a_time_is_never_due(store: JobStore) -> None:
    held = await bring_to(store, JobState.FAILED)
    await store.apply(held, Reschedule(None), NOW)
    assert await store.claim_due(NOW + 1000 * MINUTE, MANY, LEASES) == []


@pytest.mark.parametrize("outcome", [Reschedule(NOW, FACTS), MoveTo(JobState.DELIVERING, FACTS)])
async def test_an_update_is_stored_exactly(store: JobStore, database: Database, outcome: Outcome) -> None:
    held = await bring_to(store, JobState.RUNNING)
    await store.apply(held, outcome, NOW)
    job = await read(store, held)
    assert stored_facts(job) == stored_facts(FACTS)
    assert str(job.cost_usd) == "0.1200"
    assert await upstream_response_of(database, job) == FACTS.upstream_response


@pytest.mark.parametrize(
    "outcome", [Reschedule(NOW), MoveTo(JobState.CANCELLED), Fail(FailureReason.REFUSED, DETAIL)]
)
async def test_fields_missing_from_an_update_keep_their_values(
    store: JobStore, database: Database, outcome: Outcome
) -> None:
    held = await bring_to(store, JobState.RUNNING)
    await store.apply(held, Reschedule(NOW, FACTS), NOW)
    held = await claim(store, held.id)
    await store.apply(held, outcome, NOW)
    job = await read(store, held)
    assert stored_facts(job) == stored_facts(held)
    assert await upstream_response_of(database, job) == FACTS.upstream_response


@pytest.mark.parametrize("cost", ["NaN", "-Infinity", "1E+999999", "1E-99999", "1" * 200])
async def test_invalid_upstream_values_do_not_prevent_a_transition(store: JobStore, cost: str) -> None:
    held = await bring_to(store, JobState.RUNNING)
    facts = JobUpdate(
        cost_usd=Decimal(cost), progress=float("nan"), upstream_response={"a\x00": "\ud800"}, result_url="\x00"
    )
    assert await store.apply(held, MoveTo(JobState.DELIVERING, facts), NOW)
    job = await read(store, held)
    assert (job.cost_usd, job.progress, job.result_url) == (None, None, "\ufffd")


@pytest.mark.parametrize("outcome", EVERY_OUTCOME)
async def test_no_outcome_is_written_under_a_lost_lease(store: JobStore, outcome: Outcome) -> None:
    lost = await bring_to(store, JobState.RUNNING)
    [other_holder] = await store.claim_due(NOW + MINUTE, MANY, LEASES)
    assert not await store.apply(lost, outcome, NOW + MINUTE)
    assert await read(store, lost) == other_holder


@pytest.mark.parametrize("outcome", EVERY_OUTCOME)
async def test_an_outcome_is_written_under_an_expired_lease_if_nobody_claimed_the_job(
    store: JobStore, outcome: Outcome
) -> None:
    held = await bring_to(store, JobState.RUNNING)
    assert await store.apply(held, outcome, NOW + 99 * MINUTE)


@pytest.mark.parametrize("outcome", EVERY_OUTCOME)
async def test_an_outcome_is_written_once(store: JobStore, outcome: Outcome) -> None:
    held = await bring_to(store, JobState.RUNNING)
    assert await store.apply(held, outcome, NOW)
    assert not await store.apply(held, outcome, NOW)


@pytest.mark.parametrize("outcome", EVERY_OUTCOME)
async def test_no_outcome_is_written_without_a_lease(store: JobStore, outcome: Outcome) -> None:
    job = await add(store)
    assert job.lease_token is None
    assert not await store.apply(job, outcome, NOW)
    assert await read(store, job) == job


@pytest.mark.parametrize("outcome", EVERY_OUTCOME)
async def test_no_outcome_is_written_if_the_state_changed_under_the_same_lease(
    store: JobStore, database: Database, outcome: Outcome
) -> None:
    held = await bring_to(store, JobState.RUNNING)
    async with database.write() as connection:
        await connection.execute(jobs.update().where(jobs.c.id == held.id).values(state=JobState.DELIVERING))
    assert not await store.apply(held, outcome, NOW)
    assert (await read(store, held)).lease_token == held.lease_token


async def test_a_batch_is_rescheduled_only_where_the_leases_are_still_held(
    store: JobStore, database: Database
) -> None:
    held = [await bring_to(store, JobState.RUNNING, NOW + number * SECOND) for number in range(5)]
    taken_at = NOW + MINUTE
    [other_holder] = await store.claim_due(taken_at, 1, LEASES)
    batch = [
        (job, Reschedule(SOON + number * SECOND, facts, attempt=bool(number % 2)))
        for number, (job, facts) in enumerate(
            zip(
                held,
                [FACTS, FACTS, JobUpdate(progress=0.5), JobUpdate(upstream_response={"n": 1}), JobUpdate()],
                strict=True,
            )
        )
    ]
    assert await store.reschedule(batch, taken_at) == 4
    assert await read(store, held[0]) == other_holder
    found = [await read(store, job) for job in held[1:]]
    assert [job.due_at for job in found] == [SOON + number * SECOND for number in range(1, 5)]
    assert [job.attempts for job in found] == [1, 0, 1, 0]
    assert [job.progress for job in found] == [0.35, 0.5, None, None]
    assert {(job.lease_token, job.claim_count) for job in found} == {(None, 0)}
    assert [await upstream_response_of(database, job) for job in found] == [
        FACTS.upstream_response,
        None,
        {"n": 1},
        None,
    ]


async def test_an_empty_batch_reschedules_nothing(store: JobStore) -> None:
    assert await store.reschedule([], NOW) == 0


async def test_a_time_in_another_time_zone_is_the_same_time(store: JobStore) -> None:
    local = SOON.astimezone(timezone(timedelta(hours=5, minutes=30)))
    held = await bring_to(store, JobState.RUNNING)
    await store.apply(held, Reschedule(local), NOW)
    assert [job.id for job in await store.claim_due(SOON, MANY, LEASES)] == [held.id]
