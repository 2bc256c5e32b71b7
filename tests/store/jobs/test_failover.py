"""Which provider gets a queued job, and what each one's sum is then."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import select, update

from bot.domain.errors import QuotaRefused
from bot.domain.guilds import Budget
from bot.domain.jobs import FailureCause, FailureDetail, FailureReason, Job, JobState, ProviderName
from bot.domain.models import WAN22_FLASH, WAN25_PREVIEW
from bot.domain.outcomes import Fail, JobUpdate, MoveTo, PauseSubmissions
from bot.domain.provider_limits import RATE_WAIT_MAX, ProviderLimits
from bot.domain.quotas import LimitName
from bot.store.engine import Database
from bot.store.jobs import submission_gate, submissions
from bot.store.jobs.job_store import JobStore
from bot.store.jobs.status_cards import StatusCardStore
from bot.store.jobs.waiting_jobs import WaitingJobs
from bot.store.money import ledger
from bot.store.schema import jobs
from tests.providers_asked import BOTH, DASHSCOPE, TWO_PROVIDERS, VTRIX, takes
from tests.store.factories import DAY, DETAIL, MINUTE, NOW, SECOND, UNLIMITED, add_waiting, claim, read
from tests.store.money.sums import wrong_sums

ESTIMATE = Decimal("0.20")
"""What a job reserves: the first provider's price, which is the higher one."""
NOTHING = Decimal(0)
TONIGHT = NOW.replace(hour=0, minute=0, second=0, microsecond=0) + DAY


@pytest.fixture
def store(database: Database) -> JobStore:
    return JobStore(database, replace(UNLIMITED, catalog=TWO_PROVIDERS))


async def next_of(store: JobStore, providers: Sequence[ProviderLimits] = BOTH, now: datetime = NOW) -> Job | None:
    """The next job claimed; afterwards, all sums are right."""
    job = await store.claim_queued(now, providers, MINUTE)
    assert await sums(store) == []
    return job


async def sums(store: JobStore) -> list[str]:
    async with store._db.read() as connection:
        return await wrong_sums(connection)


async def next_provider(
    store: JobStore, providers: Sequence[ProviderLimits] = BOTH, now: datetime = NOW
) -> ProviderName | None:
    job = await next_of(store, providers, now)
    return None if job is None else job.provider


async def spent(store: JobStore, provider: ProviderName, now: datetime = NOW) -> Decimal:
    async with store._db.read() as connection:
        return (await ledger.spent_at_provider(connection, provider, now)).usd_today


async def back_in_the_queue(store: JobStore, job: Job, *, refused: bool = False) -> None:
    """After its provider answered that it takes nothing now, or that it refuses this order."""
    assert job.provider is not None
    if refused:
        refusers = ",".join(sorted(job.refusers | {job.provider}))
        assert await store.apply(job, MoveTo(JobState.QUEUED, JobUpdate(refused_by=refusers)), NOW)
    else:
        assert await store.apply(job, PauseSubmissions(NOW + MINUTE, "no balance"), NOW)
    assert await sums(store) == []


async def test_the_first_provider_gets_the_job_and_its_estimate(store: JobStore) -> None:
    waiting = await add_waiting(store)
    assert (waiting.provider, await spent(store, VTRIX)) == (None, NOTHING)
    claimed = await next_of(store)
    assert claimed is not None
    assert (claimed.id, claimed.provider, claimed.provider_since) == (waiting.id, VTRIX, NOW)
    assert (await spent(store, VTRIX), await spent(store, DASHSCOPE)) == (ESTIMATE, NOTHING)


async def test_the_order_of_the_providers_decides(store: JobStore) -> None:
    await add_waiting(store)
    assert await next_provider(store, BOTH[::-1]) is DASHSCOPE


