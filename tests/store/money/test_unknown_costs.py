"""What the upstream may bill without a reported cost stays in the budgets; the member gets everything back."""

from datetime import timedelta
from decimal import Decimal

import pytest

from bot.domain.errors import QuotaRefused
from bot.domain.guilds import Budget, LimitOverrides, OperatorDefaults
from bot.domain.jobs import FailureCause, FailureDetail, FailureReason, Job, JobState
from bot.domain.outcomes import Fail, JobUpdate, MoveTo, Outcome, PauseSubmissions
from bot.domain.policy import Requester
from bot.store.engine import Database
from bot.store.jobs.job_store import JobStore
from bot.store.maintenance.restore import end_jobs_in_progress
from bot.store.money import ledger
from bot.store.privacy.retention import RetentionStore
from bot.store.schema import EVERYWHERE
from tests.providers_asked import CATALOG
from tests.store.factories import (
    DETAIL,
    NOW,
    SECOND,
    add,
    bring_to,
    claim,
    entries,
    mark_lost,
    read,
    resume_failed_job,
    set_guild,
    unreconciled,
)

SOON = NOW + 10 * SECOND
DAY = timedelta(days=1)
HELD_FOR = 2 * DAY
PRICE = Decimal("0.2")
NOTHING = (Decimal(0), Decimal(0))
GONE = FailureDetail(FailureCause.TASK_UNKNOWN, code="404")
PAUSE = PauseSubmissions(SOON, "unavailable")

UNKNOWN: dict[str, tuple[JobState, Outcome]] = {
    "answer lost": (JobState.SUBMITTING, Fail(FailureReason.OUTCOME_UNKNOWN, DETAIL, pause=PAUSE)),
    "timed out": (JobState.RUNNING, Fail(FailureReason.TIMED_OUT, DETAIL)),
    "task gone": (JobState.RUNNING, Fail(FailureReason.UPSTREAM_FAILED, GONE)),
    "no video": (JobState.RUNNING, Fail(FailureReason.RESULT_UNUSABLE, DETAIL)),
    "fast task without a video": (JobState.SUBMITTING, Fail(FailureReason.RESULT_UNUSABLE, DETAIL)),
    "abandoned": (JobState.RUNNING, Fail(FailureReason.ABANDONED, DETAIL)),
    "cancelled, then timed out": (
        JobState.RUNNING,
        MoveTo(JobState.CANCELLED, charged=False, cost_unknown=True),
    ),
}
FREE: dict[str, tuple[JobState, Outcome]] = {
    "refused": (JobState.SUBMITTING, Fail(FailureReason.REFUSED, DETAIL)),
    "task failed": (JobState.RUNNING, Fail(FailureReason.UPSTREAM_FAILED, DETAIL)),
    "abandoned in the queue": (JobState.QUEUED, Fail(FailureReason.ABANDONED, DETAIL)),
    "cancelled, then the task failed": (JobState.RUNNING, MoveTo(JobState.CANCELLED, charged=False)),
}


