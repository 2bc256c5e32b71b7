from bot.guilds import Tier
from bot.store import guilds, tiers
from bot.store.engine import Database
from bot.store.tiers import TierKind

HERE, THERE = 10, 11


async def test_limits_are_written_and_replaced(database: Database) -> None:
    async with database.write() as connection:
        await tiers.put(connection, HERE, TierKind.ROLE, 5, Tier(videos=1, running=2))
        await tiers.put(connection, HERE, TierKind.ROLE, 5, Tier(videos=3, pause_s=0))

        assert await tiers.get(connection, HERE, TierKind.ROLE, 5) == Tier(videos=3, pause_s=0)
        assert await guilds.role_tiers(connection, HERE) == {5: Tier(videos=3, pause_s=0)}


async def test_limits_that_say_nothing_leave_no_row(database: Database) -> None:
    async with database.write() as connection:
        await tiers.put(connection, HERE, TierKind.MEMBER, 5, Tier(videos=1))
        await tiers.put(connection, HERE, TierKind.MEMBER, 5, Tier())

        assert await guilds.member_tiers(connection, HERE) == {}


async def test_a_role_and_a_member_of_one_id_and_other_servers_stay_apart(database: Database) -> None:
    async with database.write() as connection:
        await tiers.put(connection, HERE, TierKind.MEMBER, 5, Tier(videos=1))
        await tiers.put(connection, HERE, TierKind.ROLE, 5, Tier(videos=2))
        await tiers.put(connection, THERE, TierKind.ROLE, 5, Tier(videos=3))
        await tiers.put(connection, HERE, TierKind.ROLE, 5, Tier())

        assert await tiers.get(connection, HERE, TierKind.MEMBER, 5) == Tier(videos=1)
        assert await tiers.get(connection, THERE, TierKind.ROLE, 5) == Tier(videos=3)
