"""Indexes for one member's data in all servers, and for jobs whose outcome is unknown. No row changes."""

from alembic import op

from bot.store.types import partial

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Creates the indexes; takes seconds for hundreds of thousands of jobs."""
    op.create_index("ix_jobs_user", "jobs", ["user_id", "created_at"])
    op.create_index("ix_jobs_failure_reason", "jobs", ["failure_reason"], **partial("failure_reason IS NOT NULL"))
    op.create_index("ix_credit_grants_user", "credit_grants", ["user_id"])
    op.create_index("ix_ledger_user", "ledger", ["user_id"])
    op.create_index("ix_audit_log_by", "audit_log", ["by"], **partial('"by" IS NOT NULL'))
