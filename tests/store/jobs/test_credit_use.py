"""Which credits an acceptance uses, and when they return."""

from datetime import timedelta

import pytest
from sqlalchemy import select

from bot.domain.errors import QuotaRefused
from bot.domain.guilds import LimitOverrides, OperatorDefaults
from bot.domain.policy import Requester
from bot.store.engine import Database
from bot.store.jobs.job_store import JobStore
from bot.store.money_tables import credit_grants as grants_table
from tests.providers_asked import CATALOG
from tests.store.factories import (
    NOW,
    add,
    entries,
    grant,
    read,
)


async def test_the_credit_that_expires_first_is_used_and_its_job_does_not_count_in_the_window(
    database: Database,
) -> None:
    store = JobStore(
        database,
        OperatorDefaults(catalog=CATALOG, limits=LimitOverrides(videos_per_window=1, max_active=9, cooldown_s=0)),
    )
    lasting = await grant(store, 1)
    soon = await grant(store, 1, expires_at=NOW + timedelta(hours=1))
    assert (await add(store)).credit_grant_id is None
    job = await add(store)
    assert job.credit_grant_id == soon
    allowance = await store.allowance(Requester(10, 100, 1), NOW)
    assert len(allowance.usage.charged_at) == 1
    assert [credit.credit_grant_id for credit in allowance.usage.credits] == [lasting]
    assert (await add(store)).credit_grant_id == lasting
    with pytest.raises(QuotaRefused) as refused:
        await add(store)
    assert refused.value.limit == "window"


async def test_a_credit_of_another_server_or_member_is_not_usable(database: Database) -> None:
    store = JobStore(
        database,
        OperatorDefaults(catalog=CATALOG, limits=LimitOverrides(videos_per_window=0, max_active=9, cooldown_s=0)),
    )
    await grant(store, 5)
    for user_id, guild_id in ((2, 10), (1, 11)):
        with pytest.raises(QuotaRefused):
            await add(store, user_id=user_id, guild_id=guild_id)


async def test_a_cancelled_job_returns_its_credit_to_its_grant(database: Database) -> None:
    store = JobStore(
        database,
        OperatorDefaults(catalog=CATALOG, limits=LimitOverrides(videos_per_window=0, max_active=9, cooldown_s=0)),
    )
    grant_id = await grant(store, 1)
    job = await add(store)
    assert await credits_left_of(store, grant_id) == 0
    await store.cancel(job.id, NOW, even_if_paid=False)
    assert await credits_left_of(store, grant_id) == 1
    assert [(row.kind, row.videos, row.credits) for row in await entries(store, job)] == [
        ("reserve", 1, -1),
        ("return", -1, 1),
    ]
    assert (await read(store, await add(store))).credit_grant_id == grant_id


async def credits_left_of(store: JobStore, grant_id: int) -> int:
    async with store._db.read() as connection:
        query = select(grants_table.c.credits_left).where(grants_table.c.id == grant_id)
        return int((await connection.execute(query)).scalar_one())