async def test_a_closed_provider_lets_the_next_one_work(store: JobStore) -> None:
    for _ in range(2):
        await add_waiting(store)
    first = await next_of(store)
    assert first is not None
    await back_in_the_queue(store, first)
    assert (await spent(store, VTRIX), (await read(store, first)).provider_since) == (NOTHING, None)
    assert [await next_provider(store) for _ in range(3)] == [DASHSCOPE, DASHSCOPE, None]


async def test_where_all_are_closed_the_first_to_open_is_waited_for(store: JobStore) -> None:
    await add_waiting(store)
    for pause in (3 * MINUTE, 2 * MINUTE):
        held = await next_of(store)
        assert held is not None
        assert await store.apply(held, PauseSubmissions(NOW + pause, "no balance"), NOW)
    assert await next_of(store) is None
    assert await store.next_due_at(NOW, BOTH) == NOW + 2 * MINUTE
    assert await next_provider(store, now=NOW + 2 * MINUTE) is DASHSCOPE


async def test_a_provider_without_a_free_slot_lets_the_next_one_work(store: JobStore) -> None:
    for _ in range(4):
        await add_waiting(store)
    limits = (takes(VTRIX, 1), takes(DASHSCOPE, 2))
    assert [await next_provider(store, limits) for _ in range(4)] == [VTRIX, DASHSCOPE, DASHSCOPE, None]


async def test_a_job_waits_for_a_submission_that_is_due_in_a_moment(store: JobStore) -> None:
    for _ in range(2):
        await add_waiting(store)
    limits = (takes(VTRIX, pause=SECOND), takes(DASHSCOPE))
    assert await next_provider(store, limits) is VTRIX
    assert await next_provider(store, limits) is None
    assert await store.next_due_at(NOW, limits) == NOW + SECOND
    assert await next_provider(store, limits, NOW + SECOND) is VTRIX


async def test_a_job_that_would_wait_for_longer_goes_to_the_next_provider(store: JobStore) -> None:
    for _ in range(2):
        await add_waiting(store)
    limits = (takes(VTRIX, pause=RATE_WAIT_MAX + SECOND), takes(DASHSCOPE))
    assert [await next_provider(store, limits) for _ in range(2)] == [VTRIX, DASHSCOPE]


async def test_only_as_many_jobs_wait_as_will_be_submitted_in_a_moment(store: JobStore) -> None:
    """With a submission every two seconds, within five: two jobs. Those behind them don't wait for their turn."""
    for _ in range(5):
        await add_waiting(store)
    limits = (takes(VTRIX, 9, 2 * SECOND), takes(DASHSCOPE, 9))
    assert [await next_provider(store, limits) for _ in range(4)] == [VTRIX, DASHSCOPE, DASHSCOPE, None]
    assert await store.next_due_at(NOW, limits) == NOW + 2 * SECOND


async def test_a_job_never_waits_for_a_provider_that_refused_it(store: JobStore) -> None:
    refused = await add_waiting(store, NOW - MINUTE)
    held = await next_of(store)
    assert held is not None
    await back_in_the_queue(store, held, refused=True)
    await add_waiting(store)
    limits = (takes(VTRIX, pause=SECOND), takes(DASHSCOPE))
    assert await next_provider(store, limits) is VTRIX
    await add_waiting(store)
    other = await next_of(store, limits)
    assert other is not None
    assert (other.id, other.provider) == (refused.id, DASHSCOPE)


async def test_a_job_waits_for_no_provider_whose_budget_is_used_up(store: JobStore) -> None:
    for _ in range(2):
        await add_waiting(store)
    limits = (takes(VTRIX, pause=SECOND, usd_per_day="0.30"), takes(DASHSCOPE))
    assert [await next_provider(store, limits) for _ in range(2)] == [VTRIX, DASHSCOPE]


