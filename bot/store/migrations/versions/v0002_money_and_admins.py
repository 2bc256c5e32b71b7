"""Quotas, money and the admins' side: the ledger and its sums, what servers and the operator set."""

from collections import defaultdict
from datetime import UTC, date, datetime
from decimal import ROUND_CEILING, Decimal
from typing import Any

import sqlalchemy as sa
from alembic import op

from bot.store.types import Money, StorableJson, StorableText, Usd, UtcDateTime

revision = "0002"
down_revision = "0001"

_SERIAL = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_ACTIVE = "state IN ('awaiting', 'queued', 'submitting', 'running', 'delivering')"
_STATES = (
    "state IN ('awaiting', 'queued', 'submitting', 'running', 'delivering', 'delivered', 'failed', 'cancelled')"
)


def upgrade() -> None:
    """Widens `jobs`, makes the new tables, and writes what stands on quotas already into the ledger."""
    _widen_jobs()
    op.add_column("members", sa.Column("erase_asked_at", UtcDateTime))
    _make_the_house()
    _make_what_admins_set()
    _make_the_ledger()
    _make_the_reports()
    _take_over_the_quotas()


def _widen_jobs() -> None:
    op.drop_index("ix_jobs_active", "jobs")
    with op.batch_alter_table("jobs") as jobs:
        jobs.drop_constraint(op.f("ck_jobs_state_known"), type_="check")
        jobs.create_check_constraint(op.f("ck_jobs_state_known"), _STATES)
        jobs.add_column(sa.Column("review_message_id", sa.BigInteger))
        jobs.add_column(sa.Column("estimate_usd", Usd))
        jobs.add_column(sa.Column("grant_id", sa.BigInteger))
    op.create_index(
        "ix_jobs_active",
        "jobs",
        ["state", "created_at"],
        sqlite_where=sa.text(_ACTIVE),
        postgresql_where=sa.text(_ACTIVE),
    )


