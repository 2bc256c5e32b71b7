"""Compares a database's schema with this program's, and upgrades it with Alembic.

Functions work inside the caller's transaction, see `Database.change_schema`. Alembic is loaded only where there is
something to upgrade: it takes a tenth of a bot's start and of its memory.
"""

import re
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Column, Connection, MetaData, PrimaryKeyConstraint, String, Table, insert, inspect, select

from bot.domain.errors import StoreError
from bot.store import schema
from bot.store.money_tables import metadata
from bot.store.schema import AWAITS_POLL, AWAITS_STAGE, IS_ACTIVE
from bot.store.sqlite_files import DAMAGED

if TYPE_CHECKING:
    from alembic.config import Config

_OUR_REVISION = re.compile(r"\d{4}")
"""Alembic's own are twelve hexadecimal digits."""

_MIGRATIONS = Path(__file__).parents[1] / "migrations"

_version = Table(
    "alembic_version",
    MetaData(),
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)
"""Alembic's own table: the revision of the database's schema."""


class SchemaStatus(StrEnum):
    """How a database's schema compares to this program's."""

    EMPTY = "empty"
    BEHIND = "behind"
    CURRENT = "current"
    NEWER = "newer"


def status(connection: Connection) -> SchemaStatus:
    """Compares the schema. Raises StoreError if another program's tables are in the way."""
    revision = _revision(connection)
    if revision is None:
        there = inspect(connection)
        names = {*there.get_table_names(), *there.get_view_names()}
        if taken := next((name for name in metadata.tables if name in names), None):
            raise StoreError(
                f"The database has a table `{taken}` that Zoetrope did not create. "
                "Name a database in DATABASE_URL that is only for Zoetrope."
            )
        return SchemaStatus.EMPTY
    if not _OUR_REVISION.fullmatch(revision):
        raise StoreError(
            f"The database has another program's schema (revision `{revision}`). "
            "Name a database in DATABASE_URL that is only for Zoetrope."
        )
    if revision == revisions()[-1]:
        return SchemaStatus.CURRENT
    return SchemaStatus.BEHIND if revision in revisions() else SchemaStatus.NEWER


@cache
def revisions() -> tuple[str, ...]:
    """The revisions of all migrations, the newest last, by the names of their files: `v0001_first.py`."""
    names = (re.match(r"v(\d{4})_", path.name) for path in (_MIGRATIONS / "versions").iterdir())
    return tuple(sorted(name[1] for name in names if name))


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table(_version.name):
        return None
    return connection.scalar(select(_version.c.version_num))


def upgrade(connection: Connection) -> None:
    """Upgrades the schema. Raises StoreError for a database of a newer version."""
    match status(connection):
        case SchemaStatus.NEWER:
            raise StoreError(
                "The database was written by a newer version of Zoetrope. Start that version again, "
                "or restore the backup from before the update (`zoetrope db restore FILE`)."
            )
        case SchemaStatus.EMPTY:
            _create(connection)
        case SchemaStatus.BEHIND:
            run_migrations(connection)
        case SchemaStatus.CURRENT:
            pass


def will_change(connection: Connection) -> bool:
    """Whether an upgrade would change existing data, so that a copy is worth making. Raises StoreError."""
    return status(connection) is SchemaStatus.BEHIND


def _create(connection: Connection) -> None:
    """Creates the newest schema with its first rows. A test holds it equal to what all migrations come to."""
    create_tables(connection)
    for table, row in schema.ONLY_ROWS:
        connection.execute(insert(table).values(row))


def create_tables(connection: Connection) -> None:
    """Creates the newest schema in one step, with no row but its version."""
    metadata.create_all(connection, checkfirst=False)
    _version.create(connection, checkfirst=True)  # it may be there, and empty
    connection.execute(insert(_version).values(version_num=revisions()[-1]))


def run_migrations(connection: Connection, to: str = "head") -> None:
    """Runs the migrations that the database lacks, up to the revision `to`."""
    from alembic import command  # noqa: PLC0415 - see the module's docstring

    command.upgrade(_config(connection), to)


def _config(connection: Connection) -> "Config":
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    # The config parser interpolates percent signs.
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def check_file(connection: Connection) -> None:
    """Checks a SQLite file for damage, with all its indexes. Takes seconds for a large one. Raises StoreError."""
    if connection.dialect.name == "sqlite":
        _refuse_damage(connection.exec_driver_sql("PRAGMA integrity_check(1)").scalar())


def check_file_quickly(connection: Connection) -> None:
    """Checks a SQLite file for damage in a quarter of the time. Raises StoreError.

    If an index lacks rows, it notices only where jobs are missing that the worker would then never find.
    """
    if connection.dialect.name != "sqlite":
        return
    _refuse_damage(connection.exec_driver_sql("PRAGMA quick_check(1)").scalar())
    if status(connection) is not SchemaStatus.CURRENT:
        return  # before an upgrade, the copy that is kept is checked thoroughly
    for index, condition in _QUEUE_INDEXES.items():
        count = f"SELECT count(*) FROM jobs {{}} WHERE {condition}"  # noqa: S608 - our own conditions
        indexed = connection.exec_driver_sql(count.format(f"INDEXED BY {index}")).scalar()
        if indexed != connection.exec_driver_sql(count.format("NOT INDEXED")).scalar():
            _refuse_damage(f"wrong # of entries in index {index}")


_QUEUE_INDEXES = {
    "ix_jobs_stages": AWAITS_STAGE.text,
    "ix_jobs_polls": AWAITS_POLL.text,
    "ix_jobs_active": IS_ACTIVE.text,
}
"""The indexes by which the worker finds its jobs, with the rows that they hold."""


def _refuse_damage(found: object) -> None:
    if found != "ok":
        raise StoreError(f"The database file {DAMAGED} (SQLite says: {' '.join(str(found).split())}.)")
