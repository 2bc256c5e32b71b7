"""Stores notifications and audit log entries as typed values, which are worded when they are shown."""

import sqlalchemy as sa
from alembic import op

from bot.store.types import StorableJson, StorableText, optional

revision = "0003"
down_revision = "0002"

_DECISION = "approval of video "
"""What version 0002 called a moderator's decision; the job's id follows."""


def upgrade() -> None:
    """Adds columns to both tables. What is already stored stays text."""
    _change_audit_log()
    _change_notifications()


def _change_audit_log() -> None:
    op.add_column("changes", sa.Column("action", StorableText, nullable=False, server_default="legacy"))
    op.add_column("changes", sa.Column("target_kind", StorableText))
    op.add_column("changes", sa.Column("target_id", StorableText))
    if op.get_bind().dialect.name == "sqlite":
        op.execute('UPDATE changes SET "before" = json_quote("before") WHERE "before" IS NOT NULL')
        op.execute('UPDATE changes SET "after" = json_quote("after") WHERE "after" IS NOT NULL')
    with op.batch_alter_table("changes") as changes:
        changes.alter_column("action", server_default=None)
        changes.alter_column("what", nullable=True)
        # Plain JSON, whose columns Alembic copies as they are on SQLite; it would cast those of our own type.
        changes.alter_column("before", type_=sa.JSON(), postgresql_using='to_json("before")')
        changes.alter_column("after", type_=sa.JSON(), postgresql_using='to_json("after")')
    _convert_decisions()


def _convert_decisions() -> None:
    """Moderators' decisions are looked up by job, so those must not stay text."""
    changes = sa.Table(
        "changes",
        sa.MetaData(),
        *optional(StorableText, "action", "target_kind", "target_id", "what"),
        *optional(StorableJson, "before", "after"),
        *optional(sa.BigInteger, "by"),
    )
    decisions = sa.select(changes.c.what, changes.c.after).where(
        changes.c.what.startswith(_DECISION), changes.c.by.is_not(None)
    )
    for row in op.get_bind().execute(decisions).all():
        if row.after not in {"approved", "declined"}:
            continue
        typed = {
            "action": f"job_{row.after}",
            "target_kind": "job",
            "target_id": row.what.removeprefix(_DECISION),
            "what": None,
            "before": {"state": "awaiting"},
            "after": {"state": "queued" if row.after == "approved" else "failed"},
        }
        op.execute(sa.update(changes).where(changes.c.what == row.what).values(typed))


def _change_notifications() -> None:
    op.add_column("notices", sa.Column("kind", StorableText, nullable=False, server_default="text"))
    op.add_column("notices", sa.Column("payload", StorableJson))
    with op.batch_alter_table("notices") as notices:
        notices.alter_column("kind", server_default=None)
        notices.alter_column("text", nullable=True)
