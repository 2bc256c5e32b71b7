from bot.domain.guilds import LimitOverrides
from bot.store.engine import Database
from bot.store.guilds import limit_overrides
from bot.store.guilds.limit_overrides import LimitTarget

HERE, THERE = 10, 11


async def test_limits_are_written_and_replaced(database: Database) -> None:
    async with database.write() as connection:
        await limit_overrides.put(
            connection, HERE, LimitTarget.ROLE, 5, LimitOverrides(videos_per_window=1, max_active=2)
        )
        await limit_overrides.put(
            connection, HERE, LimitTarget.ROLE, 5, LimitOverrides(videos_per_window=3, cooldown_s=0)
        )

        assert await limit_overrides.get(connection, HERE, LimitTarget.ROLE, 5) == LimitOverrides(
            videos_per_window=3, cooldown_s=0
        )
        assert await limit_overrides.by_target(connection, HERE, LimitTarget.ROLE) == {
            5: LimitOverrides(videos_per_window=3, cooldown_s=0)
        }


async def test_empty_limits_delete_the_row(database: Database) -> None:
    async with database.write() as connection:
        await limit_overrides.put(connection, HERE, LimitTarget.MEMBER, 5, LimitOverrides(videos_per_window=1))
        await limit_overrides.put(connection, HERE, LimitTarget.MEMBER, 5, LimitOverrides())

        assert await limit_overrides.by_target(connection, HERE, LimitTarget.MEMBER) == {}


async def test_limits_of_roles_members_and_servers_with_the_same_id_are_separate(database: Database) -> None:
    async with database.write() as connection:
        await limit_overrides.put(connection, HERE, LimitTarget.MEMBER, 5, LimitOverrides(videos_per_window=1))
        await limit_overrides.put(connection, HERE, LimitTarget.ROLE, 5, LimitOverrides(videos_per_window=2))
        await limit_overrides.put(connection, THERE, LimitTarget.ROLE, 5, LimitOverrides(videos_per_window=3))
        await limit_overrides.put(connection, HERE, LimitTarget.ROLE, 5, LimitOverrides())

        assert await limit_overrides.get(connection, HERE, LimitTarget.MEMBER, 5) == LimitOverrides(
            videos_per_window=1
        )
        assert await limit_overrides.get(connection, THERE, LimitTarget.ROLE, 5) == LimitOverrides(
            videos_per_window=3
        )
