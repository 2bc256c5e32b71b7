"""Keeps what members choose for all their videos."""

import sqlalchemy as sa
from alembic import op

from bot.store.types import StorableText, UtcDateTime, optional, required

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Adds a table."""
    op.create_table(
        "member_settings",
        sa.Column("user_id", sa.BigInteger, primary_key=True, autoincrement=False),
        *required(sa.Boolean, "pings", "direct", "spoilers"),
        *optional(StorableText, "resolution"),
        *required(sa.Boolean, "prompt_extend", "watermark"),
        *required(UtcDateTime, "changed_at"),
    )
