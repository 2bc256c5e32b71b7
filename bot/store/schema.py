"""The tables, as the migrations build them (a test holds the two together).

`jobs` is the whole truth about a job; `first_frames` holds its picture, until submission or as long as
`kept_pictures` says. Every acceptance of a job locks the single row of `operator_state`, every submission that of
its provider in `submission_gates`. Money is in `bot.store.money_tables`. Admins' settings are in `guilds` and in
the tables named after them.
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
    Table,
    and_,
    false,
    text,
    true,
)

from bot.domain.jobs import ACTIVE, DEFAULT_DURATION_S, DEFAULT_MODEL, JobState, ProviderName
from bot.store.money_tables import metadata
from bot.store.types import (
    BigSerial,
    Money,
    StorableJson,
    StorableText,
    Usd,
    UtcDateTime,
    keys,
    only_row,
    optional,
    partial,
    required,
)

OPERATOR_STATE_ID = 1
"""The id of the only row in `operator_state`."""

EVERYWHERE = 0
"""In `daily_totals.guild_id`: all servers together. Elsewhere: the operator, or a server that was erased."""

NOBODY = 0
"""The user id in rows whose member was erased."""

_STATES = ", ".join(f"'{state}'" for state in JobState)

IS_ACTIVE = text("state IN ({})".format(", ".join(f"'{state}'" for state in JobState if state in ACTIVE)))
"""True for jobs that have not ended. SQLite uses the index below only where a query says just this, as text."""

IS_FAILED = text(f"state = '{JobState.FAILED}'")
"""True for jobs that failed; as text for the same reason."""

jobs = Table(
    "jobs",
    metadata,
    Column("id", StorableText, primary_key=True),
    Column("state", StorableText, CheckConstraint(f"state IN ({_STATES})", name="state_known"), nullable=False),
    *required(BigInteger, "guild_id", "channel_id", "user_id"),
    *required(StorableText, "prompt"),
    *optional(StorableText, "negative_prompt"),
    *required(StorableText, "resolution"),
    *optional(BigInteger, "seed"),
    *required(Boolean, "prompt_extend", "watermark"),
    *required(UtcDateTime, "created_at", "state_changed_at"),
    *optional(UtcDateTime, "due_at"),
    *required(Boolean, "charged", "cancel_requested"),
    *required(Integer, "attempts", "claim_count"),
    *optional(StorableText, "lease_token"),
    *optional(UtcDateTime, "lease_until"),
    *optional(StorableText, "upstream_id"),
    *optional(UtcDateTime, "submitted_at"),
    *optional(Double, "progress"),
    *optional(StorableText, "result_url"),
    *optional(Money, "cost_usd"),
    *optional(StorableJson, "upstream_response"),
    *optional(StorableText, "failure_reason", "failure_detail"),
    *optional(BigInteger, "status_message_id", "result_message_id", "approval_message_id"),
    *optional(Usd, "estimated_cost_usd"),
    *optional(BigInteger, "credit_grant_id"),
    *optional(UtcDateTime, "cost_unknown_since"),
    *optional(StorableText, "picture_name", "picture_alt_text"),
    *optional(BigInteger, "result_channel_id"),
    *optional(UtcDateTime, "seen_running_at"),
    Column("model", StorableText, nullable=False, server_default=text(f"'{DEFAULT_MODEL}'")),
    Column("duration_s", Integer, nullable=False, server_default=text(str(DEFAULT_DURATION_S))),
    *optional(StorableText, "provider", "refused_by"),
    *optional(UtcDateTime, "provider_since"),
    *optional(StorableJson, "upstream_urls"),
    Column("can_be_stopped", Boolean, nullable=False, server_default=false()),
    *optional(StorableText, "stop_result"),
    CheckConstraint("state <> 'running' OR upstream_id IS NOT NULL", name="running_has_a_task"),
)

AWAITS_POLL = text("due_at IS NOT NULL AND state = 'running'")
AWAITS_STAGE = text("due_at IS NOT NULL AND state <> 'running'")
"""Between them, all jobs that are due at some time. As text, for the two indexes below; see `IS_ACTIVE`."""

HAS_FAILED_CLAIMS = text("claim_count >= 2")
"""Jobs during which a worker may have died; see `SUSPECT_CLAIMS` in `bot.store.jobs.due`."""

# For the worker's loops. Partial, because most jobs have ended and nothing about them is due; two, so that nothing
# waits behind thousands of polls. `guild_id`, so that the jobs of one server are passed over without reading them.
Index("ix_jobs_polls", jobs.c.due_at, jobs.c.guild_id, **partial(AWAITS_POLL.text))
Index("ix_jobs_stages", jobs.c.due_at, jobs.c.guild_id, **partial(AWAITS_STAGE.text))
Index("ix_jobs_failed_claims", jobs.c.due_at, **partial(HAS_FAILED_CLAIMS.text))
# The queue in order, and the few jobs that hold a slot. Partial: planners that know only averages read all.
Index("ix_jobs_active", jobs.c.state, jobs.c.created_at, **partial(IS_ACTIVE.text))
# What a server or one of its members has in progress, without reading through their history.
Index("ix_jobs_active_guild", jobs.c.guild_id, jobs.c.state, jobs.c.user_id, **partial(IS_ACTIVE.text))
# A server's latest failures.
Index("ix_jobs_failed", jobs.c.guild_id, jobs.c.state_changed_at, **partial(IS_FAILED.text))
# The latest failures of all servers.
Index("ix_jobs_failed_at", jobs.c.state_changed_at, **partial(IS_FAILED.text))
# A server's usage over a span of days.
Index("ix_jobs_guild", jobs.c.guild_id, jobs.c.created_at)
COST_IS_HELD = and_(jobs.c.cost_unknown_since.is_not(None), jobs.c.cost_usd.is_(None), jobs.c.result_url.is_(None))
"""Ended jobs whose reservation is held because the upstream may bill them."""

# The few ended jobs whose cost nobody knows.
Index("ix_jobs_cost_unknown_since", jobs.c.cost_unknown_since, **partial("cost_unknown_since IS NOT NULL"))
# One member's usage and latest jobs.
Index("ix_jobs_member", jobs.c.guild_id, jobs.c.user_id, jobs.c.created_at)
# One member's data in all servers, for its export and erasure.
Index("ix_jobs_user", jobs.c.user_id, jobs.c.created_at)
# The few jobs whose outcome is unknown. Partial, because most jobs don't fail.
Index("ix_jobs_failure_reason", jobs.c.failure_reason, **partial("failure_reason IS NOT NULL"))

first_frames = Table(
    "first_frames",
    metadata,
    Column("job_id", StorableText, ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    *required(StorableText, "mime"),
    *required(LargeBinary, "data"),
    *optional(LargeBinary, "thumbnail"),
)

# Pictures that stay after the submission. `origin_id`: whose picture it was first. `ended_at`: when the job ended.
kept_pictures = Table(
    "kept_pictures",
    metadata,
    Column("job_id", StorableText, ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    *required(StorableText, "origin_id"),
    *optional(UtcDateTime, "ended_at"),
)
Index("ix_kept_pictures_origin_id", kept_pictures.c.origin_id)
# Those whose time has begun, the oldest first.
Index("ix_kept_pictures_ended_at", kept_pictures.c.ended_at, **partial("ended_at IS NOT NULL"))

# What the status cards of jobs in progress say, see `bot.domain.status_cards`: each is edited only for news.
status_cards = Table(
    "status_cards",
    metadata,
    Column("job_id", StorableText, ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    *required(StorableText, "shown_state"),
    *optional(Integer, "ahead"),
    *optional(UtcDateTime, "likely_at", "late_at"),
    *optional(Double, "share"),
    *required(Boolean, "is_unusual", "service_closed", "is_cancelled", "has_thumbnail"),
    *required(UtcDateTime, "edited_at"),
)

# With what an order can still be answered, for fifteen minutes; see `bot.store.jobs.interaction_tokens`.
interaction_tokens = Table(
    "interaction_tokens",
    metadata,
    Column("job_id", StorableText, ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    *required(StorableText, "token"),
    *required(BigInteger, "answer_id"),
    *optional(BigInteger, "message_id"),
    *required(UtcDateTime, "expires_at"),
)

# Jobs that were ordered together; see `bot.domain.variations.Variation`.
variations = Table(
    "variations",
    metadata,
    Column("job_id", StorableText, ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    *required(StorableText, "group_id"),
    *required(Integer, "position", "size"),
)
Index("ix_variations_group_id", variations.c.group_id)

# Jobs that go on from others' videos, see `bot.domain.extensions`. `parent_id`: no foreign key, that may go first.
extensions = Table(
    "extensions",
    metadata,
    Column("job_id", StorableText, ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    *required(StorableText, "parent_id"),
    *required(Integer, "pieces"),
    Column("seconds", Integer, nullable=False, server_default=text("0")),
)

# `erasure_requested_at`: when the member asked for their data to be erased.
members = Table(
    "members",
    metadata,
    *keys("guild_id", "user_id"),
    *required(UtcDateTime, "created_at"),
    *optional(UtcDateTime, "erasure_requested_at"),
)

# What members chose for all their videos, see `bot.domain.member_settings`.
member_settings = Table(
    "member_settings",
    metadata,
    *keys("user_id"),
    *required(Boolean, "pings", "direct", "spoilers"),
    *optional(StorableText, "resolution"),
    *required(Boolean, "prompt_extend", "watermark"),
    *required(UtcDateTime, "changed_at"),
)

# One row for each provider that was ever used; see `bot.store.jobs.submission_gate`.
submission_gates = Table(
    "submission_gates",
    metadata,
    Column("provider", StorableText, primary_key=True),
    *optional(UtcDateTime, "opens_at"),
    *optional(StorableText, "reason"),
    *required(Integer, "consecutive_failures"),
    *optional(UtcDateTime, "next_submit_at"),
)

operator_state = Table(
    "operator_state",
    metadata,
    *only_row(OPERATOR_STATE_ID),
    *required(Boolean, "draining"),
    *optional(Usd, "usd_per_day", "usd_per_month"),
    *optional(Integer, "max_queued"),
)

ONLY_ROWS: tuple[tuple[Table, dict[str, object]], ...] = (
    (operator_state, {"id": OPERATOR_STATE_ID, "draining": False}),
)
"""The rows of a new database."""

guilds = Table(
    "guilds",
    metadata,
    *keys("id"),
    *required(StorableText, "access"),
    *optional(Usd, "granted_usd_per_day", "granted_usd_per_month"),
    *optional(UtcDateTime, "welcomed_at", "left_at"),
    *optional(Integer, "videos_per_window", "max_active", "cooldown_s", "window_hours"),
    *required(Boolean, "admins_exempt"),
    *optional(Integer, "videos_per_day"),
    *optional(Usd, "usd_per_day", "usd_per_month"),
    *required(StorableJson, "allowed_resolutions"),
    *required(Boolean, "age_restricted_only", "approval_required", "paused"),
    *required(Integer, "violation_limit", "violation_pause_hours"),
    *optional(BigInteger, "log_channel_id"),
    Column("refused_content_counts", Boolean, nullable=False, server_default=false()),
    *optional(StorableJson, "allowed_models"),
    Column("quotes_shown", Boolean, nullable=False, server_default=true()),
    *optional(StorableText, "name"),
    *optional(BigInteger, "system_channel_id"),
)

# The shards, of so many, whose servers were recorded at least once.
listed_shards = Table(
    "listed_shards",
    metadata,
    Column("count", Integer, primary_key=True, autoincrement=False),
    Column("id", Integer, primary_key=True, autoincrement=False),
    *required(UtcDateTime, "listed_at"),
)

# What processes share of Discord's limits. `next_at_s`: when the next turn is, by the database server's clock.
shared_limits = Table(
    "shared_limits",
    metadata,
    Column("name", StorableText, primary_key=True),
    Column("next_at_s", Double, nullable=False),
)

# Limits of a role or of a single member. `kind`: role or member.
limit_overrides = Table(
    "limit_overrides",
    metadata,
    *keys("guild_id"),
    Column("kind", StorableText, primary_key=True),
    *keys("target_id"),
    *optional(Integer, "videos_per_window", "max_active", "cooldown_s"),
)

# Channels and roles that are allowed or denied. `kind`: see `bot.domain.guilds.PolicyEntryKind`.
policy_entries = Table(
    "policy_entries",
    metadata,
    *keys("guild_id"),
    Column("kind", StorableText, primary_key=True),
    *keys("target_id"),
    *required(Boolean, "allowed"),
)

blocked_terms = Table(
    "blocked_terms",
    metadata,
    *keys("guild_id"),
    Column("text", StorableText, primary_key=True),
    *required(Boolean, "is_pattern"),
)

bans = Table(
    "bans",
    metadata,
    *keys("guild_id", "user_id"),
    *required(StorableText, "reason"),
    *required(UtcDateTime, "created_at"),
    *optional(UtcDateTime, "expires_at"),
    *optional(BigInteger, "actor_id"),
)

violations = Table(
    "violations",
    metadata,
    Column("id", BigSerial, primary_key=True),
    *required(BigInteger, "guild_id", "user_id"),
    *required(UtcDateTime, "created_at"),
)
Index("ix_violations_member", violations.c.guild_id, violations.c.user_id, violations.c.created_at)

# How long tasks took, see `bot.domain.task_durations.TaskDuration`. Only the latest of each kind are kept.
task_durations = Table(
    "task_durations",
    metadata,
    Column("id", BigSerial, primary_key=True),
    *required(StorableText, "resolution"),
    *required(Double, "over_s"),
    *optional(Double, "within_s"),
    Column("provider", StorableText, nullable=False, server_default=text(f"'{ProviderName.VTRIX}'")),
    Column("model", StorableText, nullable=False, server_default=text(f"'{DEFAULT_MODEL}'")),
    Column("duration_s", Integer, nullable=False, server_default=text(str(DEFAULT_DURATION_S))),
)
Index(
    "ix_task_durations_kind",
    *(task_durations.c[name] for name in ("provider", "model", "resolution", "duration_s", "id")),
)

# Who did what, see `bot.domain.audit_log`. `guild_id` 0: the operator, for all. `what`: only of version 0002.
audit_log = Table(
    "audit_log",
    metadata,
    Column("id", BigSerial, primary_key=True),
    *required(BigInteger, "guild_id"),
    *required(UtcDateTime, "at"),
    *optional(BigInteger, "by"),
    *required(StorableText, "action"),
    *optional(StorableText, "target_kind", "target_id"),
    *optional(StorableJson, "before", "after"),
    *optional(StorableText, "what"),
)
Index("ix_audit_log_guild", audit_log.c.guild_id, audit_log.c.at)
Index("ix_audit_log_by", audit_log.c.by, **partial('"by" IS NOT NULL'))

# What is to be posted in a server's log channel or in the channel `channel_id`; `guild_id` 0: for the operator.
# `key`: notifications with the same one are posted once. `kind`, `payload`: see `bot.domain.notifications`.
# `text`: set by the first claim, so that every try sends the same. A posted one has no `due_at` and goes in a day.
notifications = Table(
    "notifications",
    metadata,
    Column("id", StorableText, primary_key=True),
    *required(BigInteger, "guild_id"),
    *optional(BigInteger, "channel_id"),
    Column("key", StorableText, unique=True),
    *required(StorableText, "kind"),
    *optional(StorableJson, "payload"),
    *optional(StorableText, "text"),
    *required(UtcDateTime, "created_at"),
    *optional(UtcDateTime, "due_at"),
    *required(Integer, "attempts"),
    *optional(StorableText, "lease_token"),
    *optional(UtcDateTime, "lease_until"),
)
Index("ix_notifications_due_at", notifications.c.due_at, **partial("due_at IS NOT NULL"))
