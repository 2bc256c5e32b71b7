from datetime import UTC, datetime, timedelta

from bot.store.engine import Database


async def test_only_postgresql_has_a_server_time(database: Database, kind: str) -> None:
    now = await database.server_time()
    if kind == "sqlite":
        assert now is None
    else:
        assert now is not None
        assert abs(now - datetime.now(UTC)) < timedelta(minutes=1)
