"""Reads the rows of a table, copies them to another database, and compares the two, all in batches.

Values pass as the types that the columns declare, so a row means the same on SQLite and on PostgreSQL. Works
inside the caller's transactions.
"""

import json
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from hashlib import sha256
from itertools import accumulate
from typing import Any

from sqlalchemy import LargeBinary, Row, Select, Table, func, insert, literal, select, text, tuple_
from sqlalchemy.exc import DataError, IntegrityError, StatementError

from bot.domain.errors import StoreError
from bot.store.engine import Connection

ROWS_AT_ONCE = 500
PICTURES_AT_ONCE = 32
PICTURE_BYTES_AT_ONCE = 16_000_000
"""Of a table with pictures, unless a single one is larger: a batch must fit into the memory of a small host."""

UNREADABLE = (ValueError, ArithmeticError, RecursionError)
"""What reading a value raises that is not of its column's type, as SQLite holds anything in any column."""

_SAID_MAX = 300
"""How much of an error is quoted, in characters: it may have the whole value in it."""

Progress = Callable[[str, int, int], None]
"""Is told of each batch: what is done with which table, how many of its rows are done, and how many there are."""


@dataclass(frozen=True, slots=True)
class TableCopy:
    """A table that is the same in both databases.

    checksum: of all rows by their values and types; the same in any order and in either kind of database.
    """

    name: str
    rows: int
    checksum: str


async def copy_rows(source: Connection, target: Connection, table: Table, progress: Progress) -> None:
    """Copies all rows to the target, whose table is empty; counters of ids go on from where they are."""
    total, done = await _count(source, table), 0
    columns = [column.name for column in table.columns]
    async for rows in _batches(source, table):
        await target.execute(insert(table), [dict(zip(columns, row, strict=True)) for row in rows])
        done += len(rows)
        progress(f"copying {table.name}", done, total)
    await _copy_counter(source, target, table)


async def compare(source: Connection, target: Connection, table: Table, progress: Progress) -> TableCopy:
    """Reads both tables in the order of the source's keys. Raises StoreError at the first difference."""
    total, done, checksum = await _count(source, table), 0, 0
    if (copied := await _count(target, table)) != total:
        raise StoreError(f"The copy of `{table.name}` has {copied:,} rows instead of {total:,}.")
    async for rows in _batches(source, table):
        found = await _rows_with_keys(target, table, [_key(table, row) for row in rows])
        for row in rows:
            digest = _digest(row)
            copy = found.get(_key(table, row))
            if copy is None or (copy_digest := _digest(copy)) != digest:
                what = "is missing" if copy is None else f"differs in {_differing(table, row, copy)}"
                raise StoreError(f"The copy of `{table.name}` is wrong: row {_key(table, row)} {what}.")
            checksum += int.from_bytes(copy_digest)
        done += len(rows)
        progress(f"comparing {table.name}", done, total)
    return TableCopy(table.name, total, f"{checksum % 2**256:064x}"[:16])


@contextmanager
def naming_bad_rows(table: Table) -> Iterator[None]:
    """Raises StoreError with the table's name for values that can't be read or stored, and all else as it is."""
    try:
        yield
    except (StatementError, *UNREADABLE) as error:
        line = said_of_value(error)
        if line is None:
            raise
        raise StoreError(
            f"A row of `{table.name}` in the source can't be copied, as a value of it, or the row that it belongs "
            f"to, is wrong: {line}. Correct it in the source first."
        ) from error


async def read_rows(connection: Connection, table: Table) -> None:
    """Reads all rows as the types of their columns. Raises what `said_of_value` explains if one can't be read."""
    async for _ in _batches(connection, table):
        pass


def said_of_value(error: Exception) -> str | None:
    """What an error says of a value that can't be read or stored, in one line; None if it is of another kind."""
    said = error.orig if isinstance(error, StatementError) else error
    if not isinstance(error, IntegrityError | DataError) and not _is_about_value(said):
        return None
    if isinstance(said, InvalidOperation):  # its text names a class
        return "not a number"
    return (" ".join(str(said).split()) or type(said).__name__)[:_SAID_MAX]


