import asyncio
from datetime import timedelta

import pytest

from bot.domain.approvals import APPROVAL_TIMEOUT, AlreadyDecided, ApprovalProblem, Decision, Verdict
from bot.domain.audit_log import Action, AuditedChange, AuditEntry, TargetKind
from bot.domain.errors import NotPossible
from bot.domain.jobs import Fail, FailureReason, Job, JobState, JobUpdate, Reschedule
from bot.domain.ledger import ZERO
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
    ROOMY,
    SECOND,
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
    """A job of a server that wants each let through."""
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
            connection, guild_id, job.id, verdict, actor_id=actor_id, card_id=card_id, rules=ROOMY, now=NOW + now
        )


async def told(database: Database) -> list[str]:
    return await notified_texts(database)


async def test_a_waiting_job_takes_no_slot_and_is_never_handed_in(store: JobStore, waiting: Job) -> None:
    await store.apply(await claim(store, waiting.id), Reschedule(None), NOW)
    assert await next_job(store) is None


async def test_an_approved_job_is_queued_with_its_picture_and_gets_its_turn(
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


async def test_a_declined_job_is_over_free_and_its_picture_is_gone(
    database: Database, store: JobStore, waiting: Job
) -> None:
    job = await decide(database, waiting, Verdict.DECLINED)
    assert (job.state, job.failure_reason, job.charged) == (JobState.FAILED, FailureReason.DECLINED, False)
    assert job.due_at == NOW + MINUTE
    assert await store.frame(job.id) is None
    async with database.read() as connection:
        assert await ledger.balance(connection, job.id) == ZERO


@pytest.mark.parametrize("verdict", Verdict)
async def test_the_answer_stands_in_the_audit_trail_and_is_told(
    database: Database, waiting: Job, verdict: Verdict
) -> None:
    await decide(database, waiting, verdict)
    async with database.read() as connection:
        [entry] = await audit_log.latest(connection, GUILD, 10)
    assert (entry.actor_id, entry.change.action) == (MODERATOR, f"job_{verdict}")
    assert (entry.change.target_kind, entry.change.target_id) == (TargetKind.JOB, waiting.id)
    [text] = await told(database)
    assert f"<@{MODERATOR}>" in text
    assert f"<@{waiting.user_id}>" in text
    assert await ApprovalStore(database).decision_on(waiting) == Decision(verdict, MODERATOR, NOW + MINUTE)


@pytest.mark.parametrize("first", Verdict)
@pytest.mark.parametrize("second", Verdict)
async def test_the_second_moderator_is_told_who_was_first(
    database: Database, store: JobStore, waiting: Job, first: Verdict, second: Verdict
) -> None:
    before = await decide(database, waiting, first)
    with pytest.raises(NotPossible) as refused:
        await decide(database, waiting, second, actor_id=88)
    assert refused.value.reason == AlreadyDecided(Decision(first, MODERATOR, NOW + MINUTE))
    assert await read(store, waiting) == before
    assert len(await told(database)) == 1


async def test_of_many_who_click_at_once_one_decides(database: Database, waiting: Job) -> None:
    verdicts = [Verdict.APPROVED, Verdict.DECLINED] * 5
    clicks = [decide(database, waiting, verdict, actor_id=100 + n) for n, verdict in enumerate(verdicts)]
    results = await asyncio.gather(*clicks, return_exceptions=True)
    assert len([result for result in results if isinstance(result, Job)]) == 1
    assert len([result for result in results if isinstance(result, NotPossible)]) == 9
    assert len(await told(database)) == 1


async def test_a_job_of_another_server_is_as_good_as_unknown(
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
                rules=ROOMY,
                now=NOW,
            )
    assert foreign.value.reason == unknown.value.reason == ApprovalProblem.UNKNOWN
    assert await read(store, waiting) == waiting
    assert await told(database) == []


async def test_a_decision_in_another_server_says_nothing_about_this_job(database: Database, waiting: Job) -> None:
    async with database.write() as connection:
        foreign = AuditedChange(Action.JOB_APPROVED, TargetKind.JOB, waiting.id, None, {})
        await audit_log.record(connection, AuditEntry(11, NOW, 1, foreign))
    assert await ApprovalStore(database).decision_on(waiting) is None


async def test_after_a_day_nobody_can_let_it_through(database: Database, store: JobStore, waiting: Job) -> None:
    """Also where no worker was there to end it."""
    with pytest.raises(NotPossible) as refused:
        await decide(database, waiting, Verdict.APPROVED, now=APPROVAL_TIMEOUT)
    assert refused.value.reason == ApprovalProblem.EXPIRED
    assert await read(store, waiting) == waiting


async def test_an_expired_job_can_not_be_let_through(database: Database, store: JobStore, waiting: Job) -> None:
    await store.apply(await claim(store, waiting.id), Fail(FailureReason.EXPIRED, DETAIL), NOW)
    with pytest.raises(NotPossible) as refused:
        await decide(database, waiting, Verdict.APPROVED)
    assert refused.value.reason == ApprovalProblem.EXPIRED


async def test_a_cancelled_job_can_not_be_let_through(database: Database, store: JobStore, waiting: Job) -> None:
    await store.cancel(waiting.id, NOW, even_if_paid=False)
    with pytest.raises(NotPossible) as refused:
        await decide(database, waiting, Verdict.APPROVED)
    assert refused.value.reason == ApprovalProblem.CANCELLED


async def test_a_job_that_is_under_way_can_not_be_declined(database: Database, store: JobStore) -> None:
    job = await add(store)
    with pytest.raises(NotPossible) as refused:
        await decide(database, job, Verdict.DECLINED)
    assert refused.value.reason == ApprovalProblem.NOT_WAITING
    assert (await read(store, job)).state is JobState.QUEUED


async def test_the_answer_overtakes_whoever_is_asking(database: Database, store: JobStore, waiting: Job) -> None:
    """The click came before the worker wrote where the question stands; the click knew it."""
    asking = await claim(store, waiting.id)
    job = await decide(database, waiting, Verdict.APPROVED, card_id=5000)
    assert not await store.apply(
        asking, Reschedule(NOW + APPROVAL_TIMEOUT, JobUpdate(approval_message_id=5000)), NOW + MINUTE
    )
    assert await read(store, waiting) == job


async def test_an_answered_job_is_due_at_once_though_somebody_was_asking(
    database: Database, store: JobStore, waiting: Job
) -> None:
    await claim(store, waiting.id)
    await decide(database, waiting, Verdict.APPROVED, now=SECOND)
    assert (await claim(store, waiting.id, NOW + SECOND)).state is JobState.QUEUED


async def test_letting_one_through_needs_a_place_in_the_queue(
    database: Database, store: JobStore, waiting: Job
) -> None:
    await set_operator_state(store, max_queued=1)
    queued = await add(store, guild_id=11)

    with pytest.raises(NotPossible) as refused:
        await decide(database, waiting, Verdict.APPROVED)
    assert refused.value.reason == ApprovalProblem.QUEUE_FULL

    assert await read(store, waiting) == waiting
    assert await told(database) == []
    await store.cancel(queued.id, NOW, even_if_paid=False)
    assert (await decide(database, waiting, Verdict.APPROVED)).state is JobState.QUEUED


async def test_declining_needs_no_place_in_the_queue(database: Database, store: JobStore, waiting: Job) -> None:
    await set_operator_state(store, max_queued=1)
    await add(store, guild_id=11)
    assert (await decide(database, waiting, Verdict.DECLINED)).state is JobState.FAILED


async def test_moderators_who_approve_at_once_never_pass_the_queues_end_together(
    database: Database, store: JobStore, waiting: Job
) -> None:
    others = [await add(store, user_id=number) for number in range(2, 8)]
    await set_operator_state(store, max_queued=3)

    clicks = [decide(database, job, Verdict.APPROVED) for job in (waiting, *others)]
    results = await asyncio.gather(*clicks, return_exceptions=True)

    assert sum(isinstance(result, Job) for result in results) == 3
    assert sum(isinstance(result, NotPossible) for result in results) == 4


@pytest.mark.parametrize("verdict", Verdict)
async def test_what_an_answer_does_to_the_ledger_is_the_moderators(
    database: Database, store: JobStore, waiting: Job, verdict: Verdict
) -> None:
    await decide(database, waiting, verdict)
    actors = [(entry.kind, entry.actor_id) for entry in await entries(store, waiting)]
    assert actors[1:] == ([("return", MODERATOR)] if verdict is Verdict.DECLINED else [])


async def test_a_job_waits_for_its_click_though_approval_was_switched_off(
    database: Database, store: JobStore, waiting: Job
) -> None:
    async with database.write() as connection:
        await guild_settings.write(connection, GUILD, {"approval_required": False})
    assert (await add(store, user_id=2)).state is JobState.QUEUED
    assert (await read(store, waiting)).state is JobState.AWAITING
    assert (await decide(database, waiting, Verdict.APPROVED)).state is JobState.QUEUED


async def test_the_moderators_are_asked_in_the_log_channel(database: Database, waiting: Job) -> None:
    board = ApprovalStore(database)
    assert await board.channel_of(waiting.guild_id) == LOG
    assert await board.channel_of(11) is None
