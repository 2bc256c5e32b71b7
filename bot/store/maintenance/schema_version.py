"""Compares a database's schema with this program's, and upgrades it with Alembic.

Functions work inside the caller's transaction, see `Database.change_schema`.
"""

from enum import StrEnum
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect

from bot.domain.errors import StoreError
from bot.store.schema import IS_ACTIVE, jobs
from bot.store.sqlite_files import DAMAGED


class SchemaStatus(StrEnum):
    """How a database's schema compares to this program's."""

    EMPTY = "empty"
    BEHIND = "behind"
    CURRENT = "current"
    NEWER = "newer"


def status(connection: Connection) -> SchemaStatus:
    """Compares the schema. Raises StoreError if the tables belong to another program."""
    revision = MigrationContext.configure(connection).get_current_revision()
    if revision is None:
        if inspect(connection).has_table(jobs.name):
            raise StoreError(
                f"The database has a table `{jobs.name}` that Zoetrope did not create. "
                "Name a database in DATABASE_URL that is only for Zoetrope."
            )
        return SchemaStatus.EMPTY
    script = ScriptDirectory.from_config(_config())
    if revision == script.get_current_head():
        return SchemaStatus.CURRENT
    known = {step.revision for step in script.walk_revisions()}
    return SchemaStatus.BEHIND if revision in known else SchemaStatus.NEWER


def upgrade(connection: Connection) -> None:
    """Upgrades the schema. Raises StoreError for a database of a newer version."""
    match status(connection):
        case SchemaStatus.NEWER:
            raise StoreError(
                "The database was written by a newer version of Zoetrope. Start that version again, "
                "or restore the backup from before the update (`zoetrope db restore FILE`)."
            )
        case SchemaStatus.EMPTY | SchemaStatus.BEHIND:
            command.upgrade(_config(connection), "head")
        case SchemaStatus.CURRENT:
            pass


def will_change(connection: Connection) -> bool:
    """Whether an upgrade would change existing data, so that a copy is worth making. Raises StoreError."""
    return status(connection) is SchemaStatus.BEHIND


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    # The config parser interpolates percent signs.
    folder = str(Path(__file__).parents[1] / "migrations").replace("%", "%%")
    config.set_main_option("script_location", folder)
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


_QUEUE_INDEXES = {"ix_jobs_due_at": "due_at IS NOT NULL", "ix_jobs_active": IS_ACTIVE.text}
"""The indexes by which the worker finds its jobs, with the rows that they hold."""


def _refuse_damage(found: object) -> None:
    if found != "ok":
        raise StoreError(f"The database file {DAMAGED} (SQLite says: {' '.join(str(found).split())}.)")
