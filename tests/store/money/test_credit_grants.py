from datetime import datetime, timedelta

from sqlalchemy import select

from bot.domain.guilds import LimitOverrides, OperatorDefaults
from bot.domain.jobs import FailureReason, Job
from bot.domain.ledger import EntryKind
from bot.domain.outcomes import Fail
from bot.store.engine import Connection, Database
from bot.store.jobs.job_store import JobStore
from bot.store.money import credit_grants
from bot.store.money.credit_grants import Attribution, CreditTotals
from bot.store.money_tables import credit_grants as grants_table
from bot.store.money_tables import ledger
from bot.store.schema import NOBODY
from tests.providers_asked import CATALOG
from tests.store.factories import DETAIL, MINUTE, NOW, add, claim

GUILD, MEMBER, ADMIN = 10, 1, 7
NO_WINDOW = OperatorDefaults(
    catalog=CATALOG, limits=LimitOverrides(videos_per_window=0, max_active=100, cooldown_s=0)
)
"""Defaults under which only a credit pays for a video."""


def attribution(at: datetime = NOW) -> Attribution:
    return Attribution(ADMIN, at, "why not")


async def grant_credits(connection: Connection, number: int, *, expires_in: timedelta | None = None) -> int:
    expires_at = None if expires_in is None else NOW + expires_in
    return await credit_grants.grant(connection, GUILD, MEMBER, number, attribution(), expires_at=expires_at)


async def usable(connection: Connection, at: datetime = NOW) -> int:
    return await credit_grants.usable(connection, GUILD, MEMBER, at)


async def assert_the_ledger_sums_match_each_grant(connection: Connection) -> None:
    left = {row.id: row.credits_left for row in await connection.execute(select(grants_table))}
    from_ledger = dict.fromkeys(left, 0)
    for row in await connection.execute(select(ledger).where(ledger.c.credit_grant_id.is_not(None))):
        from_ledger[row.credit_grant_id] += row.credits
    assert from_ledger == left


async def test_a_grant_is_recorded_in_the_ledger_with_its_actor_and_reason(database: Database) -> None:
    async with database.write() as connection:
        grant_id = await grant_credits(connection, 3)

        [entry] = (await connection.execute(select(ledger))).all()
        assert (entry.kind, entry.credits, entry.actor_id, entry.reason) == (EntryKind.GRANT, 3, ADMIN, "why not")
        assert (entry.credit_grant_id, entry.videos, entry.usd) == (grant_id, 0, 0)
        assert await usable(connection) == 3
        await assert_the_ledger_sums_match_each_grant(connection)


async def test_the_credits_that_expire_last_are_revoked_first(database: Database) -> None:
    async with database.write() as connection:
        soon = await grant_credits(connection, 2, expires_in=MINUTE)
        never = await grant_credits(connection, 2)
        late = await grant_credits(connection, 2, expires_in=10 * MINUTE)

        assert await credit_grants.revoke(connection, GUILD, MEMBER, 3, attribution()) == 3

        left = {row.id: row.credits_left for row in await connection.execute(select(grants_table))}
        assert left == {soon: 2, late: 1, never: 0}
        await assert_the_ledger_sums_match_each_grant(connection)


async def test_no_more_credits_are_revoked_than_exist(database: Database) -> None:
    async with database.write() as connection:
        await grant_credits(connection, 2)

        assert await credit_grants.revoke(connection, GUILD, MEMBER, 5, attribution()) == 2
        assert await credit_grants.revoke(connection, GUILD, MEMBER, None, attribution()) == 0
        await assert_the_ledger_sums_match_each_grant(connection)


async def test_a_credit_used_by_an_active_job_is_written_off_when_it_returns_after_all_were_revoked(
    database: Database,
) -> None:
    store = JobStore(database, NO_WINDOW)
    async with database.write() as connection:
        await grant_credits(connection, 2)
    job = await add(store)

    async with database.write() as connection:
        assert await credit_grants.revoke(connection, GUILD, MEMBER, None, attribution()) == 1
        await assert_the_ledger_sums_match_each_grant(connection)

    await fail_job(store, job)
    async with database.write() as connection:
        assert await usable(connection) == 0
        assert await credit_grants.expire(connection, NOW) == 1
        await assert_the_ledger_sums_match_each_grant(connection)


