"""What time it is for all who share a database: that of its server, where it has one."""

from datetime import datetime

from sqlalchemy import func, select

from bot.store.engine import Database


async def database_time(database: Database) -> datetime | None:
    """The server's present moment; None for a file. Raises StoreError."""
    async with database.read() as connection:
        if connection.dialect.name != "postgresql":
            return None
        now: datetime = (await connection.execute(select(func.clock_timestamp()))).scalar_one()
        return now