def _make_the_house() -> None:
    house = op.create_table(
        "house",
        sa.Column("id", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("draining", sa.Boolean, nullable=False),
        sa.Column("usd_per_day", Usd),
        sa.Column("usd_per_month", Usd),
        sa.Column("queued_max", sa.Integer),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_house")),
        sa.CheckConstraint("id = 1", name=op.f("ck_house_single")),
    )
    op.bulk_insert(house, [{"id": 1, "draining": False}])
    op.create_table(
        "guilds",
        sa.Column("id", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("access", StorableText, nullable=False),
        sa.Column("granted_usd_per_day", Usd),
        sa.Column("granted_usd_per_month", Usd),
        sa.Column("welcomed_at", UtcDateTime),
        sa.Column("left_at", UtcDateTime),
        sa.Column("videos", sa.Integer),
        sa.Column("running", sa.Integer),
        sa.Column("pause_s", sa.Integer),
        sa.Column("window_hours", sa.Integer),
        sa.Column("admins_exempt", sa.Boolean, nullable=False),
        sa.Column("videos_per_day", sa.Integer),
        sa.Column("usd_per_day", Usd),
        sa.Column("usd_per_month", Usd),
        sa.Column("resolutions", StorableJson, nullable=False),
        sa.Column("age_restricted_only", sa.Boolean, nullable=False),
        sa.Column("approval", sa.Boolean, nullable=False),
        sa.Column("paused", sa.Boolean, nullable=False),
        sa.Column("strikes", sa.Integer, nullable=False),
        sa.Column("strike_pause_hours", sa.Integer, nullable=False),
        sa.Column("log_channel_id", sa.BigInteger),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_guilds")),
    )


def _make_what_admins_set() -> None:
    op.create_table(
        "tiers",
        sa.Column("guild_id", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("kind", StorableText, nullable=False),
        sa.Column("target_id", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("videos", sa.Integer),
        sa.Column("running", sa.Integer),
        sa.Column("pause_s", sa.Integer),
        sa.PrimaryKeyConstraint("guild_id", "kind", "target_id", name=op.f("pk_tiers")),
    )
    op.create_table(
        "places",
        sa.Column("guild_id", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("kind", StorableText, nullable=False),
        sa.Column("target_id", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("allowed", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("guild_id", "kind", "target_id", name=op.f("pk_places")),
    )
    op.create_table(
        "words",
        sa.Column("guild_id", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("text", StorableText, nullable=False),
        sa.Column("is_pattern", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("guild_id", "text", name=op.f("pk_words")),
    )
    op.create_table(
        "bans",
        sa.Column("guild_id", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("user_id", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("reason", StorableText, nullable=False),
        sa.Column("at", UtcDateTime, nullable=False),
        sa.Column("until", UtcDateTime),
        sa.Column("by", sa.BigInteger),
        sa.PrimaryKeyConstraint("guild_id", "user_id", name=op.f("pk_bans")),
    )
    op.create_table(
        "strikes",
        sa.Column("id", _SERIAL, nullable=False),
        sa.Column("guild_id", sa.BigInteger, nullable=False),
        sa.Column("user_id", sa.BigInteger, nullable=False),
        sa.Column("at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_strikes")),
    )
    op.create_index("ix_strikes_member", "strikes", ["guild_id", "user_id", "at"])


def _make_the_ledger() -> None:
    op.create_table(
        "grants",
        sa.Column("id", _SERIAL, nullable=False),
        sa.Column("guild_id", sa.BigInteger, nullable=False),
        sa.Column("user_id", sa.BigInteger, nullable=False),
        sa.Column("credits_left", sa.Integer, nullable=False),
        sa.Column("expires_at", UtcDateTime),
        sa.Column("at", UtcDateTime, nullable=False),
        sa.Column("by", sa.BigInteger),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_grants")),
        sa.CheckConstraint("credits_left >= 0", name=op.f("ck_grants_not_overdrawn")),
    )
    op.create_index("ix_grants_member", "grants", ["guild_id", "user_id"])
    op.create_table(
        "ledger",
        sa.Column("id", _SERIAL, nullable=False),
        sa.Column("kind", StorableText, nullable=False),
        sa.Column("guild_id", sa.BigInteger, nullable=False),
        sa.Column("user_id", sa.BigInteger, nullable=False),
        sa.Column("job_id", StorableText),
        sa.Column("grant_id", sa.BigInteger),
        sa.Column("at", UtcDateTime, nullable=False),
        sa.Column("counts_at", UtcDateTime, nullable=False),
        sa.Column("videos", sa.Integer, nullable=False),
        sa.Column("credits", sa.Integer, nullable=False),
        sa.Column("usd", Usd, nullable=False),
        sa.Column("by", sa.BigInteger),
        sa.Column("why", StorableText, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger")),
    )
    op.create_index("ix_ledger_member", "ledger", ["guild_id", "user_id", "counts_at"])
    op.create_index("ix_ledger_job", "ledger", ["job_id"])
    op.create_table(
        "totals",
        sa.Column("guild_id", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("day", sa.Date, nullable=False),
        sa.Column("videos", sa.Integer, nullable=False),
        sa.Column("usd", Usd, nullable=False),
        sa.PrimaryKeyConstraint("guild_id", "day", name=op.f("pk_totals")),
    )
    op.create_table(
        "prices",
        sa.Column("resolution", StorableText, nullable=False),
        sa.Column("usd", Usd, nullable=False),
        sa.Column("tasks", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("resolution", name=op.f("pk_prices")),
    )


def _make_the_reports() -> None:
    op.create_table(
        "changes",
        sa.Column("id", _SERIAL, nullable=False),
        sa.Column("guild_id", sa.BigInteger, nullable=False),
        sa.Column("at", UtcDateTime, nullable=False),
        sa.Column("by", sa.BigInteger),
        sa.Column("what", StorableText, nullable=False),
        sa.Column("before", StorableText),
        sa.Column("after", StorableText),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_changes")),
    )
    op.create_index("ix_changes_guild", "changes", ["guild_id", "at"])
    op.create_table(
        "notices",
        sa.Column("id", StorableText, nullable=False),
        sa.Column("guild_id", sa.BigInteger, nullable=False),
        sa.Column("channel_id", sa.BigInteger),
        sa.Column("key", StorableText),
        sa.Column("text", StorableText, nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("due_at", UtcDateTime),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("lease_token", StorableText),
        sa.Column("lease_until", UtcDateTime),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notices")),
        sa.UniqueConstraint("key", name=op.f("uq_notices_key")),
    )
    op.create_index(
        "ix_notices_due_at",
        "notices",
        ["due_at"],
        sqlite_where=sa.text("due_at IS NOT NULL"),
        postgresql_where=sa.text("due_at IS NOT NULL"),
    )


def _believed(cost: Decimal | None) -> Decimal:
    """A cost in the ledger's grain; what no video can have cost counts for nothing: no estimate is known."""
    if cost is None or not 0 <= cost < 1_000_000:  # noqa: PLR2004 - USD
        return Decimal(0)
    return cost.quantize(Decimal("0.000000001"), rounding=ROUND_CEILING)


def _take_over_the_quotas() -> None:
    """Jobs of before stand on the ledger as they stood on quotas, and with what is known of their cost."""
    jobs = sa.table(
        "jobs",
        sa.column("id", StorableText),
        sa.column("guild_id", sa.BigInteger),
        sa.column("user_id", sa.BigInteger),
        sa.column("created_at", UtcDateTime),
        sa.column("counted", sa.Boolean),
        sa.column("cost_usd", Money),
    )
    ledger = sa.table(
        "ledger",
        sa.column("kind", StorableText),
        sa.column("guild_id", sa.BigInteger),
        sa.column("user_id", sa.BigInteger),
        sa.column("job_id", StorableText),
        sa.column("at", UtcDateTime),
        sa.column("counts_at", UtcDateTime),
        sa.column("videos", sa.Integer),
        sa.column("credits", sa.Integer),
        sa.column("usd", Usd),
        sa.column("why", StorableText),
    )
    totals = sa.table(
        "totals",
        sa.column("guild_id", sa.BigInteger),
        sa.column("day", sa.Date),
        sa.column("videos", sa.Integer),
        sa.column("usd", Usd),
    )
    connection = op.get_bind()
    sums: defaultdict[tuple[int, date], tuple[int, Decimal]] = defaultdict(lambda: (0, Decimal(0)))
    entries: list[dict[str, Any]] = []
    now = datetime.now(UTC)
    for job in connection.execute(sa.select(jobs).where(sa.or_(jobs.c.counted, jobs.c.cost_usd.is_not(None)))):
        usd = _believed(job.cost_usd)
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
        connection.execute(
            sa.insert(totals),
            [
                {"guild_id": guild_id, "day": day, "videos": videos, "usd": usd}
                for (guild_id, day), (videos, usd) in sums.items()
            ],
        )
