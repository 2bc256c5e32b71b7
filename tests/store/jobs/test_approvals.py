import asyncio
from datetime import timedelta

import pytest

from bot.domain.approvals import APPROVAL_TIMEOUT, AlreadyDecided, ApprovalProblem, Decision, Verdict
from bot.domain.audit_log import Action, AuditedChange, AuditEntry, TargetKind
from bot.domain.errors import NotPossible
from bot.domain.jobs import FailureReason, Job, JobState
from bot.domain.ledger import ZERO
from bot.domain.outcomes import Fail, JobUpdate, Reschedule
from bot.store.engine import Database
from bot.store.guilds import audit_log, guild_settings
from bot.store.jobs import approvals
from bot.store.jobs.approvals import ApprovalStore
from bot.store.jobs.job_store import JobStore
from bot.store.money import ledger
from tests.store.factories import (
    DETAIL,
    FRAME,
    MINUTE,
    NOW,
    SECOND,
    UNLIMITED,
    add,
    claim,
    entries,
    next_job,
    notified_texts,
    read,
    set_operator_state,
)

GUILD, LOG, MODERATOR = 10, 700, 77


@pytest.fixture
async def waiting(database: Database, store: JobStore) -> Job:
    """A job that awaits approval."""
    async with database.write() as connection:
        await guild_settings.write(connection, GUILD, {"approval_required": True, "log_channel_id": LOG})
    job = await add(store)
    assert job.state is JobState.AWAITING
    return job


async def decide(
    database: Database,
    job: Job,
    verdict: Verdict,
    *,
    actor_id: int = MODERATOR,
    guild_id: int = GUILD,
    now: timedelta = MINUTE,
    card_id: int | None = None,
) -> Job:
    async with database.write() as connection:
        return await approvals.decide(
            connection,
            guild_id,
            job.id,
            verdict,
            actor_id=actor_id,
            card_id=card_id,
            rules=UNLIMITED,
            now=NOW + now,
        )


async def test_a_job_awaiting_approval_is_never_submitted(store: JobStore, waiting: Job) -> None:
    await store.apply(await claim(store, waiting.id), Reschedule(None), NOW)
    assert await next_job(store) is None


async def test_an_approved_job_is_queued_with_its_picture_and_can_be_claimed(
    database: Database, store: JobStore, waiting: Job
) -> None:
    job = await decide(database, waiting, Verdict.APPROVED, card_id=5000)
    assert (job.state, job.approval_message_id, job.charged) == (JobState.QUEUED, 5000, True)
    assert await store.frame(job.id) == FRAME
    now = NOW + MINUTE
    await store.apply(await claim(store, job.id, now), Reschedule(None), now)
    taken = await next_job(store, now)
    assert taken is not None
    assert taken.id == job.id


async def test_a_declined_job_fails_uncharged_and_its_picture_is_deleted(
    database: Database, store: JobStore, waiting: Job
) -> None:
    job = await decide(database, waiting, Verdict.DECLINED)
    assert (job.state, job.failure_reason, job.charged) == (JobState.FAILED, FailureReason.DECLINED, False)
    assert job.due_at == NOW + MINUTE
    assert await store.frame(job.id) is None
    async with database.read() as connection:
        assert await ledger.balance(connection, job.id) == ZERO


@pytest.mark.parametrize("verdict", Verdict)
async def test_a_decision_is_in_the_audit_log_and_notified(
    database: Database, waiting: Job, verdict: Verdict
) -> None:
    await decide(database, waiting, verdict)
    async with database.read() as connection:
        [entry] = await audit_log.latest(connection, GUILD, 10)
    assert (entry.actor_id, entry.change.action) == (MODERATOR, f"job_{verdict}")
    assert (entry.change.target_kind, entry.change.target_id) == (TargetKind.JOB, waiting.id)
    [text] = await notified_texts(database)
    assert f"<@{MODERATOR}>" in text
    assert f"<@{waiting.user_id}>" in text
    assert await ApprovalStore(database).decision_on(waiting) == Decision(verdict, MODERATOR, NOW + MINUTE)


@pytest.mark.parametrize("first", Verdict)
@pytest.mark.parametrize("second", Verdict)
async def test_the_second_moderator_learns_who_decided_first(
    database: Database, store: JobStore, waiting: Job, first: Verdict, second: Verdict
) -> None:
    before = await decide(database, waiting, first)
    with pytest.raises(NotPossible) as refused:
        await decide(database, waiting, second, actor_id=88)
    assert refused.value.reason == AlreadyDecided(Decision(first, MODERATOR, NOW + MINUTE))
    assert await read(store, waiting) == before
    assert len(await notified_texts(database)) == 1


async def test_only_one_of_many_simultaneous_decisions_is_accepted(database: Database, waiting: Job) -> None:
    verdicts = [Verdict.APPROVED, Verdict.DECLINED] * 5
    clicks = [decide(database, waiting, verdict, actor_id=100 + n) for n, verdict in enumerate(verdicts)]
    results = await asyncio.gather(*clicks, return_exceptions=True)
    assert len([result for result in results if isinstance(result, Job)]) == 1
    assert len([result for result in results if isinstance(result, NotPossible)]) == 9
    assert len(await notified_texts(database)) == 1


async def test_a_job_of_another_server_is_treated_as_unknown(
    database: Database, store: JobStore, waiting: Job
) -> None:
    with pytest.raises(NotPossible) as foreign:
        await decide(database, waiting, Verdict.APPROVED, guild_id=11)
    async with database.write() as connection:
        with pytest.raises(NotPossible) as unknown:
            await approvals.decide(
                connection,
                GUILD,
                "no-such-job",
                Verdict.APPROVED,
                actor_id=MODERATOR,
                card_id=None,
                rules=UNLIMITED,
                now=NOW,
            )
    assert foreign.value.reason == unknown.value.reason == ApprovalProblem.UNKNOWN
    assert await read(store, waiting) == waiting
    assert await notified_texts(database) == []


