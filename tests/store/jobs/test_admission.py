import asyncio
import os
import sys
from asyncio.subprocess import PIPE, Process
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from bot.domain.errors import QuotaRefused, RuleRefused
from bot.domain.guilds import Access, Budget, LimitOverrides, OperatorDefaults
from bot.domain.jobs import Job, JobState, Order, Resolution
from bot.domain.limits import Origin
from bot.domain.policy import Requester, RuleName
from bot.domain.quotas import LimitName
from bot.store.engine import Database
from bot.store.guilds import guild_settings
from bot.store.jobs.job_store import JobStore
from bot.store.money import ledger
from bot.store.money_tables import ledger as ledger_table
from bot.store.schema import EVERYWHERE, first_frames, jobs, limit_overrides
from tests.providers_asked import CATALOG
from tests.store.factories import (
    FRAME,
    NOW,
    SECOND,
    add,
    add_waiting,
    entries,
    new_job,
    requester_of,
    set_guild,
    set_operator_state,
)
from tests.store.limit_boundaries import LIMIT_BOUNDARIES, send_concurrent_requests

CONCURRENT_REQUESTS = 20
ROOT = Path(__file__).parents[3]


async def row_counts(store: JobStore) -> dict[str, int]:
    """The row counts of the tables that an acceptance writes to."""
    async with store._db.read() as connection:
        return {
            table.name: (await connection.execute(select(func.count()).select_from(table))).scalar_one()
            for table in (jobs, first_frames, ledger_table)
        }


@pytest.mark.parametrize("name", LIMIT_BOUNDARIES)
async def test_exactly_one_of_many_concurrent_requests_is_admitted_right_before_a_limit(
    database: Database, name: str
) -> None:
    boundary = LIMIT_BOUNDARIES[name]
    store = JobStore(database, boundary.rules)
    await boundary.set_up(store)
    before = await row_counts(store)

    results = await send_concurrent_requests(store, boundary, CONCURRENT_REQUESTS)

    refused = [result for result in results if isinstance(result, QuotaRefused)]
    assert len(refused) == CONCURRENT_REQUESTS - 1
    assert {refusal.limit for refusal in refused} == {
        LimitName.VIDEOS_PER_WINDOW if name == "the last credit" else name
    }
    assert await row_counts(store) == {table: number + 1 for table, number in before.items()}


@pytest.mark.full
@pytest.mark.parametrize("name", [LimitName.VIDEOS_PER_WINDOW, "the last credit", LimitName.TOTAL_USD_PER_DAY])
async def test_several_processes_together_never_exceed_a_limit(
    database: Database, database_url: str, name: str
) -> None:
    boundary = LIMIT_BOUNDARIES[name]
    store = JobStore(database, boundary.rules)
    await boundary.set_up(store)
    before = await row_counts(store)

    async def start(number: int) -> Process:
        command = ("-m", "tests.store.limit_boundaries", database_url, name, "10", str(1 + 10 * number))
        return await asyncio.create_subprocess_exec(
            sys.executable, *command, stdin=PIPE, stdout=PIPE, cwd=ROOT, env={"PATH": os.environ["PATH"]}
        )

    processes = [await start(number) for number in range(3)]
    try:
        for process in processes:
            assert process.stdout is not None
            assert await process.stdout.readline() == b"ready\n"
        outputs = await asyncio.gather(*(process.communicate(b"go\n") for process in processes))
    finally:
        for process in processes:
            if process.returncode is None:
                process.kill()
                await process.wait()

    assert sum(int(out) for out, _ in outputs) == 1
    assert await row_counts(store) == {table: number + 1 for table, number in before.items()}


