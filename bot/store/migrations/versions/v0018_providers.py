"""Keeps who makes a job's video and with which model; gates, prices and durations become those of a provider.

Everything so far was made with one model by one provider. What its moderation refused is an end of its own.
"""

import sqlalchemy as sa
from alembic import op

from bot.store.types import StorableJson, StorableText, Usd, UtcDateTime, optional, required

revision = "0018"
down_revision = "0017"

_PROVIDER, _MODEL, _DURATION_S = "'vtrix'", "'wan22_i2v_flash'", "5"

_WERE_SUBMITTED = (
    "upstream_id IS NOT NULL OR submitted_at IS NOT NULL OR state = 'submitting' "
    "OR failure_reason IN ('outcome_unknown', 'lost')"
)
_WERE_REJECTED = "failure_reason IN ('refused', 'upstream_failed') AND failure_detail LIKE '%\"content_refused\"%'"


def upgrade() -> None:
    """Adds columns and tables, and fills them with what was true for everything before."""
    columns: list[sa.Column[object]] = [
        sa.Column("model", StorableText, nullable=False, server_default=sa.text(_MODEL)),
        sa.Column("duration_s", sa.Integer, nullable=False, server_default=sa.text(_DURATION_S)),
        *optional(StorableText, "provider", "refused_by"),
        *optional(UtcDateTime, "provider_since"),
        *optional(StorableJson, "upstream_urls"),
        sa.Column("can_be_stopped", sa.Boolean, nullable=False, server_default=sa.false()),
        *optional(StorableText, "stop_result"),
    ]
    for column in columns:
        op.add_column("jobs", column)
    op.execute(f"UPDATE jobs SET provider = {_PROVIDER} WHERE {_WERE_SUBMITTED}")  # noqa: S608 - constants
    op.execute(f"UPDATE jobs SET failure_reason = 'rejected' WHERE {_WERE_REJECTED}")  # noqa: S608 - constants
    op.add_column("guilds", sa.Column("allowed_models", StorableJson))
    op.add_column("guilds", sa.Column("quotes_shown", sa.Boolean, nullable=False, server_default=sa.true()))
    op.add_column("extensions", sa.Column("seconds", sa.Integer, nullable=False, server_default=sa.text("0")))
    op.execute(f"UPDATE extensions SET seconds = pieces * {_DURATION_S}")  # noqa: S608 - constants
    _gates()
    _prices()
    _durations()
    _totals()


def _gates() -> None:
    op.create_table(
        "submission_gates",
        sa.Column("provider", StorableText, nullable=False),
        *optional(UtcDateTime, "opens_at"),
        *optional(StorableText, "reason"),
        *required(sa.Integer, "consecutive_failures"),
        *optional(UtcDateTime, "next_submit_at"),
        sa.PrimaryKeyConstraint("provider", name="pk_submission_gates"),
    )
    columns = "opens_at, reason, consecutive_failures, next_submit_at"
    op.execute(
        f"INSERT INTO submission_gates (provider, {columns}) "  # noqa: S608 - constants
        f"SELECT {_PROVIDER}, {columns} FROM submission_gate "
        "WHERE consecutive_failures > 0 OR coalesce(opens_at, next_submit_at) IS NOT NULL"
    )
    op.drop_table("submission_gate")


def _prices() -> None:
    op.create_table(
        "task_prices",
        *required(StorableText, "provider", "model", "resolution"),
        *required(sa.Integer, "duration_s"),
        *required(Usd, "average_usd"),
        *required(sa.Integer, "task_count"),
        sa.PrimaryKeyConstraint("provider", "model", "resolution", "duration_s", name="pk_task_prices"),
    )
    op.execute(
        "INSERT INTO task_prices (provider, model, resolution, duration_s, average_usd, task_count) "  # noqa: S608
        f"SELECT {_PROVIDER}, {_MODEL}, resolution, {_DURATION_S}, average_usd, task_count FROM prices"
    )
    op.drop_table("prices")


def _durations() -> None:
    for name, default in (("provider", _PROVIDER), ("model", _MODEL)):
        column = sa.Column(name, StorableText, nullable=False, server_default=sa.text(default))
        op.add_column("task_durations", column)
    seconds = sa.Column("duration_s", sa.Integer, nullable=False, server_default=sa.text(_DURATION_S))
    op.add_column("task_durations", seconds)
    op.drop_index("ix_task_durations_resolution", "task_durations")
    columns = ["provider", "model", "resolution", "duration_s", "id"]
    op.create_index("ix_task_durations_kind", "task_durations", columns)


def _totals() -> None:
    op.create_table(
        "provider_totals",
        *required(StorableText, "provider"),
        sa.Column("day", sa.Date, nullable=False),
        *required(Usd, "usd"),
        sa.PrimaryKeyConstraint("provider", "day", name="pk_provider_totals"),
    )
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    day = "substr(effective_at, 1, 10)" if is_sqlite else "(effective_at AT TIME ZONE 'UTC')::date"
    op.execute(
        f"INSERT INTO provider_totals (provider, day, usd) SELECT jobs.provider, {day}, sum(ledger.usd) "  # noqa: S608
        f"FROM ledger JOIN jobs ON jobs.id = ledger.job_id WHERE jobs.provider IS NOT NULL GROUP BY 1, 2"
    )
