"""Column types for values that the plain ones would distort; they read back the same from both databases.

Naive times are refused, money never becomes a float, and text loses the few code points that can't be stored.
Migrations use this module too, so what it stores must not change.
"""

import math
import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    Dialect,
    Integer,
    Numeric,
    String,
    Text,
    TypeDecorator,
    text,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.schema import CreateIndex
from sqlalchemy.types import TypeEngine

from bot.domain.money import usd_of

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
"""PostgreSQL refuses NUL in text, and a lone surrogate is not UTF-8."""

_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"

MAX_DEPTH = 64
"""How many levels of JSON are kept: the encoder recurses, and real data is not nested deeper."""


def required(type_: type[TypeEngine[Any]] | TypeEngine[Any], *names: str) -> list[Column[Any]]:
    """Columns of a type that are NOT NULL."""
    return [Column(name, type_, nullable=False) for name in names]


def optional(type_: type[TypeEngine[Any]] | TypeEngine[Any], *names: str) -> list[Column[Any]]:
    """Columns of a type that may be NULL."""
    return [Column(name, type_) for name in names]


def partial(condition: str) -> dict[str, Any]:
    """The options of an index on only the rows that meet the condition, on either database."""
    return {"sqlite_where": text(condition)}


@compiles(CreateIndex, "postgresql")
def _create_index(create: CreateIndex, compiler: Any, **options: Any) -> str:
    """Takes the condition from `partial`. Naming PostgreSQL there would load its dialect where SQLite is used."""
    index = create.element
    if (condition := index.dialect_options["sqlite"]["where"]) is not None:
        index.dialect_options["postgresql"]["where"] = condition
    return str(compiler.visit_create_index(create, **options))


def storable_text(value: str) -> str:
    """The text as a plain `str`; what a database can't store becomes U+FFFD."""
    return _UNSTORABLE.sub(_REPLACEMENT, str(value))


def storable_json(value: object, depth: int = MAX_DEPTH) -> Any:
    """The value as JSON that both databases can store.

    Text and keys become storable; non-finite numbers, and anything deeper than `depth`, become text.
    """
    match value:
        case None | bool() | int():
            return value
        case float():
            return value if math.isfinite(value) else str(value)
        case str():
            return storable_text(value)
        case dict() | list() | tuple() if depth <= 0:
            return "…"
        case dict():
            return {storable_text(str(key)): storable_json(item, depth - 1) for key, item in value.items()}
        case list() | tuple():
            return [storable_json(item, depth - 1) for item in value]
        case _:
            return storable_text(str(value))


def utc_text(moment: datetime) -> str:
    """An aware moment as `UtcDateTime` stores it on SQLite. Raises ValueError for a naive one."""
    return _in_utc(moment).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def _in_utc(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError(f"a naive datetime can't be stored: {moment!r}")
    return moment.astimezone(UTC)


class UtcDateTime(TypeDecorator[datetime]):
    """An aware moment, in UTC, to the microsecond.

    On SQLite: fixed-width text (`2026-01-31T09:05:00.000000Z`), which sorts by time and is readable elsewhere.
    """

    impl = DateTime(timezone=True).with_variant(String(27), "sqlite")
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """Raises ValueError for a naive datetime."""
        if value is None:
            return None
        return utc_text(value) if dialect.name == "sqlite" else _in_utc(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """An aware datetime in UTC."""
        if value is None:
            return None
        moment = datetime.fromisoformat(value) if dialect.name == "sqlite" else value
        return moment if moment.tzinfo is UTC else moment.astimezone(UTC)


class Money(TypeDecorator[Decimal]):
    """An exact decimal: `numeric` on PostgreSQL, text on SQLite, which has no decimal type."""

    impl = Numeric().with_variant(Text(), "sqlite")  # without a scale it keeps the digits as they came
    cache_ok = True

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> Any:
        """Raises TypeError for anything but a Decimal, ValueError for NaN and infinity."""
        if value is None:
            return None
        if not isinstance(value, Decimal):
            raise TypeError(f"money is a Decimal, not {value!r}")
        if not value.is_finite():
            raise ValueError(f"not an amount of money: {value!r}")
        return str(value) if dialect.name == "sqlite" else value

    def process_result_value(self, value: Any, dialect: Dialect) -> Decimal | None:  # noqa: ARG002 - the base's
        """A Decimal with the digits that were stored."""
        return None if value is None else Decimal(value)


class Usd(TypeDecorator[Decimal]):
    """An amount of the ledger: a Decimal in billionths of a USD, a whole number in the database.

    Unlike `Money`, which keeps what the upstream said digit by digit, both databases sum it exactly.
    """

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> int | None:  # noqa: ARG002 - the base's
        """Raises TypeError for anything but a Decimal, ValueError for more than nine decimals, NaN, infinity."""
        if value is None:
            return None
        if not isinstance(value, Decimal):
            raise TypeError(f"money is a Decimal, not {value!r}")
        if not value.is_finite() or (nanos := value.scaleb(9)) != nanos.to_integral_value():
            raise ValueError(f"not an amount in billionths of a USD: {value!r}")
        return int(nanos)

    def process_result_value(self, value: Any, dialect: Dialect) -> Decimal | None:  # noqa: ARG002 - the base's
        """In USD, as it was stored; sums too."""
        return None if value is None else usd_of(value)


class StorableText(TypeDecorator[str]):
    """Text from anywhere; see `storable_text`. The subclass of a `StrEnum` is written as its plain text."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002 - the base's
        """None stays None."""
        return None if value is None else storable_text(value)


class StorableJson(TypeDecorator[Any]):
    """JSON from anywhere; see `storable_json`. None is NULL."""

    impl = JSON(none_as_null=True)
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:  # noqa: ARG002 - the base's
        """None stays None."""
        return None if value is None else storable_json(value)


def keys(*names: str) -> list[Column[int]]:
    """Columns of ids that are, or are part of, the primary key."""
    return [Column(name, BigInteger, primary_key=True, autoincrement=False) for name in names]


def only_row(row_id: int) -> tuple[Column[int], CheckConstraint]:
    """The primary key of a table that has a single row."""
    single = CheckConstraint(f"id = {row_id}", name="single")
    return Column("id", Integer, primary_key=True, autoincrement=False), single


BigSerial = BigInteger().with_variant(Integer, "sqlite")
"""Increments by itself, which SQLite does only for its own type INTEGER."""

CONSTRAINT_NAMES = {
    "pk": "pk_%(table_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "ix": "ix_%(table_name)s_%(column_0_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "uq": "uq_%(table_name)s_%(column_0_name)s",
}
"""How constraints and indexes are called, so that migrations find them on both databases."""