async def test_a_used_up_budget_is_there_again_on_the_next_day(store: JobStore) -> None:
    for _ in range(5):
        await add_waiting(store)
    limits = (takes(VTRIX, 9, usd_per_day="0.40"),)
    assert [await next_provider(store, limits) for _ in range(3)] == [VTRIX, VTRIX, None]
    async with store._db.read() as connection:
        assert await submissions.next_at(connection, limits, NOW) == TONIGHT
    assert [await next_provider(store, limits, TONIGHT) for _ in range(3)] == [VTRIX, VTRIX, None]
    assert (await spent(store, VTRIX), await spent(store, VTRIX, TONIGHT)) == (2 * ESTIMATE, 2 * ESTIMATE)


async def test_a_months_budget_lasts_for_the_month(store: JobStore) -> None:
    first_of_january = NOW.replace(day=1)
    for _ in range(2):
        await add_waiting(store, first_of_january)
    limits = (takes(VTRIX, usd_per_month="0.39"), takes(DASHSCOPE))
    assert await next_provider(store, limits, first_of_january) is VTRIX
    assert await next_provider(store, limits, NOW) is DASHSCOPE
    await add_waiting(store, NOW)
    assert await next_provider(store, limits, NOW + DAY) is VTRIX


async def test_what_a_job_cost_makes_room_in_the_budget_of_the_day_on_which_it_was_submitted(
    store: JobStore,
) -> None:
    await add_waiting(store)
    await add_waiting(store)
    limits = (takes(VTRIX, usd_per_day="0.35"),)
    held = await next_of(store, limits, TONIGHT)
    assert held is not None
    assert await next_of(store, limits, TONIGHT) is None
    update_ = JobUpdate("task-1", TONIGHT, cost_usd=Decimal("0.11"), result_url="https://cdn.example/v.mp4")
    assert await store.apply(held, MoveTo(JobState.DELIVERING, update_), TONIGHT)
    assert (await spent(store, VTRIX), await spent(store, VTRIX, TONIGHT)) == (NOTHING, Decimal("0.11"))
    assert await next_provider(store, limits, TONIGHT) is VTRIX


async def test_a_refused_job_never_goes_back_to_who_refused_it(store: JobStore) -> None:
    job = await add_waiting(store)
    first = await next_of(store)
    assert first is not None
    await back_in_the_queue(store, first, refused=True)
    assert await next_of(store, (takes(VTRIX),)) is None
    assert await store.next_due_at(NOW, (takes(VTRIX),)) is None
    again = await next_of(store)
    assert again is not None
    assert (again.id, again.provider, again.refusers) == (job.id, DASHSCOPE, frozenset({VTRIX}))
    await back_in_the_queue(store, again)
    assert await next_of(store) is None, "the refuser is open, but it refused"
    assert await next_provider(store, now=NOW + MINUTE) is DASHSCOPE


async def test_at_a_start_only_jobs_that_all_providers_refused_are_offered_again(
    store: JobStore, database: Database
) -> None:
    await add_waiting(store)
    held = await next_of(store)
    assert held is not None
    await back_in_the_queue(store, held, refused=True)
    assert await WaitingJobs(database, replace(UNLIMITED, catalog=TWO_PROVIDERS)).offer_again(NOW) == 0
    assert (await read(store, held)).refusers == {VTRIX}
    only = replace(UNLIMITED, catalog=replace(TWO_PROVIDERS, providers=(VTRIX,)))
    assert await WaitingJobs(database, only).offer_again(NOW) == 0
    assert (await read(store, held)).refusers == frozenset()
    assert await next_provider(store, (takes(VTRIX),)) is VTRIX


@pytest.mark.parametrize(
    ("day", "month", "is_accepted"),
    [("0.19", None, False), (None, "0.19", False), ("0.20", "0.20", True)],
)
async def test_an_order_that_fits_no_providers_whole_budget_is_refused_rather_than_queued_for_ever(
    database: Database,
    day: str | None,
    month: str | None,
    is_accepted: bool,  # noqa: FBT001
) -> None:
    low = takes(VTRIX, usd_per_day=day, usd_per_month=month).budget
    budgets = {VTRIX: low, DASHSCOPE: Budget(Decimal("0.01"), None)}
    store = JobStore(database, replace(UNLIMITED, catalog=TWO_PROVIDERS, provider_budgets=budgets))
    if is_accepted:
        await add_waiting(store)
        return
    with pytest.raises(QuotaRefused) as refused:
        await add_waiting(store)
    assert refused.value.limit == LimitName.PROVIDER_USD
    assert await row_count(database) == 0


