"""Adds when the cost of an ended job became unknown. Jobs that ended before returned their reservation."""

import sqlalchemy as sa
from alembic import op

from bot.store.types import UtcDateTime, partial

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Adds the column and the index that finds its few rows."""
    op.add_column("jobs", sa.Column("cost_unknown_since", UtcDateTime))
    op.create_index(
        "ix_jobs_cost_unknown_since", "jobs", ["cost_unknown_since"], **partial("cost_unknown_since IS NOT NULL")
    )
