"""Keeps with which token an order can still be answered, where the bot isn't a member."""

import sqlalchemy as sa
from alembic import op

from bot.store.types import StorableText, UtcDateTime, optional, required

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    """Adds a table."""
    op.create_table(
        "interaction_tokens",
        sa.Column("job_id", StorableText, sa.ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
        *required(StorableText, "token"),
        *required(sa.BigInteger, "answer_id"),
        *optional(sa.BigInteger, "message_id"),
        *required(UtcDateTime, "expires_at"),
    )
