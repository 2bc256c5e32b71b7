"""Retention, on both databases, applied by the real retention worker."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from sqlalchemy import update

from bot.domain.errors import QuotaRefused
from bot.domain.jobs import JobState
from bot.domain.member_data import RetentionPolicy
from bot.domain.outcomes import MoveTo, Reschedule
from bot.store.engine import Database
from bot.store.money_tables import credit_grants
from bot.store.money_tables import ledger as entries
from bot.store.privacy.member_data import MemberDataStore
from bot.store.schema import EVERYWHERE, audit_log, bans, jobs, members, notifications, violations
from bot.worker.retention import RetentionReport
from tests.store.factories import NOW, bring_to, claim, read
from tests.store.privacy.retention_harness import (
    DAY,
    ELSEWHERE,
    HERE,
    ONE_VIDEO_PER_WINDOW,
    RetentionHarness,
    insert_row_of_every_kind,
    row_counts_of,
)


async def test_a_job_is_anonymised_after_its_retention_and_not_before(retention: RetentionHarness) -> None:
    job = await retention.ended_job(NOW)

    await retention.run_once(NOW + 90 * DAY - timedelta(microseconds=1))
    assert (await read(retention.store, job)).order.prompt == "a fox"

    assert (await retention.run_once(NOW + 90 * DAY)).jobs == 1
    found = await read(retention.store, job)
    assert (found.user_id, found.order.prompt, found.guild_id) == (0, "", HERE)
    assert found.cost_usd == Decimal("0.3")


async def test_the_age_of_a_job_is_counted_from_its_end(retention: RetentionHarness) -> None:
    job = await bring_to(retention.store, JobState.RUNNING, NOW)
    assert await retention.store.apply(job, MoveTo(JobState.CANCELLED), NOW + 80 * DAY)
    assert await retention.store.apply(
        await claim(retention.store, job.id, NOW + 80 * DAY), Reschedule(None), NOW + 80 * DAY
    )

    assert (await retention.run_once(NOW + 100 * DAY)).jobs == 0
    assert (await retention.run_once(NOW + 170 * DAY)).jobs == 1


async def test_old_ledger_entries_are_anonymised_and_keep_their_sums(retention: RetentionHarness) -> None:
    await retention.ended_job(NOW)
    before, total = await retention.ledger_sums(), await retention.daily_totals_of(HERE)

    assert (await retention.run_once(NOW + 90 * DAY)).entries == len(await retention.rows(entries))

    assert {(row.user_id, row.actor_id, row.guild_id) for row in await retention.rows(entries)} == {
        (0, None, HERE)
    }
    assert await retention.ledger_sums() == before == await retention.daily_totals_of(EVERYWHERE)
    assert await retention.daily_totals_of(HERE) == total


async def test_a_short_retention_does_not_reset_the_quota(database: Database) -> None:
    retention = RetentionHarness(database, replace(ONE_VIDEO_PER_WINDOW, window_hours=72))
    await retention.ended_job(NOW)

    report = await retention.run_once(NOW + 2 * DAY, RetentionPolicy(days=1, days_after_leaving=30))

    assert (report.jobs, report.entries) == (1, 0)
    with pytest.raises(QuotaRefused) as refused:
        await retention.ended_job(NOW + 2 * DAY)
    assert refused.value.limit == "window"


async def test_records_are_deleted_after_their_retention(retention: RetentionHarness) -> None:
    ban = {"user_id": 1, "reason": "spam", "created_at": NOW - DAY}
    await retention.insert(
        bans, ban | {"guild_id": 1, "expires_at": NOW}, ban | {"guild_id": 2, "expires_at": NOW + DAY}
    )
    await retention.insert(bans, ban | {"guild_id": 3, "expires_at": None})
    await retention.insert(
        audit_log, *({"guild_id": 1, "at": at, "by": 9, "action": "limits_set"} for at in (NOW, NOW + DAY))
    )
    notice = {"guild_id": 1, "kind": "text", "text": "x", "created_at": NOW, "attempts": 0}
    await retention.insert(
        notifications, notice | {"id": "told", "due_at": None}, notice | {"id": "due", "due_at": NOW}
    )
    await retention.insert(violations, {"guild_id": 1, "user_id": 1, "created_at": NOW + 89 * DAY})
    await retention.insert(members, {"guild_id": 1, "user_id": 1, "created_at": NOW})

    assert (await retention.run_once(NOW + 90 * DAY)).records == 5

    assert [row.guild_id for row in await retention.rows(bans)] == [2, 3]
    assert [row.at for row in await retention.rows(audit_log)] == [NOW + DAY]
    assert [row.id for row in await retention.rows(notifications)] == ["due"]
    assert await retention.rows(violations) == await retention.rows(members) == []


async def test_a_used_up_grant_is_anonymised(retention: RetentionHarness) -> None:
    await retention.grant(2, expires_at=NOW + DAY)
    await retention.grant(2)

    await retention.run_once(NOW + 90 * DAY)

    assert [(row.user_id, row.credits_left) for row in await retention.rows(credit_grants)] == [(0, 0), (1, 2)]


async def test_credits_expire_in_the_ledger(retention: RetentionHarness) -> None:
    await retention.grant(2, expires_at=NOW + DAY)

    assert (await retention.run_once(NOW + DAY)).credits == 1

    assert sum(row.credits for row in await retention.rows(entries)) == 0


async def test_a_run_with_nothing_due_does_nothing(retention: RetentionHarness) -> None:
    await retention.ended_job(NOW)
    await insert_row_of_every_kind(retention, HERE)

    assert await retention.run_once(NOW + timedelta(hours=1)) == RetentionReport()


@pytest.mark.full
async def test_simultaneous_retention_workers_apply_it_once(retention: RetentionHarness) -> None:
    for n in range(6):
        await retention.ended_job(NOW + n * timedelta(minutes=1))
    await retention.grant(2, expires_at=NOW)
    await retention.ended_job(NOW + timedelta(hours=1), ELSEWHERE)
    await insert_row_of_every_kind(retention, ELSEWHERE)
    await retention.set(ELSEWHERE, left_at=NOW)
    before = await retention.ledger_sums()
    retention.now = NOW + 91 * DAY

    report = await asyncio.gather(*(retention.worker().run_once() for _ in range(4)))

    assert [it.failed for it in report] == [0, 0, 0, 0]
    assert sum(it.jobs for it in report) == 7
    assert await row_counts_of(retention, ELSEWHERE) == {}
    assert await retention.ledger_sums() == before == await retention.daily_totals_of(EVERYWHERE)
    assert await retention.worker().run_once() == RetentionReport()


async def test_the_retention_worker_completes_erasure_requests(retention: RetentionHarness) -> None:
    await retention.ended_job(NOW)
    await MemberDataStore(retention.database, retention.rules).request_erasure(1, NOW)

    assert (await retention.run_once(NOW + timedelta(hours=1))).erasures == 0
    [job] = await retention.rows(jobs)
    assert job.user_id == 0

    assert (await retention.run_once(NOW + DAY)).erasures == 1
    assert {row.user_id for row in await retention.rows(entries)} == {0}


async def test_one_run_processes_more_than_one_batch(retention: RetentionHarness) -> None:
    await retention.ended_job(NOW)
    [ended] = await retention.rows(jobs)
    await retention.insert(jobs, *(dict(ended._mapping) | {"id": f"job-{n}"} for n in range(1100)))

    assert (await retention.run_once(NOW + 90 * DAY)).jobs == 1101


async def test_a_resumed_job_is_not_anonymised(retention: RetentionHarness) -> None:
    job = await retention.ended_job(NOW)
    async with retention.database.write() as connection:
        change = {"state": JobState.RUNNING, "due_at": NOW}
        await connection.execute(update(jobs).where(jobs.c.id == job.id).values(change))

    assert (await retention.run_once(NOW + 90 * DAY)).jobs == 0
