"""Keeps which jobs were ordered together as variations of one picture and prompt."""

import sqlalchemy as sa
from alembic import op

from bot.store.types import StorableText, required

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    """Adds a table."""
    op.create_table(
        "variations",
        sa.Column("job_id", StorableText, sa.ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
        *required(StorableText, "group_id"),
        *required(sa.Integer, "position", "size"),
    )
    op.create_index("ix_variations_group_id", "variations", ["group_id"])
