"""Quotas, money and the admins' side: the ledger and its sums, what servers and the operator set."""

from collections import defaultdict
from datetime import UTC, date, datetime
from decimal import ROUND_CEILING, Decimal
from typing import Any

import sqlalchemy as sa
from alembic import op

from bot.store.types import Money, StorableJson, StorableText, Usd, UtcDateTime, optional, partial, required

revision = "0002"
down_revision = "0001"

_SERIAL = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_ACTIVE = "state IN ('awaiting', 'queued', 'submitting', 'running', 'delivering')"
_STATES = (
    "state IN ('awaiting', 'queued', 'submitting', 'running', 'delivering', 'delivered', 'failed', 'cancelled')"
)


def upgrade() -> None:
    """Adds columns and tables, and writes ledger entries for the jobs that count towards quotas."""
    _widen_jobs()
    op.add_column("members", sa.Column("erase_asked_at", UtcDateTime))
    _create_settings()
    _create_policies()
    ledger, totals = _create_ledger()
    _create_logs()
    _write_entries(ledger, totals)


def _widen_jobs() -> None:
    op.drop_index("ix_jobs_active", "jobs")
    with op.batch_alter_table("jobs") as jobs:
        jobs.drop_constraint(op.f("ck_jobs_state_known"), type_="check")
        jobs.create_check_constraint(op.f("ck_jobs_state_known"), _STATES)
        jobs.add_column(sa.Column("review_message_id", sa.BigInteger))
        jobs.add_column(sa.Column("estimate_usd", Usd))
        jobs.add_column(sa.Column("grant_id", sa.BigInteger))
    op.create_index("ix_jobs_active", "jobs", ["state", "created_at"], **partial(_ACTIVE))


