"""Reading through SQLite's driver, with the threads that it has in the bot."""

import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, OperationalError

from bot.store.engine import Database
from bot.store.sqlite_driver import ROWS_AT_ONCE

NUMBERS = "SELECT number FROM numbers WHERE number <= :last ORDER BY number"
MANY = 3 * ROWS_AT_ONCE
LENGTHS = (1, ROWS_AT_ONCE - 1, ROWS_AT_ONCE, ROWS_AT_ONCE + 1, 2 * ROWS_AT_ONCE + 1)


@pytest.fixture
def driver() -> None:
    """Overrides the fixture: the real SQLite driver, with its threads."""


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    file = tmp_path / "zoetrope.db"
    async with Database.open(f"sqlite:///{file}") as database:
        async with database.write() as connection:
            await connection.execute(text("CREATE TABLE numbers (number INTEGER PRIMARY KEY)"))
            numbers = [{"number": number} for number in range(1, MANY + 1)]
            await connection.execute(text("INSERT INTO numbers VALUES (:number)"), numbers)
        yield database


async def test_a_query_with_its_rows_takes_one_trip_to_the_thread(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    async with database.read() as connection:
        with caplog.at_level(logging.DEBUG, "aiosqlite"):
            assert (await connection.execute(text(NUMBERS), {"last": 3})).scalars().all() == [1, 2, 3]
        trips = [record for record in caplog.records if record.getMessage().startswith("executing")]
    assert len(trips) == 1


@pytest.mark.parametrize("length", LENGTHS)
async def test_a_result_of_any_length_is_complete(database: Database, length: int) -> None:
    async with database.read() as connection:
        found = (await connection.execute(text(NUMBERS), {"last": length})).scalars().all()
    assert found == list(range(1, length + 1))


@pytest.mark.full
@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("size", [1, 300, ROWS_AT_ONCE, 3 * ROWS_AT_ONCE])
async def test_a_streamed_result_of_any_length_is_complete(database: Database, length: int, size: int) -> None:
    found: list[int] = []
    async with database.read() as connection, connection.stream(text(NUMBERS), {"last": length}) as result:
        async for rows in result.partitions(size):
            assert 0 < len(rows) <= size
            found += [row.number for row in rows]
    assert found == list(range(1, length + 1))


async def test_a_stream_that_is_given_up_reads_no_longer(database: Database) -> None:
    async with database.write() as connection:
        async with connection.stream(text(NUMBERS), {"last": MANY}) as result:
            assert await result.fetchone() is not None
            with pytest.raises(OperationalError, match="locked"):
                await connection.execute(text("DROP TABLE numbers"))
        await connection.execute(text("DROP TABLE numbers"))


@pytest.mark.parametrize("fails_at", [1, 2, ROWS_AT_ONCE, ROWS_AT_ONCE + 1])
async def test_a_query_that_fails_while_it_is_read_raises(database: Database, fails_at: int) -> None:
    def checked(number: int) -> int:
        if number == fails_at:
            raise ValueError
        return number

    async with database.read() as connection:
        driver = (await connection.get_raw_connection()).driver_connection
        assert driver is not None
        await driver.create_function("checked", 1, checked)
        with pytest.raises(DBAPIError, match="user-defined function raised exception"):
            await connection.execute(text(NUMBERS.replace("number", "checked(number)", 1)), {"last": MANY})