async def test_a_credit_used_by_an_active_job_is_usable_again_when_only_some_were_revoked(
    database: Database,
) -> None:
    store = JobStore(database, NO_WINDOW)
    async with database.write() as connection:
        await grant_credits(connection, 2)
    job = await add(store)
    async with database.write() as connection:
        assert await credit_grants.revoke(connection, GUILD, MEMBER, 1, attribution()) == 1
    await fail_job(store, job)
    async with database.read() as connection:
        assert await usable(connection) == 1


async def test_a_revocation_does_not_affect_later_grants(database: Database) -> None:
    async with database.write() as connection:
        await grant_credits(connection, 2)
        assert await credit_grants.revoke(connection, GUILD, MEMBER, None, attribution()) == 2
        await grant_credits(connection, 3)
        assert await usable(connection) == 3


async def fail_job(store: JobStore, job: Job, at: datetime = NOW) -> None:
    claimed = await claim(store, job.id, at)
    assert await store.apply(claimed, Fail(FailureReason.REFUSED, DETAIL), at)


async def test_expired_credits_are_written_off_once(database: Database) -> None:
    async with database.write() as connection:
        await grant_credits(connection, 2, expires_in=MINUTE)
        await grant_credits(connection, 5)

        assert await credit_grants.expire(connection, NOW) == 0
        assert await credit_grants.expire(connection, NOW + MINUTE) == 1
        assert await credit_grants.expire(connection, NOW + MINUTE) == 0

        assert await usable(connection, NOW + MINUTE) == 5
        await assert_the_ledger_sums_match_each_grant(connection)
        last = (await connection.execute(select(ledger).order_by(ledger.c.id.desc()))).first()
        assert last is not None
        assert (last.kind, last.credits, last.actor_id, last.reason) == (EntryKind.ADJUST, -2, None, "expired")


async def test_a_credit_returned_after_its_expiry_is_written_off_too(database: Database) -> None:
    store = JobStore(database, NO_WINDOW)
    async with database.write() as connection:
        await grant_credits(connection, 1, expires_in=MINUTE)
    job = await add(store)
    async with database.write() as connection:
        assert await credit_grants.expire(connection, NOW + MINUTE) == 0
    await fail_job(store, job, NOW + 2 * MINUTE)

    async with database.write() as connection:
        assert await usable(connection, NOW + 2 * MINUTE) == 0
        assert await credit_grants.expire(connection, NOW + 2 * MINUTE) == 1
        await assert_the_ledger_sums_match_each_grant(connection)


async def test_expired_credits_can_not_be_used_before_they_are_written_off(database: Database) -> None:
    async with database.write() as connection:
        await grant_credits(connection, 2, expires_in=MINUTE)

        assert await usable(connection, NOW + MINUTE) == 0
        assert await credit_grants.revoke(connection, GUILD, MEMBER, None, attribution(NOW + MINUTE)) == 0


async def test_credits_are_written_off_in_batches(database: Database) -> None:
    """Each batch blocks the orders of all servers."""
    async with database.write() as connection:
        for _ in range(205):
            await grant_credits(connection, 1, expires_in=MINUTE)
        assert await credit_grants.expire(connection, NOW + MINUTE) == 200
        assert await credit_grants.expire(connection, NOW + MINUTE) == 5
        assert await credit_grants.expire(connection, NOW + MINUTE) == 0


async def test_a_credit_returned_to_an_erased_member_is_written_off(database: Database) -> None:
    store = JobStore(database, NO_WINDOW)
    async with database.write() as connection:
        await grant_credits(connection, 1)
    job = await add(store)
    async with database.write() as connection:
        await connection.execute(grants_table.update().values(user_id=NOBODY))
    await fail_job(store, job)

    async with database.write() as connection:
        assert await credit_grants.credit_totals(connection, GUILD, NOW) == CreditTotals(credits=0, members=0)
        assert await credit_grants.expire(connection, NOW) == 1
        await assert_the_ledger_sums_match_each_grant(connection)


async def test_credits_are_counted_and_revoked_per_server(database: Database) -> None:
    async with database.write() as connection:
        await grant_credits(connection, 2)
        await credit_grants.grant(connection, GUILD, 2, 3, attribution())
        await credit_grants.grant(connection, GUILD + 1, MEMBER, 50, attribution())

        assert await credit_grants.credit_totals(connection, GUILD, NOW) == CreditTotals(credits=5, members=2)
        assert await credit_grants.revoke(connection, GUILD, MEMBER, None, attribution()) == 2
        assert await credit_grants.usable(connection, GUILD + 1, MEMBER, NOW) == 50
