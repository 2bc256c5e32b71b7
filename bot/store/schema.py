"""The tables, as the migrations build them (a test holds the two together).

`jobs` is the whole truth about a job; a picture waits beside it in `frames` until it was handed in. A row of
`members` is what one member's simultaneous requests line up for, the single row of `upstream_gate` what all
submissions do.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    text,
)

from bot.jobs import ACTIVE, JobState
from bot.store.types import Money, StorableJson, StorableText, UtcDateTime

GATE_ID = 1
"""The id of the only row in `upstream_gate`."""

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)

_STATES = ", ".join(f"'{state}'" for state in JobState)

IS_ACTIVE = text("state IN ({})".format(", ".join(f"'{state}'" for state in JobState if state in ACTIVE)))
"""True for jobs that have not ended. SQLite uses the index below only where a query says just this, as text."""

jobs = Table(
    "jobs",
    metadata,
    Column("id", StorableText, primary_key=True),
    Column("state", StorableText, CheckConstraint(f"state IN ({_STATES})", name="state_known"), nullable=False),
    Column("guild_id", BigInteger, nullable=False),
    Column("channel_id", BigInteger, nullable=False),
    Column("user_id", BigInteger, nullable=False),
    Column("prompt", StorableText, nullable=False),
    Column("negative_prompt", StorableText),
    Column("resolution", StorableText, nullable=False),
    Column("seed", BigInteger),
    Column("prompt_extend", Boolean, nullable=False),
    Column("watermark", Boolean, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("state_since", UtcDateTime, nullable=False),
    Column("due_at", UtcDateTime),
    Column("counted", Boolean, nullable=False),
    Column("cancel_requested", Boolean, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("claims", Integer, nullable=False),
    Column("lease_token", StorableText),
    Column("lease_until", UtcDateTime),
    Column("upstream_id", StorableText),
    Column("submitted_at", UtcDateTime),
    Column("progress", Double),
    Column("result_url", StorableText),
    Column("cost_usd", Money),
    Column("raw", StorableJson),
    Column("failure", StorableText),
    Column("failure_detail", StorableText),
    Column("status_message_id", BigInteger),
    Column("result_message_id", BigInteger),
    CheckConstraint("state <> 'running' OR upstream_id IS NOT NULL", name="running_has_a_task"),
)

# What the loop asks for. Partial, because nothing is due on most rows: theirs are over and told.
Index(
    "ix_jobs_due_at",
    jobs.c.due_at,
    sqlite_where=text("due_at IS NOT NULL"),
    postgresql_where=text("due_at IS NOT NULL"),
)
# The queue in its order, and the few that hold a slot. Partial, because a planner that knows only averages
# takes `running` for as common as `delivered`, and would rather read the whole table.
Index(
    "ix_jobs_active",
    jobs.c.state,
    jobs.c.created_at,
    sqlite_where=IS_ACTIVE,
    postgresql_where=IS_ACTIVE,
)
# One member's usage and latest jobs.
Index("ix_jobs_member", jobs.c.guild_id, jobs.c.user_id, jobs.c.created_at)

frames = Table(
    "frames",
    metadata,
    Column("job_id", StorableText, ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("mime", StorableText, nullable=False),
    Column("data", LargeBinary, nullable=False),
)

members = Table(
    "members",
    metadata,
    Column("guild_id", BigInteger, primary_key=True, autoincrement=False),
    Column("user_id", BigInteger, primary_key=True, autoincrement=False),
    Column("created_at", UtcDateTime, nullable=False),
)

upstream_gate = Table(
    "upstream_gate",
    metadata,
    Column(
        "id", Integer, CheckConstraint(f"id = {GATE_ID}", name="single"), primary_key=True, autoincrement=False
    ),
    Column("opens_at", UtcDateTime),
    Column("reason", StorableText),
    Column("failures", Integer, nullable=False),
    Column("next_submit_at", UtcDateTime),
)
