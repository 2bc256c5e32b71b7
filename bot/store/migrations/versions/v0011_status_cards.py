"""Keeps what status cards say, and thumbnails of the pictures that they show."""

import sqlalchemy as sa
from alembic import op

from bot.store.types import StorableText, UtcDateTime, optional, required

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Adds a table and a column, and drops the column that the table makes unnecessary."""
    op.add_column("first_frames", sa.Column("thumbnail", sa.LargeBinary))
    op.create_table(
        "status_cards",
        sa.Column("job_id", StorableText, sa.ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
        *required(StorableText, "shown_state"),
        *optional(sa.Integer, "ahead"),
        *optional(UtcDateTime, "likely_at", "late_at"),
        *optional(sa.Double, "share"),
        *required(sa.Boolean, "is_unusual", "service_closed", "is_cancelled", "has_thumbnail"),
        *required(UtcDateTime, "edited_at"),
    )
    op.drop_column("jobs", "status_says_closed")
