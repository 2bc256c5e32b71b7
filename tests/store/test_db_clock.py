from datetime import UTC, datetime, timedelta

from bot.store.db_clock import database_time
from bot.store.engine import Database


async def test_a_server_tells_the_time_and_a_file_does_not(database: Database, kind: str) -> None:
    told = await database_time(database)
    if kind == "sqlite":
        assert told is None
    else:
        assert told is not None
        assert abs(told - datetime.now(UTC)) < timedelta(minutes=1)
