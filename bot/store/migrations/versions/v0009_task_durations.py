"""Keeps how long tasks took, and when a running one was last seen running: polls are scheduled by that."""

import sqlalchemy as sa
from alembic import op

from bot.store.types import StorableText, UtcDateTime, optional, required

revision = "0009"
down_revision = "0008"

_Serial = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Adds an empty column and an empty table. Nothing is known of tasks that ended before."""
    op.add_column("jobs", sa.Column("seen_running_at", UtcDateTime))
    op.create_table(
        "task_durations",
        sa.Column("id", _Serial, nullable=False),
        *required(StorableText, "resolution"),
        *required(sa.Double, "over_s"),
        *optional(sa.Double, "within_s"),
        sa.PrimaryKeyConstraint("id", name="pk_task_durations"),
    )
    op.create_index("ix_task_durations_resolution", "task_durations", ["resolution", "id"])
