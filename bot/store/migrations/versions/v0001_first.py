"""The first tables: jobs and their frames, members, the upstream's gate."""

import sqlalchemy as sa
from alembic import op

from bot.store.types import Money, StorableJson, StorableText, UtcDateTime

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Builds everything from nothing."""
    op.create_table(
        "jobs",
        sa.Column("id", StorableText, nullable=False),
        sa.Column("state", StorableText, nullable=False),
        sa.Column("guild_id", sa.BigInteger, nullable=False),
        sa.Column("channel_id", sa.BigInteger, nullable=False),
        sa.Column("user_id", sa.BigInteger, nullable=False),
        sa.Column("prompt", StorableText, nullable=False),
        sa.Column("negative_prompt", StorableText),
        sa.Column("resolution", StorableText, nullable=False),
        sa.Column("seed", sa.BigInteger),
        sa.Column("prompt_extend", sa.Boolean, nullable=False),
        sa.Column("watermark", sa.Boolean, nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("state_since", UtcDateTime, nullable=False),
        sa.Column("due_at", UtcDateTime),
        sa.Column("counted", sa.Boolean, nullable=False),
        sa.Column("cancel_requested", sa.Boolean, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("claims", sa.Integer, nullable=False),
        sa.Column("lease_token", StorableText),
        sa.Column("lease_until", UtcDateTime),
        sa.Column("upstream_id", StorableText),
        sa.Column("submitted_at", UtcDateTime),
        sa.Column("progress", sa.Double),
        sa.Column("result_url", StorableText),
        sa.Column("cost_usd", Money),
        sa.Column("raw", StorableJson),
        sa.Column("failure", StorableText),
        sa.Column("failure_detail", StorableText),
        sa.Column("status_message_id", sa.BigInteger),
        sa.Column("result_message_id", sa.BigInteger),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jobs")),
        sa.CheckConstraint(
            "state IN ('queued', 'submitting', 'running', 'delivering', 'delivered', 'failed', 'cancelled')",
            name=op.f("ck_jobs_state_known"),
        ),
        sa.CheckConstraint(
            "state <> 'running' OR upstream_id IS NOT NULL", name=op.f("ck_jobs_running_has_a_task")
        ),
    )
    op.create_index(
        "ix_jobs_due_at",
        "jobs",
        ["due_at"],
        sqlite_where=sa.text("due_at IS NOT NULL"),
        postgresql_where=sa.text("due_at IS NOT NULL"),
    )
    op.create_index(
        "ix_jobs_active",
        "jobs",
        ["state", "created_at"],
        sqlite_where=sa.text("state IN ('queued', 'submitting', 'running', 'delivering')"),
        postgresql_where=sa.text("state IN ('queued', 'submitting', 'running', 'delivering')"),
    )
    op.create_index("ix_jobs_member", "jobs", ["guild_id", "user_id", "created_at"])
    op.create_table(
        "frames",
        sa.Column("job_id", StorableText, nullable=False),
        sa.Column("mime", StorableText, nullable=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("job_id", name=op.f("pk_frames")),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_frames_job_id"), ondelete="CASCADE"),
    )
    op.create_table(
        "members",
        sa.Column("guild_id", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("user_id", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("guild_id", "user_id", name=op.f("pk_members")),
    )
    gate = op.create_table(
        "upstream_gate",
        sa.Column("id", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("opens_at", UtcDateTime),
        sa.Column("reason", StorableText),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("next_submit_at", UtcDateTime),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_upstream_gate")),
        sa.CheckConstraint("id = 1", name=op.f("ck_upstream_gate_single")),
    )
    op.bulk_insert(gate, [{"id": 1, "failures": 0}])