async def test_only_jobs_of_models_that_nobody_else_makes_wait_for_a_closed_provider(database: Database) -> None:
    catalog = replace(TWO_PROVIDERS, models=(WAN22_FLASH, WAN25_PREVIEW))
    rules = replace(UNLIMITED, catalog=catalog)
    store = JobStore(database, rules)
    either = await add_waiting(store)
    only = await add_waiting(store)
    async with database.write() as connection:
        await connection.execute(update(jobs).where(jobs.c.id == only.id).values(model=WAN25_PREVIEW.name))
        await submission_gate.close(connection, DASHSCOPE, NOW + MINUTE, "no balance", NOW)

    known = await StatusCardStore(database, rules, clock=lambda: NOW).in_progress()

    assert {job.id: known.gates[job.id].is_closed(NOW) for job in (either, only)} == {
        either.id: False,
        only.id: True,
    }
    closed = [(await store.first_gate(NOW, model.name)).keeps_orders_waiting(NOW) for model in catalog.models]
    assert closed == [False, True]
    assert not (await store.first_gate(NOW)).keeps_orders_waiting(NOW)


async def test_one_provider_whose_budget_has_room_on_another_day_is_enough(database: Database) -> None:
    budgets = {VTRIX: Budget(Decimal("0.01"), None), DASHSCOPE: Budget(Decimal(1), None)}
    store = JobStore(database, replace(UNLIMITED, catalog=TWO_PROVIDERS, provider_budgets=budgets))
    await add_waiting(store)
    assert await row_count(database) == 1


async def test_at_a_start_jobs_that_fit_no_budget_any_more_are_cancelled_uncharged(
    store: JobStore, database: Database
) -> None:
    job = await add_waiting(store)
    low = Budget(Decimal("0.10"), None)
    rules = replace(UNLIMITED, catalog=TWO_PROVIDERS, provider_budgets={VTRIX: low})
    assert await WaitingJobs(database, rules).offer_again(NOW) == 0, "the other one has no limit"
    rules = replace(rules, provider_budgets={VTRIX: low, DASHSCOPE: low})
    assert await WaitingJobs(database, rules).offer_again(NOW) == 1
    cancelled = await read(store, job)
    assert (cancelled.state, cancelled.charged) == (JobState.CANCELLED, False)
    assert cancelled.failure_detail == FailureDetail(FailureCause.TOO_DEAR)
    assert await sums(store) == []


async def test_at_a_start_a_job_is_offered_again_to_who_refused_it_if_no_other_may_ever_take_it(
    store: JobStore, database: Database
) -> None:
    await add_waiting(store)
    held = await next_of(store)
    assert held is not None
    await back_in_the_queue(store, held, refused=True)
    budgets = {DASHSCOPE: Budget(Decimal("0.10"), None)}
    rules = replace(UNLIMITED, catalog=TWO_PROVIDERS, provider_budgets=budgets)
    assert await WaitingJobs(database, rules).offer_again(NOW) == 0
    assert (await read(store, held)).refusers == frozenset()


async def row_count(database: Database) -> int:
    async with database.read() as connection:
        return len((await connection.execute(select(jobs.c.id))).all())


async def test_a_lost_answer_keeps_the_estimate_with_its_provider_and_the_job_out_of_the_queue(
    store: JobStore,
) -> None:
    await add_waiting(store)
    held = await next_of(store)
    assert held is not None
    assert await store.apply(held, Fail(FailureReason.OUTCOME_UNKNOWN, DETAIL), NOW)
    assert await next_of(store, now=NOW + MINUTE) is None
    assert (await spent(store, VTRIX), await spent(store, DASHSCOPE)) == (ESTIMATE, NOTHING)


