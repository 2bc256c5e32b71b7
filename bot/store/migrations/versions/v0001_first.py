"""The first tables: jobs and their first frames, members, the submission gate."""

import sqlalchemy as sa
from alembic import op

from bot.store.types import Money, StorableJson, StorableText, UtcDateTime, optional, partial, required

revision = "0001"
down_revision = None

_ACTIVE = "state IN ('queued', 'submitting', 'running', 'delivering')"


def upgrade() -> None:
    """Creates the tables."""
    op.create_table(
        "jobs",
        *required(StorableText, "id", "state"),
        *required(sa.BigInteger, "guild_id", "channel_id", "user_id"),
        *required(StorableText, "prompt"),
        *optional(StorableText, "negative_prompt"),
        *required(StorableText, "resolution"),
        *optional(sa.BigInteger, "seed"),
        *required(sa.Boolean, "prompt_extend", "watermark"),
        *required(UtcDateTime, "created_at", "state_since"),
        *optional(UtcDateTime, "due_at"),
        *required(sa.Boolean, "counted", "cancel_requested"),
        *required(sa.Integer, "attempts", "claims"),
        *optional(StorableText, "lease_token"),
        *optional(UtcDateTime, "lease_until"),
        *optional(StorableText, "upstream_id"),
        *optional(UtcDateTime, "submitted_at"),
        *optional(sa.Double, "progress"),
        *optional(StorableText, "result_url"),
        *optional(Money, "cost_usd"),
        *optional(StorableJson, "raw"),
        *optional(StorableText, "failure", "failure_detail"),
        *optional(sa.BigInteger, "status_message_id", "result_message_id"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jobs")),
        sa.CheckConstraint(
            "state IN ('queued', 'submitting', 'running', 'delivering', 'delivered', 'failed', 'cancelled')",
            name=op.f("ck_jobs_state_known"),
        ),
        sa.CheckConstraint(
            "state <> 'running' OR upstream_id IS NOT NULL", name=op.f("ck_jobs_running_has_a_task")
        ),
    )
    op.create_index("ix_jobs_due_at", "jobs", ["due_at"], **partial("due_at IS NOT NULL"))
    op.create_index(
        "ix_jobs_active",
        "jobs",
        ["state", "created_at"],
        **partial("state IN ('queued', 'submitting', 'running', 'delivering')"),
    )
    op.create_index("ix_jobs_member", "jobs", ["guild_id", "user_id", "created_at"])
    op.create_table(
        "frames",
        *required(StorableText, "job_id", "mime"),
        *required(sa.LargeBinary, "data"),
        sa.PrimaryKeyConstraint("job_id", name=op.f("pk_frames")),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_frames_job_id"), ondelete="CASCADE"),
    )
    op.create_table(
        "members",
        *required(sa.BigInteger, "guild_id", "user_id"),
        *required(UtcDateTime, "created_at"),
        sa.PrimaryKeyConstraint("guild_id", "user_id", name=op.f("pk_members")),
    )
    gate = op.create_table(
        "upstream_gate",
        sa.Column("id", sa.Integer, autoincrement=False, nullable=False),
        *optional(UtcDateTime, "opens_at"),
        *optional(StorableText, "reason"),
        *required(sa.Integer, "failures"),
        *optional(UtcDateTime, "next_submit_at"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_upstream_gate")),
        sa.CheckConstraint("id = 1", name=op.f("ck_upstream_gate_single")),
    )
    op.bulk_insert(gate, [{"id": 1, "failures": 0}])
