"""The tables of money, as the migrations build them: the ledger, its sums, and what tasks cost.

`ledger` explains each number that a limit sees; `daily_totals`, `provider_totals` and `credit_grants.credits_left`
are its sums, written in the same transaction.
"""

from sqlalchemy import BigInteger, CheckConstraint, Column, Date, Index, Integer, MetaData, Table

from bot.store.types import CONSTRAINT_NAMES, BigSerial, StorableText, Usd, UtcDateTime, keys, optional, required

metadata = MetaData(naming_convention=CONSTRAINT_NAMES)
"""Of all tables, here and in `bot.store.schema`."""

# Extra videos for a member. `credits_left`: the sum of the grant's entries in the ledger.
credit_grants = Table(
    "credit_grants",
    metadata,
    Column("id", BigSerial, primary_key=True),
    *required(BigInteger, "guild_id", "user_id"),
    Column("credits_left", Integer, CheckConstraint("credits_left >= 0", name="not_overdrawn"), nullable=False),
    *optional(UtcDateTime, "expires_at"),
    *required(UtcDateTime, "created_at"),
    *optional(BigInteger, "actor_id"),
)
Index("ix_credit_grants_member", credit_grants.c.guild_id, credit_grants.c.user_id)
Index("ix_credit_grants_user", credit_grants.c.user_id)

ledger = Table(
    "ledger",
    metadata,
    Column("id", BigSerial, primary_key=True),
    *required(StorableText, "kind"),
    *required(BigInteger, "guild_id", "user_id"),
    *optional(StorableText, "job_id"),
    *optional(BigInteger, "credit_grant_id"),
    *required(UtcDateTime, "created_at", "effective_at"),
    *required(Integer, "videos", "credits"),
    *required(Usd, "usd"),
    *optional(BigInteger, "actor_id"),
    *required(StorableText, "reason"),
)
Index("ix_ledger_member", ledger.c.guild_id, ledger.c.user_id, ledger.c.effective_at)
# A job's entries; with its amounts, so that a server's usage sums them without reading the entries themselves.
Index("ix_ledger_job", ledger.c.job_id, ledger.c.usd)
Index("ix_ledger_user", ledger.c.user_id)

# The sums of each day's ledger entries, for each server and (guild_id 0) for all together.
daily_totals = Table(
    "daily_totals",
    metadata,
    *keys("guild_id"),
    Column("day", Date, primary_key=True),
    *required(Integer, "videos"),
    *required(Usd, "usd"),
)

# The same for each provider: the entries of jobs that it makes or made, on the day on which it got each. A job
# that is queued again is nobody's.
provider_totals = Table(
    "provider_totals",
    metadata,
    Column("provider", StorableText, primary_key=True),
    Column("day", Date, primary_key=True),
    *required(Usd, "usd"),
)

# What tasks of each kind recently cost, see `bot.domain.models.TaskKind`: a moving average.
task_prices = Table(
    "task_prices",
    metadata,
    *(Column(name, StorableText, primary_key=True) for name in ("provider", "model", "resolution")),
    Column("duration_s", Integer, primary_key=True, autoincrement=False),
    *required(Usd, "average_usd"),
    *required(Integer, "task_count"),
)
