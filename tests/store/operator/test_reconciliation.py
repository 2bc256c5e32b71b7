"""What the operator says about jobs whose outcome is unknown, on both databases."""

from dataclasses import replace
from decimal import Decimal

import pytest

from bot.domain.audit_log import Action, AuditedChange, TargetKind
from bot.domain.errors import NotPossible
from bot.domain.jobs import JobState
from bot.store.maintenance.restore import end_jobs_in_progress
from bot.store.schema import EVERYWHERE, jobs
from tests.providers_asked import DASHSCOPE, TWO_PROVIDERS, VTRIX
from tests.store.factories import NOW, add, add_waiting, claim, read
from tests.store.money.sums import wrong_sums
from tests.store.operator.conftest import DEFAULTS, OPERATOR, OperatorHarness


async def test_a_lost_job_of_an_erased_member_can_only_be_marked_lost(harness: OperatorHarness) -> None:
    job = await harness.add_lost_job()
    async with harness.database.write() as connection:
        await connection.execute(jobs.update().where(jobs.c.id == job.id).values(user_id=EVERYWHERE))

    with pytest.raises(NotPossible, match="ERASED"):
        await harness.service.task_found(OPERATOR, job.id, "task-found")
    await harness.service.task_lost(OPERATOR, job.id)


async def test_a_job_with_a_found_task_continues_uncharged_and_its_cost_counts_as_spent(
    harness: OperatorHarness,
) -> None:
    job = await harness.add_lost_job()
    assert [it.id for it in await harness.service.unreconciled()] == [job.id]

    resumed = await harness.service.task_found(OPERATOR, job.id, " task-found ")

    assert (resumed.state, resumed.upstream_id, resumed.charged) == (JobState.RUNNING, "task-found", False)
    assert resumed.due_at is not None
    assert resumed.due_at <= harness.now
    assert await harness.service.unreconciled() == []
    await harness.finish_task(await claim(harness.store, job.id), "0.33")
    assert (await harness.service.overview()).spent.usd_today == Decimal("0.33")
    entries = (await harness.service.ledger(job.id)).entries
    assert sum(entry.amounts.videos for entry in entries) == 0
    [entry] = [it for it in await harness.audit_log(EVERYWHERE) if it.change.action is Action.TASK_FOUND]
    assert entry.actor_id == OPERATOR.user_id


async def test_two_jobs_never_get_the_same_task(harness: OperatorHarness) -> None:
    await harness.add_running_job(task="task-1")
    first, second = await harness.add_lost_job(), await harness.add_lost_job()

    with pytest.raises(NotPossible, match="TASK_TAKEN"):
        await harness.service.task_found(OPERATOR, first.id, "task-1")
    await harness.service.task_found(OPERATOR, first.id, "task-2")
    with pytest.raises(NotPossible, match="TASK_TAKEN"):
        await harness.service.task_found(OPERATOR, second.id, "task-2")

    assert [it.id for it in await harness.service.unreconciled()] == [second.id]
    assert len(await harness.service.audit_log()) == 1


async def test_a_reconciled_job_cannot_be_reconciled_again(harness: OperatorHarness) -> None:
    job = await harness.add_lost_job()
    await harness.service.task_found(OPERATOR, job.id, "task-1")

    with pytest.raises(NotPossible, match="NOT_FAILED"):
        await harness.service.task_found(OPERATOR, job.id, "task-2")
    with pytest.raises(NotPossible):
        await harness.service.task_lost(OPERATOR, job.id)


async def test_a_job_marked_lost_is_no_longer_listed_and_costs_nothing(harness: OperatorHarness) -> None:
    job = await harness.add_lost_job()

    await harness.service.task_lost(OPERATOR, job.id)

    assert await harness.service.unreconciled() == []
    assert (await harness.service.overview()).spent.usd_month == 0
    [line] = await harness.service.audit_log()
    assert line.change == AuditedChange(Action.TASK_LOST, TargetKind.JOB, job.id, None, {})
    entries = (await harness.service.ledger(job.id)).entries
    assert entries[-1].actor_id == OPERATOR.user_id


@pytest.mark.parametrize("state", [JobState.QUEUED, JobState.RUNNING])
async def test_a_job_with_a_known_outcome_cannot_be_reconciled(harness: OperatorHarness, state: JobState) -> None:
    job = await add(harness.store, NOW) if state is JobState.QUEUED else await harness.add_running_job()

    for attempt in (
        harness.service.task_found(OPERATOR, job.id, "task-9"),
        harness.service.task_lost(OPERATOR, job.id),
    ):
        with pytest.raises(NotPossible):
            await attempt
    assert (await read(harness.store, job)).state is state
    assert await harness.service.audit_log() == []


async def test_the_task_of_a_job_that_a_restore_ended_in_the_queue_is_polled_at_the_only_provider(
    harness: OperatorHarness,
) -> None:
    job = await add_waiting(harness.store)
    await end_jobs_in_progress(harness.database, NOW)

    resumed = await harness.service.task_found(OPERATOR, job.id, "task-found")

    assert (resumed.provider, (await read(harness.store, job)).provider) == (VTRIX, VTRIX)
    async with harness.database.read() as connection:
        assert await wrong_sums(connection) == []


async def test_with_several_providers_the_operator_says_where_such_a_task_is(harness: OperatorHarness) -> None:
    harness.service.rules = replace(DEFAULTS, catalog=TWO_PROVIDERS)
    job = await add_waiting(harness.store)
    await end_jobs_in_progress(harness.database, NOW)

    with pytest.raises(NotPossible, match="NO_PROVIDER"):
        await harness.service.task_found(OPERATOR, job.id, "task-found")
    resumed = await harness.service.task_found(OPERATOR, job.id, "task-found", DASHSCOPE)

    assert resumed.provider is DASHSCOPE
    await harness.finish_task(await claim(harness.store, job.id), "0.33")
    costs = await harness.service.costs()
    assert (costs.spent[VTRIX].usd_month, costs.spent[DASHSCOPE].usd_month) == (Decimal(0), Decimal("0.33"))
    async with harness.database.read() as connection:
        assert await wrong_sums(connection) == []


async def test_where_a_job_really_was_submitted_is_not_changed(harness: OperatorHarness) -> None:
    job = await harness.add_lost_job()

    assert (await harness.service.task_found(OPERATOR, job.id, "task-found", DASHSCOPE)).provider is VTRIX
