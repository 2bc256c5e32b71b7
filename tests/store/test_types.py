from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, insert, select
from sqlalchemy.exc import StatementError

from bot.store.engine import Database
from bot.store.types import MAX_DEPTH, Money, StorableJson, StorableText, UtcDateTime, storable_json
from tests.store.factories import NOW

things = Table(
    "things",
    MetaData(),
    Column("id", Integer, primary_key=True),
    Column("at", UtcDateTime),
    Column("price", Money),
    Column("words", StorableText),
    Column("raw", StorableJson),
)


@pytest.fixture
async def sample_database(empty_url: str) -> AsyncIterator[Database]:
    """A database with the one table of this file."""
    async with Database.open(empty_url) as database:
        async with database.write() as connection:
            await connection.run_sync(things.metadata.create_all)
        yield database


async def write_and_read(database: Database, **columns: Any) -> Any:
    """Writes one column, and returns what is read back from it."""
    async with database.write() as connection:
        await connection.execute(insert(things).values(id=1, **columns))
    [name] = columns
    async with database.read() as connection:
        return (await connection.execute(select(things.c[name]))).scalar_one()


@pytest.mark.parametrize(
    "moment",
    [
        NOW,
        datetime(2026, 1, 31, tzinfo=UTC),
        datetime(999, 1, 2, 3, 4, 5, 1, tzinfo=UTC),
        datetime(2026, 3, 29, 2, 30, tzinfo=timezone(timedelta(hours=5, minutes=45))),
    ],
)
async def test_a_time_is_read_back_in_utc_with_its_microseconds(
    sample_database: Database, moment: datetime
) -> None:
    found = await write_and_read(sample_database, at=moment)
    assert found == moment
    assert found.tzinfo is UTC


async def test_a_naive_time_is_refused(sample_database: Database) -> None:
    with pytest.raises(StatementError, match="naive datetime"):
        await write_and_read(sample_database, at=datetime(2026, 1, 31))  # noqa: DTZ001 - that is the point


async def test_a_naive_time_is_refused_in_a_comparison_too(sample_database: Database) -> None:
    naive = datetime(2026, 1, 31)  # noqa: DTZ001 - that is the point
    with pytest.raises(StatementError, match="naive datetime"):
        async with sample_database.read() as connection:
            await connection.execute(select(things).where(things.c.at < naive))


async def test_the_database_sorts_times_chronologically(sample_database: Database) -> None:
    moments = [
        datetime(999, 12, 31, tzinfo=UTC),
        NOW.replace(microsecond=0),
        NOW.replace(microsecond=1),
        NOW.replace(microsecond=1, tzinfo=timezone(timedelta(hours=-1))),
        NOW.replace(microsecond=999_999, tzinfo=timezone(timedelta(hours=-1))),
    ]
    async with sample_database.write() as connection:
        for number, moment in enumerate(reversed(moments)):
            await connection.execute(insert(things).values(id=number, at=moment))
    async with sample_database.read() as connection:
        ordered = (await connection.execute(select(things.c.at).order_by(things.c.at))).scalars().all()
        below = await connection.execute(select(things.c.at).where(things.c.at < moments[3]))
    assert list(ordered) == moments
    assert sorted(below.scalars()) == moments[:3]


@pytest.mark.parametrize(
    "amount", ["0.12", "0.1200", "0", "-3.50", "0.1", "12345678901234567890.123456789012345678"]
)
async def test_money_is_read_back_with_all_its_digits(sample_database: Database, amount: str) -> None:
    found = await write_and_read(sample_database, price=Decimal(amount))
    assert isinstance(found, Decimal)
    assert str(found) == amount


@pytest.mark.parametrize("amount", [0.1, 1, "0.1", Decimal("NaN"), Decimal("Infinity")])
async def test_money_must_be_a_finite_decimal(sample_database: Database, amount: Any) -> None:
    with pytest.raises(StatementError, match="money"):
        await write_and_read(sample_database, price=amount)


async def test_only_unstorable_characters_of_a_text_are_replaced(sample_database: Database) -> None:
    found = await write_and_read(sample_database, words="狐狸 🦊\x00 \ud83d' \x01\r\n\x7f\u202e")
    assert found == "狐狸 🦊\ufffd \ufffd' \x01\r\n\x7f\u202e"


async def test_a_long_text_is_stored_completely(sample_database: Database) -> None:
    text = "狐" * 1_000_000
    assert await write_and_read(sample_database, words=text) == text


async def test_json_is_read_back_unchanged(sample_database: Database) -> None:
    raw = {"狐狸": ["🦊", None, True, 1, 0.35, {"": "'\"\\\n"}], "n": 2**70, "e": {}}
    assert await write_and_read(sample_database, raw=raw) == raw


async def test_only_unstorable_values_of_hostile_json_are_replaced(sample_database: Database) -> None:
    raw = {"a\x00": "b\x00\ud800", "list": ["\udfff"], "x": float("nan"), "y": float("inf"), "d": Decimal("0.12")}
    found = await write_and_read(sample_database, raw=raw)
    assert found == {"a\ufffd": "b\ufffd\ufffd", "list": ["\ufffd"], "x": "nan", "y": "inf", "d": "0.12"}


async def test_missing_json_is_stored_as_sql_null(sample_database: Database) -> None:
    await write_and_read(sample_database, raw=None)
    async with sample_database.read() as connection:
        assert (await connection.execute(select(things.c.id).where(things.c.raw.is_(None)))).scalars().all() == [1]


def test_json_nested_too_deeply_is_cut_at_the_maximum_depth() -> None:
    deep: list[Any] = []
    for _ in range(900):
        deep = [deep]
    kept = storable_json(deep)
    for _ in range(MAX_DEPTH):
        [kept] = kept
    assert kept == "…"