async def test_no_request_is_accepted_after_a_limit_was_lowered(store: JobStore) -> None:
    """An admin sets the limit to the number of videos already accepted, while many requests arrive."""

    async def lower_limit() -> int:
        async with store._db.write() as connection:
            await guild_settings.lock_operator_state(connection)
            spent = await ledger.spent(connection, 10, NOW)
            await guild_settings.write(connection, 10, {"videos_per_day": spent.videos_today})
            return spent.videos_today

    def send_requests(first: int) -> list[asyncio.Task[Job]]:
        return [
            asyncio.create_task(add(store, user_id=first + number)) for number in range(CONCURRENT_REQUESTS // 2)
        ]

    early, lowering, late = send_requests(100), asyncio.create_task(lower_limit()), send_requests(200)
    results = await asyncio.gather(*early, *late, return_exceptions=True)
    accepted = await lowering

    assert sum(isinstance(result, Job) for result in results) == accepted
    async with store._db.read() as connection:
        assert (await ledger.spent(connection, 10, NOW)).videos_today == accepted


async def test_a_refusal_writes_nothing(store: JobStore) -> None:
    await set_guild(store, videos_per_day=0)
    with pytest.raises(QuotaRefused):
        await add(store)
    await set_guild(store, paused=True)
    with pytest.raises(RuleRefused) as caught:
        await add(store)
    assert caught.value.rule == RuleName.PAUSED
    assert await row_counts(store) == {"jobs": 0, "first_frames": 0, "ledger": 0}


async def test_an_acceptance_reserves_a_video_and_its_price(store: JobStore) -> None:
    job = await add(store)
    [entry] = await entries(store)
    assert (entry.kind, entry.job_id, entry.guild_id, entry.user_id, entry.actor_id) == (
        "reserve",
        job.id,
        10,
        1,
        1,
    )
    assert (entry.videos, entry.credits, entry.usd) == (1, 0, Decimal("0.2"))
    assert (entry.created_at, entry.effective_at, entry.reason, entry.credit_grant_id) == (
        NOW,
        NOW,
        "accepted",
        None,
    )
    assert job.estimated_cost_usd == Decimal("0.2")


async def test_each_resolution_has_its_price(store: JobStore) -> None:
    new = new_job(order=Order("a fox", resolution=Resolution.P480))
    assert (await store.add(new, FRAME, requester_of(new), NOW)).estimated_cost_usd == Decimal("0.1")


async def test_a_server_that_was_never_set_up_has_the_operators_limits(database: Database) -> None:
    store = JobStore(database, OperatorDefaults(catalog=CATALOG, limits=LimitOverrides(1, 1, 0)))
    allowance = await store.allowance(Requester(77, 100, 1), NOW)
    assert (allowance.limits.videos_per_window.value, allowance.limits.videos_per_window.origin) == (
        1,
        Origin.OPERATOR,
    )
    await add(store, guild_id=77)
    with pytest.raises(QuotaRefused):
        await add(store, guild_id=77)


async def test_only_limit_overrides_of_this_server_and_this_member_apply(store: JobStore) -> None:
    async with store._db.write() as connection:
        for guild_id, kind, target_id, most in (
            (10, "role", 5, 7),
            (10, "role", 6, 70),
            (11, "role", 5, 700),
            (10, "member", 2, 1),
            (11, "member", 1, 2),
        ):
            row = {"guild_id": guild_id, "kind": kind, "target_id": target_id, "videos_per_window": most}
            await connection.execute(limit_overrides.insert().values(row))

    async def videos(user_id: int, *roles: int) -> int:
        return (
            await store.allowance(Requester(10, 100, user_id, frozenset(roles)), NOW)
        ).limits.videos_per_window.value

    assert await videos(1, 5) == 7
    assert await videos(1, 5, 6) == 70
    assert await videos(1) == 10_000
    assert await videos(2, 6) == 1


async def test_limits_set_by_the_operators_commands_override_the_settings(database: Database) -> None:
    store = JobStore(
        database, OperatorDefaults(catalog=CATALOG, budget=Budget(Decimal(0), Decimal(0)), max_queued=0)
    )
    with pytest.raises(QuotaRefused):
        await add(store)
    await set_operator_state(store, usd_per_day=Decimal(1), usd_per_month=Decimal(1), max_queued=1)
    await add(store)
    await set_operator_state(store, max_queued=5)
    await set_guild(store, granted_usd_per_day=Decimal("0.2"))
    with pytest.raises(QuotaRefused) as caught:
        await add(store)
    assert caught.value.limit == LimitName.GRANTED_USD_PER_DAY


async def test_a_budget_granted_to_one_server_overrides_the_default_server_budget(database: Database) -> None:
    store = JobStore(database, OperatorDefaults(catalog=CATALOG, guild_budget=Budget(Decimal(0), None)))
    with pytest.raises(QuotaRefused):
        await add(store, guild_id=11)
    await set_guild(store, granted_usd_per_day=Decimal(1))
    await add(store)


async def test_a_job_awaiting_approval_counts_for_its_servers_queue_limit_only(store: JobStore) -> None:
    await set_guild(store, approval_required=True)
    await set_operator_state(store, max_queued=1)
    assert (await add(store)).state is JobState.AWAITING
    with pytest.raises(QuotaRefused) as caught:
        await add(store)
    assert caught.value.limit == LimitName.GUILD_QUEUE
    await add(store, guild_id=11)
    with pytest.raises(QuotaRefused) as caught:
        await add(store, guild_id=12)
    assert caught.value.limit == LimitName.QUEUE


async def test_one_server_cannot_fill_the_whole_queue(store: JobStore) -> None:
    await set_operator_state(store, max_queued=8)
    first, _ = [await add_waiting(store, user_id=number) for number in (1, 2)]
    with pytest.raises(QuotaRefused) as refused:
        await add(store)
    assert refused.value.limit == "queue_share"
    await add(store, guild_id=11)
    await store.cancel(first.id, NOW, even_if_paid=False)
    await add(store)


@pytest.mark.parametrize("columns", [{"paused": True}, {"access": Access.BLOCKED}])
async def test_an_allowance_reports_why_the_server_accepts_no_orders(
    store: JobStore, columns: dict[str, Any]
) -> None:
    assert (await store.allowance(Requester(10, 100, 1), NOW)).refusal is None
    await set_guild(store, **columns)
    with pytest.raises(RuleRefused) as caught:
        await add(store)
    assert (await store.allowance(Requester(10, 100, 1), NOW)).refusal == caught.value.reason


async def test_budgets_start_again_with_each_day_and_month(store: JobStore) -> None:
    await set_guild(store, usd_per_day=Decimal("0.2"), usd_per_month=Decimal("0.4"))
    midnight = (NOW + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0, day=30, month=1)
    await add(store, midnight - SECOND)
    with pytest.raises(QuotaRefused) as caught:
        await add(store, midnight - SECOND)
    assert caught.value.limit == LimitName.GUILD_USD_PER_DAY
    await add(store, midnight)
    with pytest.raises(QuotaRefused) as caught:
        await add(store, midnight + timedelta(days=1))
    assert caught.value.limit == LimitName.GUILD_USD_PER_MONTH
    await add(store, midnight + timedelta(days=2))


async def test_later_jobs_still_count_after_the_clock_was_set_back(database: Database) -> None:
    store = JobStore(
        database,
        OperatorDefaults(catalog=CATALOG, limits=LimitOverrides(videos_per_window=1, max_active=9, cooldown_s=0)),
    )
    await add(store, NOW)
    with pytest.raises(QuotaRefused):
        await add(store, NOW - timedelta(hours=1))


async def test_a_check_counts_arriving_orders_and_writes_nothing(database: Database) -> None:
    store = JobStore(
        database,
        OperatorDefaults(catalog=CATALOG, limits=LimitOverrides(videos_per_window=9, max_active=1, cooldown_s=0)),
    )
    await store.check(Requester(10, 100, 1), Order("a fox"), NOW, arriving=0)
    with pytest.raises(QuotaRefused) as caught:
        await store.check(Requester(10, 100, 1), Order("a fox"), NOW, arriving=1)
    assert caught.value.limit == LimitName.MAX_ACTIVE
    assert await row_counts(store) == {"jobs": 0, "first_frames": 0, "ledger": 0}


async def test_spending_is_summed_per_server_and_over_all_servers(store: JobStore) -> None:
    for guild_id in (10, 10, 11):
        await add(store, guild_id=guild_id)
    async with store._db.read() as connection:
        here = await ledger.spent(connection, 10, NOW)
        everywhere = await ledger.spent(connection, EVERYWHERE, NOW)
    assert (here.videos_today, here.usd_today, here.usd_month) == (2, Decimal("0.4"), Decimal("0.4"))
    assert (everywhere.videos_today, everywhere.usd_today) == (3, Decimal("0.6"))