def _create_settings() -> None:
    house = op.create_table(
        "house",
        sa.Column("id", sa.Integer, autoincrement=False, nullable=False),
        *required(sa.Boolean, "draining"),
        *optional(Usd, "usd_per_day", "usd_per_month"),
        *optional(sa.Integer, "queued_max"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_house")),
        sa.CheckConstraint("id = 1", name=op.f("ck_house_single")),
    )
    op.bulk_insert(house, [{"id": 1, "draining": False}])
    op.create_table(
        "guilds",
        sa.Column("id", sa.BigInteger, autoincrement=False, nullable=False),
        *required(StorableText, "access"),
        *optional(Usd, "granted_usd_per_day", "granted_usd_per_month"),
        *optional(UtcDateTime, "welcomed_at", "left_at"),
        *optional(sa.Integer, "videos", "running", "pause_s", "window_hours"),
        *required(sa.Boolean, "admins_exempt"),
        *optional(sa.Integer, "videos_per_day"),
        *optional(Usd, "usd_per_day", "usd_per_month"),
        *required(StorableJson, "resolutions"),
        *required(sa.Boolean, "age_restricted_only", "approval", "paused"),
        *required(sa.Integer, "strikes", "strike_pause_hours"),
        *optional(sa.BigInteger, "log_channel_id"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_guilds")),
    )


def _create_policies() -> None:
    op.create_table(
        "tiers",
        *required(sa.BigInteger, "guild_id"),
        *required(StorableText, "kind"),
        *required(sa.BigInteger, "target_id"),
        *optional(sa.Integer, "videos", "running", "pause_s"),
        sa.PrimaryKeyConstraint("guild_id", "kind", "target_id", name=op.f("pk_tiers")),
    )
    op.create_table(
        "places",
        *required(sa.BigInteger, "guild_id"),
        *required(StorableText, "kind"),
        *required(sa.BigInteger, "target_id"),
        *required(sa.Boolean, "allowed"),
        sa.PrimaryKeyConstraint("guild_id", "kind", "target_id", name=op.f("pk_places")),
    )
    op.create_table(
        "words",
        *required(sa.BigInteger, "guild_id"),
        *required(StorableText, "text"),
        *required(sa.Boolean, "is_pattern"),
        sa.PrimaryKeyConstraint("guild_id", "text", name=op.f("pk_words")),
    )
    op.create_table(
        "bans",
        *required(sa.BigInteger, "guild_id", "user_id"),
        *required(StorableText, "reason"),
        *required(UtcDateTime, "at"),
        *optional(UtcDateTime, "until"),
        *optional(sa.BigInteger, "by"),
        sa.PrimaryKeyConstraint("guild_id", "user_id", name=op.f("pk_bans")),
    )
    op.create_table(
        "strikes",
        *required(_SERIAL, "id"),
        *required(sa.BigInteger, "guild_id", "user_id"),
        *required(UtcDateTime, "at"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_strikes")),
    )
    op.create_index("ix_strikes_member", "strikes", ["guild_id", "user_id", "at"])


def _create_ledger() -> tuple[sa.Table, sa.Table]:
    op.create_table(
        "grants",
        *required(_SERIAL, "id"),
        *required(sa.BigInteger, "guild_id", "user_id"),
        *required(sa.Integer, "credits_left"),
        *optional(UtcDateTime, "expires_at"),
        *required(UtcDateTime, "at"),
        *optional(sa.BigInteger, "by"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_grants")),
        sa.CheckConstraint("credits_left >= 0", name=op.f("ck_grants_not_overdrawn")),
    )
    op.create_index("ix_grants_member", "grants", ["guild_id", "user_id"])
    ledger = op.create_table(
        "ledger",
        *required(_SERIAL, "id"),
        *required(StorableText, "kind"),
        *required(sa.BigInteger, "guild_id", "user_id"),
        *optional(StorableText, "job_id"),
        *optional(sa.BigInteger, "grant_id"),
        *required(UtcDateTime, "at", "counts_at"),
        *required(sa.Integer, "videos", "credits"),
        *required(Usd, "usd"),
        *optional(sa.BigInteger, "by"),
        *required(StorableText, "why"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger")),
    )
    op.create_index("ix_ledger_member", "ledger", ["guild_id", "user_id", "counts_at"])
    op.create_index("ix_ledger_job", "ledger", ["job_id"])
    totals = op.create_table(
        "totals",
        *required(sa.BigInteger, "guild_id"),
        *required(sa.Date, "day"),
        *required(sa.Integer, "videos"),
        *required(Usd, "usd"),
        sa.PrimaryKeyConstraint("guild_id", "day", name=op.f("pk_totals")),
    )
    op.create_table(
        "prices",
        *required(StorableText, "resolution"),
        *required(Usd, "usd"),
        *required(sa.Integer, "tasks"),
        sa.PrimaryKeyConstraint("resolution", name=op.f("pk_prices")),
    )
    return ledger, totals


def _create_logs() -> None:
    op.create_table(
        "changes",
        *required(_SERIAL, "id"),
        *required(sa.BigInteger, "guild_id"),
        *required(UtcDateTime, "at"),
        *optional(sa.BigInteger, "by"),
        *required(StorableText, "what"),
        *optional(StorableText, "before", "after"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_changes")),
    )
    op.create_index("ix_changes_guild", "changes", ["guild_id", "at"])
    op.create_table(
        "notices",
        *required(StorableText, "id"),
        *required(sa.BigInteger, "guild_id"),
        *optional(sa.BigInteger, "channel_id"),
        *optional(StorableText, "key"),
        *required(StorableText, "text"),
        *required(UtcDateTime, "created_at"),
        *optional(UtcDateTime, "due_at"),
        *required(sa.Integer, "attempts"),
        *optional(StorableText, "lease_token"),
        *optional(UtcDateTime, "lease_until"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notices")),
        sa.UniqueConstraint("key", name=op.f("uq_notices_key")),
    )
    op.create_index("ix_notices_due_at", "notices", ["due_at"], **partial("due_at IS NOT NULL"))


def _plausible(cost: Decimal | None) -> Decimal:
    """A cost in billionths of a USD; zero for one that is missing or impossible, since no estimate is known."""
    if cost is None or not 0 <= cost < 1_000_000:  # noqa: PLR2004 - USD
        return Decimal(0)
    return cost.quantize(Decimal("0.000000001"), rounding=ROUND_CEILING)


def _write_entries(ledger: sa.Table, totals: sa.Table) -> None:
    """Writes an entry for each earlier job that counts towards a quota or has a known cost."""
    jobs = sa.Table(
        "jobs",
        sa.MetaData(),
        *required(StorableText, "id"),
        *required(sa.BigInteger, "guild_id", "user_id"),
        *required(UtcDateTime, "created_at"),
        *required(sa.Boolean, "counted"),
        *optional(Money, "cost_usd"),
    )
    connection = op.get_bind()
    sums: defaultdict[tuple[int, date], tuple[int, Decimal]] = defaultdict(lambda: (0, Decimal(0)))
    entries: list[dict[str, Any]] = []
    now = datetime.now(UTC)
    for job in connection.execute(sa.select(jobs).where(sa.or_(jobs.c.counted, jobs.c.cost_usd.is_not(None)))):
        usd = _plausible(job.cost_usd)
        videos = int(job.counted)
        entries.append(
            {
                "kind": "reserve",
                "guild_id": job.guild_id,
                "user_id": job.user_id,
                "job_id": job.id,
                "at": now,
                "counts_at": job.created_at,
                "videos": videos,
                "credits": 0,
                "usd": usd,
                "why": "taken over from before the ledger",
            }
        )
        for guild_id in (0, job.guild_id):
            before = sums[guild_id, job.created_at.date()]
            sums[guild_id, job.created_at.date()] = (before[0] + videos, before[1] + usd)
    if entries:
        connection.execute(sa.insert(ledger), entries)
        rows = [
            {"guild_id": guild_id, "day": day, "videos": videos, "usd": usd}
            for (guild_id, day), (videos, usd) in sums.items()
        ]
        connection.execute(sa.insert(totals), rows)
