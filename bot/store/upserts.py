"""Inserts that replace or leave what is there, on SQLite and PostgreSQL alike."""

from typing import Any

from sqlalchemy import Table
from sqlalchemy.dialects import sqlite
from sqlalchemy.ext.asyncio import AsyncConnection


async def upsert(
    connection: AsyncConnection, table: Table, row: dict[str, Any], update: dict[str, Any] | None = None
) -> None:
    """Inserts a row. If its primary key exists, updates that row instead, with `update` or else all of `row`."""
    insert = insert_of(connection, table).values(row)
    key = [column.name for column in table.primary_key]
    await connection.execute(insert.on_conflict_do_update(index_elements=key, set_=update or row))


def insert_of(connection: AsyncConnection, table: Any) -> Any:
    """The dialect's INSERT, which supports ON CONFLICT."""
    if connection.dialect.name == "sqlite":
        return sqlite.insert(table)
    # Takes memory that a bot on SQLite can do without.
    from sqlalchemy.dialects import postgresql  # noqa: PLC0415

    return postgresql.insert(table)
