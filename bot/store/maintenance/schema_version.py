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
from bot.store.schema import jobs
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
    check_file(connection)
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
    check_file(connection)
    return status(connection) is SchemaStatus.BEHIND


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    # The config parser interpolates percent signs.
    folder = str(Path(__file__).parents[1] / "migrations").replace("%", "%%")
    config.set_main_option("script_location", folder)
    config.attributes["connection"] = connection
    return config


def check_file(connection: Connection) -> None:
    """Checks a SQLite file for damage, including its indexes, one of which could hide a job. Raises StoreError."""
    if connection.dialect.name != "sqlite":
        return
    found = connection.exec_driver_sql("PRAGMA integrity_check(1)").scalar()
    if found != "ok":
        raise StoreError(f"The database file {DAMAGED} (SQLite says: {' '.join(str(found).split())}.)")
