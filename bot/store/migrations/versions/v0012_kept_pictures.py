"""Keeps pictures after their submission, for jobs that are accepted from now on.

Pictures of earlier jobs have no row here and are deleted with their submission, as their members were told.
"""

import sqlalchemy as sa
from alembic import op

from bot.store.types import StorableText, UtcDateTime, optional, partial, required

revision = "0012"
down_revision = "0011"

_OF_ENDED_JOBS = "job_id IN (SELECT id FROM jobs WHERE state IN ('delivered', 'failed', 'cancelled'))"


def upgrade() -> None:
    """Adds a table, and deletes the pictures of ended jobs: they were left by a process that died."""
    op.create_table(
        "kept_pictures",
        sa.Column("job_id", StorableText, sa.ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
        *required(StorableText, "origin_id"),
        *optional(UtcDateTime, "ended_at"),
    )
    op.create_index("ix_kept_pictures_origin_id", "kept_pictures", ["origin_id"])
    op.create_index("ix_kept_pictures_ended_at", "kept_pictures", ["ended_at"], **partial("ended_at IS NOT NULL"))
    op.execute(f"DELETE FROM first_frames WHERE {_OF_ENDED_JOBS}")  # noqa: S608 - a constant
