"""Renames tables and columns to the names that the code uses. No row, column type or column order changes."""

import re

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_TABLES = {
    "frames": "first_frames",
    "upstream_gate": "submission_gate",
    "house": "operator_state",
    "tiers": "limit_overrides",
    "places": "policy_entries",
    "words": "blocked_terms",
    "strikes": "violations",
    "grants": "credit_grants",
    "totals": "daily_totals",
    "changes": "audit_log",
    "notices": "notifications",
}

_LIMITS = {"videos": "videos_per_window", "running": "max_active", "pause_s": "cooldown_s"}
_COLUMNS = {
    "jobs": {
        "state_since": "state_changed_at",
        "counted": "charged",
        "claims": "claim_count",
        "raw": "upstream_response",
        "failure": "failure_reason",
        "review_message_id": "approval_message_id",
        "estimate_usd": "estimated_cost_usd",
        "grant_id": "credit_grant_id",
    },
    "members": {"erase_asked_at": "erasure_requested_at"},
    "submission_gate": {"failures": "consecutive_failures"},
    "operator_state": {"queued_max": "max_queued"},
    "guilds": _LIMITS
    | {
        "resolutions": "allowed_resolutions",
        "approval": "approval_required",
        "strikes": "violation_limit",
        "strike_pause_hours": "violation_pause_hours",
    },
    "limit_overrides": _LIMITS,
    "bans": {"at": "created_at", "until": "expires_at", "by": "actor_id"},
    "violations": {"at": "created_at"},
    "credit_grants": {"at": "created_at", "by": "actor_id"},
    "ledger": {
        "grant_id": "credit_grant_id",
        "at": "created_at",
        "counts_at": "effective_at",
        "by": "actor_id",
        "why": "reason",
    },
    "prices": {"usd": "average_usd", "tasks": "task_count"},
}


def upgrade() -> None:
    """Renames tables and columns, then the constraints and indexes that are named after a table."""
    for old, new in _TABLES.items():
        op.rename_table(old, new)
    for table, columns in _COLUMNS.items():
        for old, new in columns.items():
            # Both databases rename a column in place; Alembic would copy the whole table on SQLite.
            op.execute(f'ALTER TABLE {table} RENAME COLUMN "{old}" TO {new}')
    rename_constraints = _rebuild if op.get_bind().dialect.name == "sqlite" else _rename_in_place
    for old, new in _TABLES.items():
        rename_constraints(old, new)


def _renamed(text: str, old: str, new: str) -> str:
    """The text with each name by the convention of `bot.store.schema` that holds the old table's name."""
    return re.sub(rf"\b(pk|fk|ix|ck|uq)_{old}(?=_|\b)", rf"\1_{new}", text)


def _rebuild(old: str, new: str) -> None:
    """SQLite can't rename a constraint: copies the table to one that has the same columns and the new names."""
    connection = op.get_bind()
    select = "SELECT sql FROM sqlite_master WHERE tbl_name = ? AND type = ? AND sql IS NOT NULL"
    [table] = connection.exec_driver_sql(select, (new, "table")).scalars().all()
    indexes = connection.exec_driver_sql(select, (new, "index")).scalars().all()
    columns = _renamed(table[table.index("(") :], old, new)
    connection.exec_driver_sql(f"CREATE TABLE rebuilt {columns}")
    connection.exec_driver_sql(f"INSERT INTO rebuilt SELECT * FROM {new}")  # noqa: S608 - names from above
    connection.exec_driver_sql(f"DROP TABLE {new}")
    connection.exec_driver_sql(f"ALTER TABLE rebuilt RENAME TO {new}")
    for index in indexes:
        connection.exec_driver_sql(_renamed(index, old, new))


def _rename_in_place(old: str, new: str) -> None:
    connection = op.get_bind()
    inspector = sa.inspect(connection)
    for index in inspector.get_indexes(new):
        if not index.get("duplicates_constraint"):
            name = str(index["name"])
            connection.exec_driver_sql(f"ALTER INDEX {name} RENAME TO {_renamed(name, old, new)}")
    constraints = [
        inspector.get_pk_constraint(new),
        *inspector.get_foreign_keys(new),
        *inspector.get_check_constraints(new),
        *inspector.get_unique_constraints(new),
    ]
    for constraint in constraints:
        name = str(constraint["name"])
        connection.exec_driver_sql(f"ALTER TABLE {new} RENAME CONSTRAINT {name} TO {_renamed(name, old, new)}")
    connection.exec_driver_sql(f"ALTER SEQUENCE IF EXISTS {old}_id_seq RENAME TO {new}_id_seq")
