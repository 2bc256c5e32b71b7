"""What members chose for all their videos."""

from dataclasses import fields
from typing import Any

from sqlalchemy import Row, select

from bot.domain.jobs import Resolution
from bot.domain.member_settings import UNCHANGED, MemberSettings
from bot.store.engine import Connection, Database
from bot.store.schema import member_settings
from bot.store.upserts import upsert

_FIELDS = [field.name for field in fields(MemberSettings)]


class MemberSettingsStore:
    """Members' settings in a database. Every method raises StoreError where the database fails."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def of(self, user_id: int) -> MemberSettings:
        """The member's settings."""
        async with self._database.read() as connection:
            return await read(connection, user_id) or UNCHANGED

    async def change(self, user_id: int, changes: dict[str, Any]) -> MemberSettings:
        """Changes some of the member's settings, `changed_at` among them; returns all."""
        async with self._database.write() as connection:
            row = {name: getattr(UNCHANGED, name) for name in _FIELDS} | {"user_id": user_id} | changes
            await upsert(connection, member_settings, row, changes)
            return await read(connection, user_id) or UNCHANGED


async def read(connection: Connection, user_id: int) -> MemberSettings | None:
    """The member's settings; None if they never chose any."""
    row = (
        await connection.execute(select(member_settings).where(member_settings.c.user_id == user_id))
    ).one_or_none()
    return None if row is None else _settings(row)


def _settings(row: Row[Any]) -> MemberSettings:
    values = {name: getattr(row, name) for name in _FIELDS}
    resolution = None if row.resolution is None else Resolution(row.resolution)
    return MemberSettings(**values | {"resolution": resolution})