async def test_a_decision_in_another_server_does_not_apply_to_this_job(database: Database, waiting: Job) -> None:
    async with database.write() as connection:
        foreign = AuditedChange(Action.JOB_APPROVED, TargetKind.JOB, waiting.id, None, {})
        await audit_log.record(connection, AuditEntry(11, NOW, 1, foreign))
    assert await ApprovalStore(database).decision_on(waiting) is None


async def test_a_job_cannot_be_approved_after_the_approval_timeout(
    database: Database, store: JobStore, waiting: Job
) -> None:
    """Even if no worker has expired it yet."""
    with pytest.raises(NotPossible) as refused:
        await decide(database, waiting, Verdict.APPROVED, now=APPROVAL_TIMEOUT)
    assert refused.value.reason == ApprovalProblem.EXPIRED
    assert await read(store, waiting) == waiting


async def test_an_expired_job_cannot_be_approved(database: Database, store: JobStore, waiting: Job) -> None:
    await store.apply(await claim(store, waiting.id), Fail(FailureReason.EXPIRED, DETAIL), NOW)
    with pytest.raises(NotPossible) as refused:
        await decide(database, waiting, Verdict.APPROVED)
    assert refused.value.reason == ApprovalProblem.EXPIRED


async def test_a_cancelled_job_cannot_be_approved(database: Database, store: JobStore, waiting: Job) -> None:
    await store.cancel(waiting.id, NOW, even_if_paid=False)
    with pytest.raises(NotPossible) as refused:
        await decide(database, waiting, Verdict.APPROVED)
    assert refused.value.reason == ApprovalProblem.CANCELLED


async def test_a_queued_job_cannot_be_declined(database: Database, store: JobStore) -> None:
    job = await add(store)
    with pytest.raises(NotPossible) as refused:
        await decide(database, job, Verdict.DECLINED)
    assert refused.value.reason == ApprovalProblem.NOT_WAITING
    assert (await read(store, job)).state is JobState.QUEUED


async def test_a_decision_ends_the_lease_of_the_worker_that_posts_the_approval_card(
    database: Database, store: JobStore, waiting: Job
) -> None:
    """The click came before the worker stored the id of the approval card; the click already contained it."""
    posting = await claim(store, waiting.id)
    job = await decide(database, waiting, Verdict.APPROVED, card_id=5000)
    assert not await store.apply(
        posting, Reschedule(NOW + APPROVAL_TIMEOUT, JobUpdate(approval_message_id=5000)), NOW + MINUTE
    )
    assert await read(store, waiting) == job


async def test_a_decided_job_is_due_at_once_even_if_a_worker_held_a_lease(
    database: Database, store: JobStore, waiting: Job
) -> None:
    await claim(store, waiting.id)
    await decide(database, waiting, Verdict.APPROVED, now=SECOND)
    assert (await claim(store, waiting.id, NOW + SECOND)).state is JobState.QUEUED


async def test_approving_needs_a_free_place_in_the_queue(
    database: Database, store: JobStore, waiting: Job
) -> None:
    await set_operator_state(store, max_queued=1)
    queued = await add(store, guild_id=11)

    with pytest.raises(NotPossible) as refused:
        await decide(database, waiting, Verdict.APPROVED)
    assert refused.value.reason == ApprovalProblem.QUEUE_FULL

    assert await read(store, waiting) == waiting
    assert await notified_texts(database) == []
    await store.cancel(queued.id, NOW, even_if_paid=False)
    assert (await decide(database, waiting, Verdict.APPROVED)).state is JobState.QUEUED


async def test_declining_needs_no_place_in_the_queue(database: Database, store: JobStore, waiting: Job) -> None:
    await set_operator_state(store, max_queued=1)
    await add(store, guild_id=11)
    assert (await decide(database, waiting, Verdict.DECLINED)).state is JobState.FAILED


async def test_simultaneous_approvals_never_exceed_the_queue_limit(
    database: Database, store: JobStore, waiting: Job
) -> None:
    others = [await add(store, user_id=number) for number in range(2, 8)]
    await set_operator_state(store, max_queued=3)

    clicks = [decide(database, job, Verdict.APPROVED) for job in (waiting, *others)]
    results = await asyncio.gather(*clicks, return_exceptions=True)

    assert sum(isinstance(result, Job) for result in results) == 3
    assert sum(isinstance(result, NotPossible) for result in results) == 4


@pytest.mark.parametrize("verdict", Verdict)
async def test_the_moderator_is_the_actor_of_a_decisions_ledger_entries(
    database: Database, store: JobStore, waiting: Job, verdict: Verdict
) -> None:
    await decide(database, waiting, verdict)
    actors = [(entry.kind, entry.actor_id) for entry in await entries(store, waiting)]
    assert actors[1:] == ([("return", MODERATOR)] if verdict is Verdict.DECLINED else [])


async def test_a_job_still_awaits_approval_after_approval_was_switched_off(
    database: Database, store: JobStore, waiting: Job
) -> None:
    async with database.write() as connection:
        await guild_settings.write(connection, GUILD, {"approval_required": False})
    assert (await add(store, user_id=2)).state is JobState.QUEUED
    assert (await read(store, waiting)).state is JobState.AWAITING
    assert (await decide(database, waiting, Verdict.APPROVED)).state is JobState.QUEUED


async def test_approval_cards_go_to_the_log_channel(database: Database, waiting: Job) -> None:
    approval_store = ApprovalStore(database)
    assert await approval_store.channel_of(waiting.guild_id) == LOG
    assert await approval_store.channel_of(11) is None
