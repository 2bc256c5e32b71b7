"""Keeps which jobs go on from another one's video."""

import sqlalchemy as sa
from alembic import op

from bot.store.types import StorableText, required

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    """Adds a table."""
    op.create_table(
        "extensions",
        sa.Column("job_id", StorableText, sa.ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
        *required(StorableText, "parent_id"),
        *required(sa.Integer, "pieces"),
    )