def _is_about_value(said: BaseException | None) -> bool:
    if isinstance(said, sqlite3.OperationalError):  # text that isn't UTF-8; SQLite's own errors have a code
        return not hasattr(said, "sqlite_errorcode")
    # The driver of PostgreSQL reports a value of a wrong type as a wrong use of itself.
    return isinstance(said, UNREADABLE) or isinstance(getattr(said, "driver_exception", None), ValueError)


async def _batches(connection: Connection, table: Table) -> AsyncIterator[Sequence[Row[Any]]]:
    """All rows in the order of their keys."""
    key = tuple_(*table.primary_key)
    query = select(table).order_by(*table.primary_key)
    while rows := (await connection.execute(query.limit(await _batch_size(connection, table, query)))).all():
        yield rows
        last = zip(_key(table, rows[-1]), table.primary_key, strict=True)
        after = tuple_(*(literal(value, column.type) for value, column in last))
        query = select(table).order_by(*table.primary_key).where(key > after)


async def _batch_size(connection: Connection, table: Table, rest: Select[Any]) -> int:
    """How many of the remaining rows are a batch."""
    pictures = [column for column in table.columns if isinstance(column.type, LargeBinary)]
    if not pictures:
        return ROWS_AT_ONCE
    size = sum((func.coalesce(func.length(column), 0) for column in pictures), start=literal(0))
    sizes = await connection.scalars(rest.with_only_columns(size).limit(PICTURES_AT_ONCE))
    totals: list[int] = list(accumulate(sizes))
    return max(1, sum(total <= PICTURE_BYTES_AT_ONCE for total in totals))


async def _rows_with_keys(
    connection: Connection, table: Table, keys: list[tuple[Any, ...]]
) -> dict[tuple[Any, ...], Row[Any]]:
    first, *more = table.primary_key
    is_among = tuple_(first, *more).in_(keys) if more else first.in_([key for (key,) in keys])
    rows = await connection.execute(select(table).where(is_among))
    return {_key(table, row): row for row in rows}


async def _count(connection: Connection, table: Table) -> int:
    return int(await connection.scalar(select(func.count()).select_from(table)) or 0)


def _key(table: Table, row: Row[Any]) -> tuple[Any, ...]:
    return tuple(row._mapping[column] for column in table.primary_key)  # noqa: SLF001 - SQLAlchemy's public API


async def _copy_counter(source: Connection, target: Connection, table: Table) -> None:
    """Lets the target's next id follow the source's last one. SQLite has no counters: it takes the highest id."""
    column = table.autoincrement_column
    if column is None or target.dialect.name == "sqlite":
        return
    sequence = {"table": table.name, "column": column.name}
    last = await source.scalar(select(func.max(column)))
    if source.dialect.name != "sqlite":  # the row with the last id may be deleted
        name = await source.scalar(text("SELECT pg_get_serial_sequence(:table, :column)"), sequence)
        counted = text(f"SELECT last_value FROM {name} WHERE is_called")  # noqa: S608 - the server's own name
        last = max(last or 0, await source.scalar(counted) or 0)
    if last:
        await target.execute(
            text("SELECT setval(pg_get_serial_sequence(:table, :column), :last)"), {**sequence, "last": last}
        )


def _digest(row: Row[Any]) -> bytes:
    return sha256(json.dumps([_encoded(value) for value in row]).encode()).digest()


def _encoded(value: Any) -> Any:
    """The value so that two have the same JSON only if type and value are the same."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return {"float": value.hex()}
        case Decimal():  # 0.10 on SQLite is 0.1 elsewhere, and the same amount
            return {"decimal": list(map(str, value.as_integer_ratio()))}
        case datetime() | date():
            return {type(value).__name__: value.isoformat()}
        case bytes():
            return {"bytes": sha256(value).hexdigest()}
        case _:
            return {"json": json.dumps(value, sort_keys=True)}


def _differing(table: Table, row: Row[Any], copy: Row[Any]) -> str:
    pairs = zip(table.columns, row, copy, strict=True)
    return ", ".join(f"`{column.name}`" for column, one, other in pairs if _encoded(one) != _encoded(other))
