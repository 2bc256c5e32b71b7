"""An index for the latest failures of all servers, which the operator's page lists. No row changes."""

from alembic import op

from bot.store.types import partial

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    """Creates the index; takes seconds for hundreds of thousands of jobs."""
    op.create_index("ix_jobs_failed_at", "jobs", ["state_changed_at"], **partial("state = 'failed'"))
