"""Adds whether a server counts what the video service's moderation refuses like a blocked prompt."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    """Adds the column; no server counts it so far."""
    counts = sa.Column("refused_content_counts", sa.Boolean, nullable=False, server_default=sa.false())
    op.add_column("guilds", counts)
