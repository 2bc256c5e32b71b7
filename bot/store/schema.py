"""The tables, as the migrations build them (a test holds the two together).

`jobs` is the whole truth about a job; `first_frames` holds its picture until submission. Every acceptance of a job
locks the single row of `operator_state`, every submission that of `submission_gate`. `ledger` explains each number
that a limit sees; `daily_totals` and `credit_grants.credits_left` are its sums, written in the same transaction.
Admins' settings are in `guilds` and in the tables named after them.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    text,
)

from bot.domain.jobs import ACTIVE, JobState
from bot.store.types import Money, StorableJson, StorableText, Usd, UtcDateTime

GATE_ID = 1
"""The id of the only row in `submission_gate`."""

OPERATOR_STATE_ID = 1
"""The id of the only row in `operator_state`."""

EVERYWHERE = 0
"""In `daily_totals.guild_id`: all servers together. Elsewhere: the operator, or a server that was erased."""

NOBODY = 0
"""The user id in rows whose member was erased."""

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
    }
)

_BigSerial = BigInteger().with_variant(Integer, "sqlite")
"""Counts up by itself; SQLite does that for its own integers only."""

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
    Column("state_changed_at", UtcDateTime, nullable=False),
    Column("due_at", UtcDateTime),
    Column("charged", Boolean, nullable=False),
    Column("cancel_requested", Boolean, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("claim_count", Integer, nullable=False),
    Column("lease_token", StorableText),
    Column("lease_until", UtcDateTime),
    Column("upstream_id", StorableText),
    Column("submitted_at", UtcDateTime),
    Column("progress", Double),
    Column("result_url", StorableText),
    Column("cost_usd", Money),
    Column("upstream_response", StorableJson),
    Column("failure_reason", StorableText),
    Column("failure_detail", StorableText),
    Column("status_message_id", BigInteger),
    Column("result_message_id", BigInteger),
    Column("approval_message_id", BigInteger),
    Column("estimated_cost_usd", Usd),
    Column("credit_grant_id", BigInteger),
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

first_frames = Table(
    "first_frames",
    metadata,
    Column("job_id", StorableText, ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("mime", StorableText, nullable=False),
    Column("data", LargeBinary, nullable=False),
)

# A member's own row: only what is not said elsewhere. `erase_asked_at`: they asked for their data to go.
members = Table(
    "members",
    metadata,
    Column("guild_id", BigInteger, primary_key=True, autoincrement=False),
    Column("user_id", BigInteger, primary_key=True, autoincrement=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("erasure_requested_at", UtcDateTime),
)

submission_gate = Table(
    "submission_gate",
    metadata,
    Column(
        "id", Integer, CheckConstraint(f"id = {GATE_ID}", name="single"), primary_key=True, autoincrement=False
    ),
    Column("opens_at", UtcDateTime),
    Column("reason", StorableText),
    Column("consecutive_failures", Integer, nullable=False),
    Column("next_submit_at", UtcDateTime),
)

operator_state = Table(
    "operator_state",
    metadata,
    Column(
        "id",
        Integer,
        CheckConstraint(f"id = {OPERATOR_STATE_ID}", name="single"),
        primary_key=True,
        autoincrement=False,
    ),
    Column("draining", Boolean, nullable=False),
    Column("usd_per_day", Usd),
    Column("usd_per_month", Usd),
    Column("max_queued", Integer),
)

guilds = Table(
    "guilds",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("access", StorableText, nullable=False),
    Column("granted_usd_per_day", Usd),
    Column("granted_usd_per_month", Usd),
    Column("welcomed_at", UtcDateTime),
    Column("left_at", UtcDateTime),
    Column("videos_per_window", Integer),
    Column("max_active", Integer),
    Column("cooldown_s", Integer),
    Column("window_hours", Integer),
    Column("admins_exempt", Boolean, nullable=False),
    Column("videos_per_day", Integer),
    Column("usd_per_day", Usd),
    Column("usd_per_month", Usd),
    Column("allowed_resolutions", StorableJson, nullable=False),
    Column("age_restricted_only", Boolean, nullable=False),
    Column("approval_required", Boolean, nullable=False),
    Column("paused", Boolean, nullable=False),
    Column("violation_limit", Integer, nullable=False),
    Column("violation_pause_hours", Integer, nullable=False),
    Column("log_channel_id", BigInteger),
)

# Limits of a role or of a single member. `kind`: role or member.
limit_overrides = Table(
    "limit_overrides",
    metadata,
    Column("guild_id", BigInteger, primary_key=True, autoincrement=False),
    Column("kind", StorableText, primary_key=True),
    Column("target_id", BigInteger, primary_key=True, autoincrement=False),
    Column("videos_per_window", Integer),
    Column("max_active", Integer),
    Column("cooldown_s", Integer),
)

# Channels and roles that are allowed or denied. `kind`: see `bot.domain.guilds.PolicyEntryKind`.
policy_entries = Table(
    "policy_entries",
    metadata,
    Column("guild_id", BigInteger, primary_key=True, autoincrement=False),
    Column("kind", StorableText, primary_key=True),
    Column("target_id", BigInteger, primary_key=True, autoincrement=False),
    Column("allowed", Boolean, nullable=False),
)

blocked_terms = Table(
    "blocked_terms",
    metadata,
    Column("guild_id", BigInteger, primary_key=True, autoincrement=False),
    Column("text", StorableText, primary_key=True),
    Column("is_pattern", Boolean, nullable=False),
)

bans = Table(
    "bans",
    metadata,
    Column("guild_id", BigInteger, primary_key=True, autoincrement=False),
    Column("user_id", BigInteger, primary_key=True, autoincrement=False),
    Column("reason", StorableText, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime),
    Column("actor_id", BigInteger),
)

violations = Table(
    "violations",
    metadata,
    Column("id", _BigSerial, primary_key=True),
    Column("guild_id", BigInteger, nullable=False),
    Column("user_id", BigInteger, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
)
Index("ix_violations_member", violations.c.guild_id, violations.c.user_id, violations.c.created_at)

# Extra videos for a member. `credits_left`: the sum of the grant's entries in the ledger.
credit_grants = Table(
    "credit_grants",
    metadata,
    Column("id", _BigSerial, primary_key=True),
    Column("guild_id", BigInteger, nullable=False),
    Column("user_id", BigInteger, nullable=False),
    Column("credits_left", Integer, CheckConstraint("credits_left >= 0", name="not_overdrawn"), nullable=False),
    Column("expires_at", UtcDateTime),
    Column("created_at", UtcDateTime, nullable=False),
    Column("actor_id", BigInteger),
)
Index("ix_credit_grants_member", credit_grants.c.guild_id, credit_grants.c.user_id)

ledger = Table(
    "ledger",
    metadata,
    Column("id", _BigSerial, primary_key=True),
    Column("kind", StorableText, nullable=False),
    Column("guild_id", BigInteger, nullable=False),
    Column("user_id", BigInteger, nullable=False),
    Column("job_id", StorableText),
    Column("credit_grant_id", BigInteger),
    Column("created_at", UtcDateTime, nullable=False),
    Column("effective_at", UtcDateTime, nullable=False),
    Column("videos", Integer, nullable=False),
    Column("credits", Integer, nullable=False),
    Column("usd", Usd, nullable=False),
    Column("actor_id", BigInteger),
    Column("reason", StorableText, nullable=False),
)
Index("ix_ledger_member", ledger.c.guild_id, ledger.c.user_id, ledger.c.effective_at)
Index("ix_ledger_job", ledger.c.job_id)

# What the ledger's entries of one day come to, for a server and (guild_id 0) for all together.
daily_totals = Table(
    "daily_totals",
    metadata,
    Column("guild_id", BigInteger, primary_key=True, autoincrement=False),
    Column("day", Date, primary_key=True),
    Column("videos", Integer, nullable=False),
    Column("usd", Usd, nullable=False),
)

# What tasks of each resolution cost of late: a moving average over the last ones.
prices = Table(
    "prices",
    metadata,
    Column("resolution", StorableText, primary_key=True),
    Column("average_usd", Usd, nullable=False),
    Column("task_count", Integer, nullable=False),
)

# The audit log: who did what, see `bot.domain.audit_log`. `guild_id` 0: the operator, for all. `what`: only of
# rows that version 0002 wrote.
audit_log = Table(
    "audit_log",
    metadata,
    Column("id", _BigSerial, primary_key=True),
    Column("guild_id", BigInteger, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("by", BigInteger),
    Column("action", StorableText, nullable=False),
    Column("target_kind", StorableText),
    Column("target_id", StorableText),
    Column("before", StorableJson),
    Column("after", StorableJson),
    Column("what", StorableText),
)
Index("ix_audit_log_guild", audit_log.c.guild_id, audit_log.c.at)

# What is to be posted in a server's log channel or, where `channel_id` says so, in another one; `guild_id` 0: for
# the operator. `key`: what has the same one is posted once. `kind`, `payload`: see `bot.domain.notifications`.
# `text`: the words, once it was claimed, so that every try sends the same. A posted one has no `due_at`; it goes
# after a day.
notifications = Table(
    "notifications",
    metadata,
    Column("id", StorableText, primary_key=True),
    Column("guild_id", BigInteger, nullable=False),
    Column("channel_id", BigInteger),
    Column("key", StorableText, unique=True),
    Column("kind", StorableText, nullable=False),
    Column("payload", StorableJson),
    Column("text", StorableText),
    Column("created_at", UtcDateTime, nullable=False),
    Column("due_at", UtcDateTime),
    Column("attempts", Integer, nullable=False),
    Column("lease_token", StorableText),
    Column("lease_until", UtcDateTime),
)
Index(
    "ix_notifications_due_at",
    notifications.c.due_at,
    sqlite_where=text("due_at IS NOT NULL"),
    postgresql_where=text("due_at IS NOT NULL"),
)
