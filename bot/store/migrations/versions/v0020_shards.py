"""Keeps which shards' servers were recorded, servers' names, and what processes share of Discord's limits.

An earlier version connected all servers at once. Where it recorded any, it recorded those that were there.
"""

import sqlalchemy as sa
from alembic import op

from bot.store.types import StorableText, UtcDateTime, optional, required

revision = "0020"
down_revision = "0019"


def upgrade() -> None:
    """Adds the tables and columns."""
    op.create_table(
        "listed_shards",
        sa.Column("count", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        *required(UtcDateTime, "listed_at"),
    )
    op.create_table(
        "shared_limits",
        sa.Column("name", StorableText, primary_key=True),
        sa.Column("next_at_s", sa.Double, nullable=False),
    )
    for column in (*optional(StorableText, "name"), *optional(sa.BigInteger, "system_channel_id")):
        op.add_column("guilds", column)
    op.execute(
        "INSERT INTO listed_shards (count, id, listed_at) SELECT 1, 0, MIN(known.at) FROM "
        "(SELECT COALESCE(welcomed_at, left_at) AS at FROM guilds) AS known WHERE known.at IS NOT NULL "
        "HAVING MIN(known.at) IS NOT NULL"
    )
