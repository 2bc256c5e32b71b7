"""The data of servers that removed the bot, on both databases, erased by the real retention worker."""

from datetime import timedelta
from decimal import Decimal

import pytest

from bot.domain.errors import QuotaRefused
from bot.domain.guilds import Access
from bot.domain.jobs import JobState
from bot.domain.member_data import RetentionPolicy
from bot.domain.outcomes import MoveTo, Reschedule
from bot.store.engine import Database
from bot.store.guilds import guild_settings
from bot.store.money_tables import ledger as entries
from bot.store.privacy.retention import RetentionStore
from bot.store.schema import EVERYWHERE
from bot.store.schema import guilds as guild_rows
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


async def test_a_left_server_is_erased_after_its_retention(retention: RetentionHarness) -> None:
    job = await retention.ended_job(NOW)
    await retention.ended_job(NOW, ELSEWHERE)
    for guild_id in (HERE, ELSEWHERE):
        await insert_row_of_every_kind(retention, guild_id)
    await retention.set(HERE, left_at=NOW + DAY)
    kept, everything = await row_counts_of(retention, ELSEWHERE), await retention.daily_totals_of(EVERYWHERE)

    await retention.run_once(NOW + 31 * DAY - timedelta(microseconds=1))
    assert (await row_counts_of(retention, HERE)).keys() >= {
        "guilds",
        "limit_overrides",
        "policy_entries",
        "blocked_terms",
        "bans",
        "jobs",
        "daily_totals",
    }

    assert (await retention.run_once(NOW + 31 * DAY)).guilds == 1
    assert await row_counts_of(retention, HERE) == {}
    assert await row_counts_of(retention, ELSEWHERE) == {
        name: n for name, n in kept.items() if name != "violations"
    }
    found = await read(retention.store, job)
    assert (found.guild_id, found.user_id, found.order.prompt) == (0, 0, "")
    assert await retention.daily_totals_of(EVERYWHERE) == everything == await retention.ledger_sums()
    assert (await retention.run_once(NOW + 31 * DAY)).guilds == 0


async def test_rejoining_in_time_keeps_everything(retention: RetentionHarness) -> None:
    await retention.ended_job(NOW)
    await insert_row_of_every_kind(retention, HERE)
    before = await row_counts_of(retention, HERE)
    await retention.set(HERE, left_at=NOW)
    await retention.run_once(NOW + timedelta(hours=12))

    await retention.set(HERE, left_at=None)
    await retention.run_once(NOW + 40 * DAY)

    assert await row_counts_of(retention, HERE) == {name: n for name, n in before.items() if name != "violations"}


async def test_rejoining_during_the_erasure_keeps_the_remaining_data(retention: RetentionHarness) -> None:
    await retention.ended_job(NOW)
    await insert_row_of_every_kind(retention, HERE)
    await retention.set(HERE, left_at=NOW)
    store = RetentionStore(retention.database, retention.rules)
    before, now = NOW + DAY, NOW + 40 * DAY
    assert await store.left_guilds(before) == [HERE]

    await retention.set(HERE, left_at=None)

    assert await store.anonymise_left_jobs(HERE, before) == 0
    assert await store.anonymise_left_entries(HERE, before, now) == 0
    assert await store.clear_left(HERE, before, now) == 0
    assert (await row_counts_of(retention, HERE))["jobs"] == 1


async def test_an_active_job_ends_before_its_server_is_erased(retention: RetentionHarness) -> None:
    job = await bring_to(retention.store, JobState.RUNNING, NOW)
    await insert_row_of_every_kind(retention, HERE)
    await retention.set(HERE, left_at=NOW)

    await retention.run_once(NOW + 31 * DAY)
    assert (await row_counts_of(retention, HERE)).keys() >= {"jobs", "credit_grants", "daily_totals", "guilds"}
    assert (await read(retention.store, job)).user_id == 1

    assert await retention.store.apply(job, MoveTo(JobState.CANCELLED), NOW + 31 * DAY)
    job = await claim(retention.store, job.id, NOW + 31 * DAY)
    assert await retention.store.apply(job, Reschedule(None), NOW + 31 * DAY)
    await retention.run_once(NOW + 32 * DAY)
    assert await row_counts_of(retention, HERE) == {}


async def test_credits_of_a_left_server_are_written_off_in_the_ledger(retention: RetentionHarness) -> None:
    await retention.grant(4)
    await retention.set(HERE, left_at=NOW)

    await retention.run_once(NOW + 30 * DAY)

    lines = await retention.rows(entries)
    assert sum(row.credits for row in lines) == 0
    assert lines[-1].reason == "data deleted"
    assert {(row.guild_id, row.user_id) for row in lines} == {(0, 0)}


@pytest.mark.parametrize(
    ("column", "value"),
    [("access", Access.BLOCKED), ("granted_usd_per_day", Decimal(2)), ("granted_usd_per_month", Decimal(9))],
)
async def test_the_operators_decision_about_a_server_is_kept(
    retention: RetentionHarness, column: str, value: object
) -> None:
    await insert_row_of_every_kind(retention, HERE)
    await retention.set(HERE, left_at=NOW, welcomed_at=NOW, **{column: value})

    await retention.run_once(NOW + 40 * DAY)

    [row] = await retention.rows(guild_rows)
    assert getattr(row, column) == value
    assert (row.videos_per_window, row.approval_required, row.log_channel_id, row.welcomed_at) == (
        None,
        False,
        None,
        None,
    )
    assert (await retention.run_once(NOW + 40 * DAY)).guilds == 0


async def test_leaving_and_rejoining_resets_neither_budget_nor_quota(database: Database) -> None:
    retention = RetentionHarness(database, ONE_VIDEO_PER_WINDOW)
    await retention.ended_job(NOW)
    spent = await retention.daily_totals_of(HERE)
    await retention.set(HERE, left_at=NOW)
    await retention.run_once(NOW + timedelta(hours=1), RetentionPolicy(days=90, days_after_leaving=0))

    assert await retention.daily_totals_of(HERE) == spent
    with pytest.raises(QuotaRefused) as refused:
        await retention.ended_job(NOW + timedelta(hours=2))
    assert refused.value.limit == "window"

    await retention.run_once(NOW + 2 * DAY, RetentionPolicy(days=90, days_after_leaving=0))  # the next month, too
    assert await row_counts_of(retention, HERE) == {}


async def test_all_left_servers_are_erased(retention: RetentionHarness) -> None:
    async with retention.database.write() as connection:
        for guild_id in range(1, 31):
            await guild_settings.write(connection, guild_id, {"left_at": NOW})

    assert (await retention.run_once(NOW + 30 * DAY)).guilds == 30