def ending(cases: dict[str, tuple[JobState, Outcome]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(("state", "outcome"), cases.values(), ids=cases)


async def end(store: JobStore, state: JobState, outcome: Outcome) -> Job:
    job = await bring_to(store, state)
    assert await store.apply(job, outcome, SOON)
    return await read(store, job)


async def spent_usd(store: JobStore) -> tuple[Decimal, Decimal]:
    """What counts today in the server's and in the operator's budgets."""
    async with store._db.read() as connection:
        here = (await ledger.spent(connection, 10, NOW)).usd_today
        return here, (await ledger.spent(connection, EVERYWHERE, NOW)).usd_today


async def release(store: JobStore, after: timedelta) -> int:
    defaults = OperatorDefaults(catalog=CATALOG, unknown_cost_held_for=HELD_FOR)
    return await RetentionStore(store._db, defaults).release_held_costs(NOW + after)


@ending(UNKNOWN)
async def test_the_member_gets_the_video_back_and_the_cost_stays_reserved(
    store: JobStore, state: JobState, outcome: Outcome
) -> None:
    job = await end(store, state, outcome)
    assert (await store.allowance(Requester(10, 100, 1), SOON)).usage.charged_at == ()
    assert await spent_usd(store) == (PRICE, PRICE)
    assert [it.id for it in await unreconciled(store, 10)] == [job.id]


@ending(FREE)
async def test_nothing_stays_reserved_for_what_certainly_costs_nothing(
    store: JobStore, state: JobState, outcome: Outcome
) -> None:
    await end(store, state, outcome)
    assert await spent_usd(store) == NOTHING
    assert await unreconciled(store, 10) == []


@ending(UNKNOWN)
async def test_the_reservation_is_returned_once_the_upstream_has_forgotten_the_task(
    store: JobStore, state: JobState, outcome: Outcome
) -> None:
    job = await end(store, state, outcome)
    assert await release(store, HELD_FOR - SECOND) == 0
    assert await spent_usd(store) == (PRICE, PRICE)
    assert await release(store, HELD_FOR + 10 * SECOND) == 1
    assert await spent_usd(store) == NOTHING
    assert (await entries(store, job))[-1].reason == "cost never reported"
    assert await release(store, HELD_FOR + 20 * SECOND) == 0


async def test_a_reported_cost_replaces_the_reservation(store: JobStore) -> None:
    job = await end(store, *UNKNOWN["timed out"])
    assert isinstance(await resume_failed_job(store, job.id, SOON, actor_id=9), Job)
    paid = JobUpdate(cost_usd=Decimal("0.15"))
    resumed = await claim(store, job.id, SOON)
    assert await store.apply(resumed, Fail(FailureReason.RESULT_UNUSABLE, DETAIL, paid), SOON)
    assert await spent_usd(store) == (Decimal("0.15"), Decimal("0.15"))
    assert await unreconciled(store, 10) == []
    assert await release(store, HELD_FOR * 2) == 0


@pytest.mark.parametrize("case", sorted(UNKNOWN))
async def test_the_operator_frees_the_budget_of_a_task_that_costs_nothing(store: JobStore, case: str) -> None:
    job = await end(store, *UNKNOWN[case])
    assert isinstance(await mark_lost(store, job.id, SOON, actor_id=9), Job)
    assert await spent_usd(store) == NOTHING
    last = (await entries(store, job))[-1]
    assert (last.kind, last.usd, last.reason, last.actor_id) == ("adjust", -PRICE, "lost", 9)


async def test_budgets_refuse_what_lost_answers_may_have_cost(database: Database) -> None:
    """However often the answer is lost, no more is submitted than the budget pays for."""
    store = JobStore(
        database,
        OperatorDefaults(
            catalog=CATALOG,
            limits=LimitOverrides(videos_per_window=100, max_active=10, cooldown_s=0),
            budget=Budget(3 * PRICE, None),
        ),
    )
    for number in range(3):
        job = await bring_to(store, JobState.SUBMITTING, NOW + number * SECOND)
        lost = Fail(FailureReason.OUTCOME_UNKNOWN, DETAIL)
        assert await store.apply(job, lost, NOW + number * SECOND)
    with pytest.raises(QuotaRefused, match="TOTAL_USD_PER_DAY"):
        await add(store, SOON)


async def test_the_reservation_of_a_resumed_job_is_held_from_then_on(store: JobStore) -> None:
    """The operator found the task days later, and mistyped its id: there is time to correct it."""
    job = await end(store, *UNKNOWN["answer lost"])
    late = NOW + 5 * DAY
    assert await release(store, 5 * DAY) == 1
    assert isinstance(await resume_failed_job(store, job.id, late, actor_id=9, upstream_id="mistyped"), Job)
    resumed = await claim(store, job.id, late)
    assert await store.apply(resumed, Fail(FailureReason.UPSTREAM_FAILED, GONE), late + SECOND)
    assert await release(store, 5 * DAY + HELD_FOR - SECOND) == 0
    assert [it.id for it in await unreconciled(store, 10)] == [job.id]
    assert await release(store, 5 * DAY + HELD_FOR) == 1


async def test_a_server_that_left_is_not_forgotten_while_a_cost_is_held(store: JobStore) -> None:
    await end(store, *UNKNOWN["timed out"])
    await set_guild(store, left_at=NOW)
    retention = RetentionStore(store._db, OperatorDefaults(catalog=CATALOG, unknown_cost_held_for=HELD_FOR))
    assert await retention.anonymise_left_jobs(10, SOON) == 0
    assert await release(store, HELD_FOR + 10 * SECOND) == 1
    assert await spent_usd(store) == NOTHING


async def test_what_a_restored_video_cost_is_never_returned(store: JobStore) -> None:
    running = await bring_to(store, JobState.RUNNING)
    assert await store.apply(running, MoveTo(JobState.DELIVERING, JobUpdate(result_url="https://cdn/x.mp4")), NOW)
    job = await read(store, running)
    assert await end_jobs_in_progress(store._db, SOON) == 1
    assert (await read(store, job)).cost_unknown_since is None
    assert await release(store, HELD_FOR + 10 * SECOND) == 0
    assert await spent_usd(store) == (PRICE, PRICE)


async def test_jobs_ended_by_a_restore_stay_reserved(store: JobStore) -> None:
    job = await bring_to(store, JobState.RUNNING)
    assert await end_jobs_in_progress(store._db, SOON) == 1
    assert await spent_usd(store) == (PRICE, PRICE)
    assert (await read(store, job)).cost_unknown_since == SOON
