from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from bot.domain.guilds import Budget, OperatorDefaults
from bot.domain.jobs import NewJob, Order, new_job_id
from bot.domain.policy import Requester
from bot.domain.usage_stats import Period
from bot.services.admin.audited import Admin
from bot.services.admin.usage import UsageService
from bot.store.guilds import guild_settings
from bot.store.jobs.job_store import JobStore
from tests.fakes import FRAME, NOW, TASK_LIFETIME
from tests.providers_asked import CATALOG

HERE = Admin(10, 99)
LIMIT = 1_000_000
RULES = OperatorDefaults(catalog=CATALOG, guild_budget=Budget(Decimal(5), Decimal(50)))


async def order(store: JobStore, at: datetime = NOW, *, guild_id: int = 10) -> None:
    new = NewJob(new_job_id(), guild_id, 100, 1, Order("a fox"))
    await store.add(new, FRAME, Requester(guild_id, 100, 1), at)


@pytest.fixture
def usage(store: JobStore) -> UsageService:
    return UsageService(store._db, RULES, wake=_ignore_wake, clock=lambda: NOW, task_lifetime=TASK_LIFETIME)


def _ignore_wake() -> None:
    pass


async def test_a_report_has_figures_a_chart_and_a_table(store: JobStore, usage: UsageService) -> None:
    await order(store)

    report = await usage.report(HERE, Period.TODAY, limit_bytes=LIMIT)

    assert report.stats.videos.ordered == 1
    assert report.chart is not None
    assert report.chart.startswith(b"\x89PNG")
    assert report.csv.count(b"\r\n") == 2
    assert not report.is_cut


async def test_a_report_without_videos_has_no_chart(usage: UsageService) -> None:
    report = await usage.report(HERE, Period.ALL, limit_bytes=LIMIT)

    assert report.chart is None
    assert report.csv_lines == 0
    assert not report.is_cut


async def test_a_report_covers_only_its_own_server(store: JobStore, usage: UsageService) -> None:
    await order(store, guild_id=20)

    report = await usage.report(HERE, Period.ALL, limit_bytes=LIMIT)

    assert report.stats.is_empty
    assert report.csv_lines == 0
    assert report.stats.budget.usd_month == 0


async def test_a_report_covers_only_its_period(store: JobStore, usage: UsageService) -> None:
    await order(store, NOW - timedelta(days=8))
    await order(store)

    found = {period: await usage.report(HERE, period, limit_bytes=LIMIT) for period in Period}
    assert {period: report.stats.videos.ordered for period, report in found.items()} == {
        Period.TODAY: 1,
        Period.WEEK: 1,
        Period.THIRTY_DAYS: 2,
        Period.THIS_MONTH: 2,
        Period.LAST_MONTH: 0,
        Period.ALL: 2,
    }
    assert {period: report.csv_lines for period, report in found.items()} == {
        period: report.stats.videos.ordered for period, report in found.items()
    }


async def test_an_oversized_table_is_truncated_and_marked_as_such(store: JobStore, usage: UsageService) -> None:
    for _ in range(20):
        await order(store)

    report = await usage.report(HERE, Period.TODAY, limit_bytes=2000)

    assert report.is_cut
    assert 0 < report.csv_lines < 20
    assert len(report.csv) <= 2000


async def test_the_budgets_are_the_servers_own_and_the_one_granted_by_the_operator(
    store: JobStore, usage: UsageService
) -> None:
    async with store._db.write() as connection:
        columns = {"usd_per_day": Decimal(1), "granted_usd_per_month": Decimal(20)}
        await guild_settings.write(connection, 10, columns)
    await order(store)

    budget = (await usage.report(HERE, Period.TODAY, limit_bytes=LIMIT)).stats.budget

    assert budget.own == Budget(Decimal(1), None)
    assert budget.granted == Budget(Decimal(5), Decimal(20))
    assert budget.usd_today == budget.usd_month > 0
