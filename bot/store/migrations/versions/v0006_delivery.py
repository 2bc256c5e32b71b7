"""Keeps what a member called their picture, where a direct message with a video is, and what a status says."""

import sqlalchemy as sa
from alembic import op

from bot.store.types import StorableText, optional

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Adds empty columns to `jobs`. Both databases do that in place, without copying the table."""
    for column in (
        *optional(StorableText, "picture_name", "picture_alt_text"),
        *optional(sa.BigInteger, "result_channel_id"),
        *optional(sa.Boolean, "status_says_closed"),
    ):
        op.add_column("jobs", column)
