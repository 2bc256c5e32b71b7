"""Databases with something in every table, for copies and rehearsals."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
    Double,
    Integer,
    LargeBinary,
    insert,
    select,
)

from bot.domain.jobs import JobState
from bot.domain.notifications import Announcement
from bot.store.engine import Database
from bot.store.jobs.job_store import JobStore
from bot.store.money_tables import metadata
from bot.store.outbox import notifications
from bot.store.schema import operator_state
from bot.store.types import Money, StorableJson, Usd, UtcDateTime
from tests.store.factories import NOW, UNLIMITED, bring_to, grant

EVERY_STATE = list(JobState)
ODD_JOB = "an odd 'id' ü \U0001f3ac \\ %"
ODD_JSON = {"b": [1, 1.0, True, None, "ü\u2028"], "a": {"deep": [[{"x": 1e300}]]}}
ODD_ID = 2**40 + 7
ODD_VALUES: dict[type, Any] = {
    UtcDateTime: datetime(2025, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
    Usd: Decimal("-0.000000001"),
    Money: Decimal("0.12345678901234567890"),
    StorableJson: ODD_JSON,
    Boolean: True,
    Date: date(2025, 12, 31),
    Double: 0.1 + 0.2,
    LargeBinary: bytes(range(256)) * 40,
    BigInteger: ODD_ID,
    Integer: 2**31 - 1,
}


async def add_jobs(database: Database) -> list[str]:
    """Adds a job in every state with its money, a credit and a notification; returns the jobs' ids."""
    store = JobStore(database, UNLIMITED)
    await grant(store, 5)
    ids = [(await bring_to(store, state, user_id=number)).id for number, state in enumerate(EVERY_STATE, 2)]
    async with database.write() as connection:
        await notifications.post(connection, 10, Announcement("what happened"), NOW, channel_id=7)
    return ids


async def add_odd_rows(database: Database) -> None:
    """Adds a row with an unusual value in each column to every table."""
    async with database.write() as connection:
        for table in metadata.sorted_tables:
            if table is not operator_state:
                row = {column.name: _odd_value(column) for column in table.columns}
                await connection.execute(insert(table).values(row))


def _odd_value(column: Column[Any]) -> Any:
    if column.name == "state":
        return "failed"
    if column.name.startswith("lease_"):  # a copy ends the leases of a stopped process
        return None
    return next((value for type_, value in ODD_VALUES.items() if isinstance(column.type, type_)), ODD_JOB)


async def everything(database: Database) -> dict[str, list[Any]]:
    """All rows of all tables, in an order that is the same on either database."""
    found = {}
    async with database.read() as connection:
        for table in metadata.sorted_tables:
            rows = (await connection.execute(select(table))).all()
            found[table.name] = sorted(rows, key=lambda row: [str(one) for one in row])
    return found
