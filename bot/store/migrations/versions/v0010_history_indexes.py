"""Indexes with which a server's history costs nothing where only its present matters. No row changes."""

from alembic import op

from bot.store.types import partial

revision = "0010"
down_revision = "0009"

_ACTIVE = "state IN ('awaiting', 'queued', 'submitting', 'running', 'delivering')"


def upgrade() -> None:
    """Creates the indexes; takes seconds for hundreds of thousands of jobs."""
    op.create_index("ix_jobs_active_guild", "jobs", ["guild_id", "state", "user_id"], **partial(_ACTIVE))
    op.create_index("ix_jobs_failed", "jobs", ["guild_id", "state_changed_at"], **partial("state = 'failed'"))
    op.create_index("ix_jobs_guild", "jobs", ["guild_id", "created_at"])
    op.drop_index("ix_ledger_job", "ledger")
    op.create_index("ix_ledger_job", "ledger", ["job_id", "usd"])