async def test_a_job_that_was_cancelled_while_it_was_refused_leaves_nothing_anywhere(store: JobStore) -> None:
    await add_waiting(store)
    held = await next_of(store)
    assert held is not None
    await store.cancel(held.id, NOW, even_if_paid=True)
    await back_in_the_queue(store, held)
    assert (await read(store, held)).state is JobState.CANCELLED
    assert await spent(store, VTRIX) == 0


async def test_a_late_answer_says_where_its_task_is_asked_about(store: JobStore) -> None:
    """A worker that was taken for dead has the answer after all."""
    await add_waiting(store)
    held = await next_of(store)
    assert held is not None
    async with store._db.write() as connection:
        await connection.execute(update(jobs).values(lease_until=NOW))
    taken_over = await claim(store, held.id)
    assert await store.apply(taken_over, Fail(FailureReason.OUTCOME_UNKNOWN, DETAIL), NOW)
    learned = JobUpdate("task-1", NOW, upstream_urls={"status": "https://g.example/1"}, can_be_stopped=True)
    assert await store.apply(held, MoveTo(JobState.RUNNING, learned), NOW)
    job = await read(store, held)
    assert (job.state, job.provider, job.upstream_id) == (JobState.RUNNING, VTRIX, "task-1")
    assert (job.upstream_urls, job.can_be_stopped) == ({"status": "https://g.example/1"}, True)
    assert await sums(store) == []


async def test_a_late_refusal_sends_a_job_of_unknown_outcome_nowhere(store: JobStore) -> None:
    await add_waiting(store)
    held = await next_of(store)
    assert held is not None
    async with store._db.write() as connection:
        await connection.execute(update(jobs).values(lease_until=NOW))
    taken_over = await claim(store, held.id)
    assert await store.apply(taken_over, Fail(FailureReason.OUTCOME_UNKNOWN, DETAIL), NOW)
    assert not await store.apply(held, MoveTo(JobState.QUEUED, JobUpdate(refused_by=VTRIX)), NOW)
    assert await next_of(store) is None


async def test_workers_with_other_orders_of_providers_never_claim_a_job_twice(store: JobStore) -> None:
    for _ in range(12):
        await add_waiting(store)
    roomy = (takes(VTRIX, 99), takes(DASHSCOPE, 99))
    asked = [roomy, roomy[::-1], roomy[:1], roomy[1:]]
    found = [
        job
        for _ in range(6)
        for job in await asyncio.gather(*(store.claim_queued(NOW, each, MINUTE) for each in asked))
        if job is not None
    ]
    assert len({job.id for job in found}) == len(found) == 12
    assert await sums(store) == []


async def test_members_take_turns_whoever_makes_their_videos(store: JobStore) -> None:
    for _ in range(3):
        await add_waiting(store, NOW - MINUTE, user_id=1)
    other = await add_waiting(store, NOW, user_id=2)
    limits = (takes(VTRIX, 1), takes(DASHSCOPE, 1))
    found = [await next_of(store, limits) for _ in range(2)]
    assert [job and job.order.prompt and job.user_id for job in found] == [1, 2]
    assert found[1] is not None
    assert found[1].id == other.id


@pytest.mark.parametrize("clock_error", [timedelta(hours=2), -timedelta(hours=2)])
async def test_a_clock_that_is_set_delays_nothing(store: JobStore, clock_error: timedelta) -> None:
    for _ in range(3):
        await add_waiting(store, NOW + clock_error)
    limits = (takes(VTRIX, pause=MINUTE), takes(DASHSCOPE, pause=MINUTE))
    assert [await next_provider(store, limits, NOW + clock_error) for _ in range(3)] == [VTRIX, DASHSCOPE, None]
    back = NOW if clock_error > timedelta(0) else NOW + clock_error + MINUTE
    assert await next_provider(store, limits, back) is VTRIX
