"""Reports for the operator: servers' usage, open work, a job's ledger. All inside the caller's transaction."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, case, func, not_, select, update

from bot.domain.guilds import Guild, OperatorState
from bot.domain.jobs import FailureReason, Job, JobState, ProviderName
from bot.domain.ledger import Entry, EntryKind, utc_day
from bot.domain.models import Catalog, TaskKind
from bot.store.engine import Connection
from bot.store.guilds import guild_settings
from bot.store.jobs import recovery
from bot.store.jobs.rows import entry_of, fetch_job
from bot.store.money import ledger as ledger_store
from bot.store.money_tables import daily_totals, ledger, task_prices
from bot.store.schema import COST_IS_HELD, EVERYWHERE, IS_ACTIVE, OPERATOR_STATE_ID, guilds, jobs, operator_state

_MODERATED = (FailureReason.DECLINED, FailureReason.EXPIRED, FailureReason.REJECTED)
"""How jobs fail that a moderator or the video service's moderation kept from being made."""

_NO_USD = Decimal(0)


@dataclass(frozen=True, slots=True)
class GuildUsage:
    """A server and its usage, by UTC days and months.

    videos, usd: what counts for limits and budgets, whether reserved or paid. asked: the jobs ordered this month.
    failed: how many of those failed, without what moderation kept from being made. active: the jobs that haven't
    ended. usd_by_provider: the part of `usd_month` that each provider's videos cost; empty where only one was ever
    used.
    """

    guild: Guild
    videos_today: int = 0
    usd_today: Decimal = _NO_USD
    videos_month: int = 0
    usd_month: Decimal = _NO_USD
    asked: int = 0
    failed: int = 0
    active: int = 0
    usd_by_provider: Mapping[ProviderName, Decimal] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class Price:
    """What tasks of a kind recently cost. usd: the average of the last `tasks`."""

    usd: Decimal
    tasks: int


@dataclass(frozen=True, slots=True)
class KindTotal:
    """The sum of this month's ledger entries of one kind."""

    lines: int
    usd: Decimal


@dataclass(frozen=True, slots=True)
class JobTotal:
    """How many jobs, and the sum of their estimated costs."""

    jobs: int
    usd: Decimal


async def guild_usage(connection: Connection, now: datetime, guild_id: int | None = None) -> list[GuildUsage]:
    """The servers with a row or any usage this month, the most expensive first. guild_id: only this one."""
    known = select(guilds) if guild_id is None else select(guilds).where(guilds.c.id == guild_id)
    settings = {row.id: guild_settings.guild_of(row) for row in await connection.execute(known)}
    figures: defaultdict[int, dict[str, Any]] = defaultdict(dict)
    for query, column in (
        (_spent_query(now), daily_totals.c.guild_id),
        (_requested_query(now), jobs.c.guild_id),
        (_active_query(), jobs.c.guild_id),
    ):
        counted = query if guild_id is None else query.where(column == guild_id)
        for row in (await connection.execute(counted)).mappings():
            figures[row["guild_id"]] |= {name: value for name, value in row.items() if name != "guild_id"}
    by_provider = await _usd_by_provider(connection, now, guild_id)
    for of_guild, usd in by_provider.items():
        figures[of_guild]["usd_by_provider"] = usd
    usage = [
        GuildUsage(settings.get(guild_id) or Guild(guild_id), **figures[guild_id])
        for guild_id in (settings.keys() | figures.keys()) - {EVERYWHERE}
    ]
    return sorted(usage, key=lambda use: (-use.usd_month, -use.asked, use.guild.id))


async def _usd_by_provider(
    connection: Connection, now: datetime, guild_id: int | None
) -> dict[int, dict[ProviderName, Decimal]]:
    """What each server's videos of this month cost at each provider; nothing where there was only ever one."""
    if not await ledger_store.are_several_providers_used(connection):
        return {}
    query = (
        select(ledger.c.guild_id, jobs.c.provider, func.sum(ledger.c.usd).label("usd"))
        .join(jobs, jobs.c.id == ledger.c.job_id)
        .where(jobs.c.created_at >= month_began(now), jobs.c.provider.is_not(None))
        .group_by(ledger.c.guild_id, jobs.c.provider)
    )
    if guild_id is not None:
        query = query.where(jobs.c.guild_id == guild_id)
    found: defaultdict[int, dict[ProviderName, Decimal]] = defaultdict(dict)
    for row in await connection.execute(query):
        if row.usd:
            found[row.guild_id][ProviderName(row.provider)] = row.usd
    return found


async def guild_ids(connection: Connection, now: datetime) -> list[int]:
    """The ids of the servers in `guild_usage`, the most expensive first.

    It doesn't read the jobs, so it is fast enough to be called on every keystroke.
    """
    spent = {row.guild_id: row.usd_month for row in await connection.execute(_spent_query(now))}
    found = (spent.keys() | set(await connection.scalars(select(guilds.c.id)))) - {EVERYWHERE}
    return sorted(found, key=lambda guild_id: (-spent.get(guild_id, _NO_USD), guild_id))


def _spent_query(now: datetime) -> Select[Any]:
    today = utc_day(now)
    is_today = daily_totals.c.day == today
    return (
        select(
            daily_totals.c.guild_id,
            func.sum(daily_totals.c.videos).label("videos_month"),
            func.sum(daily_totals.c.usd).label("usd_month"),
            func.sum(case((is_today, daily_totals.c.videos), else_=0)).label("videos_today"),
            func.sum(case((is_today, daily_totals.c.usd), else_=_NO_USD)).label("usd_today"),
        )
        .where(daily_totals.c.day >= today.replace(day=1))
        .group_by(daily_totals.c.guild_id)
    )


def _requested_query(now: datetime) -> Select[Any]:
    failed = (jobs.c.state == JobState.FAILED) & jobs.c.failure_reason.not_in(_MODERATED)
    return (
        select(jobs.c.guild_id, func.count().label("asked"), func.count(case((failed, 1))).label("failed"))
        .where(jobs.c.created_at >= month_began(now))
        .group_by(jobs.c.guild_id)
    )


def _active_query() -> Select[Any]:
    return select(jobs.c.guild_id, func.count().label("active")).where(IS_ACTIVE).group_by(jobs.c.guild_id)


async def reserved(connection: Connection) -> Decimal:
    """The USD reserved for jobs in progress whose cost is not known yet."""
    query = select(func.sum(jobs.c.estimated_cost_usd)).where(IS_ACTIVE, jobs.c.cost_usd.is_(None))
    return await connection.scalar(query) or _NO_USD


async def held(connection: Connection) -> JobTotal:
    """Ended jobs whose cost is unknown and still counts towards the budgets."""
    return await _estimates(connection, COST_IS_HELD)


_AT_ANY_TIME = jobs.c.cost_unknown_since.between(
    datetime(2000, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)
)
"""True for each row of the index. Without statistics, PostgreSQL takes "not null" for most rows, and reads all."""


async def held_at_providers(connection: Connection) -> dict[ProviderName, JobTotal]:
    """The same of each provider that has any. A restore ends jobs that no provider has yet."""
    totals = select(jobs.c.provider, func.count().label("jobs"), func.sum(jobs.c.estimated_cost_usd).label("usd"))
    query = totals.where(COST_IS_HELD, _AT_ANY_TIME, jobs.c.provider.is_not(None)).group_by(jobs.c.provider)
    return {
        ProviderName(row.provider): JobTotal(row.jobs, row.usd or _NO_USD)
        for row in await connection.execute(query)
    }


async def unanswered(connection: Connection) -> JobTotal:
    """Jobs whose submission was never answered and whose estimated cost no longer counts towards the budgets."""
    return await _estimates(connection, and_(recovery.NO_ANSWER, not_(COST_IS_HELD)))


async def _estimates(connection: Connection, which: ColumnElement[bool]) -> JobTotal:
    query = select(func.count(), func.sum(jobs.c.estimated_cost_usd)).where(which)
    count, usd = (await connection.execute(query)).one()
    return JobTotal(count, usd or _NO_USD)


async def learned_prices(connection: Connection) -> dict[TaskKind, Price]:
    """What tasks recently cost, by their kind."""
    return {
        TaskKind(row.provider, row.model, row.resolution, row.duration_s): Price(row.average_usd, row.task_count)
        for row in await connection.execute(select(task_prices))
    }


async def providers(connection: Connection, catalog: Catalog) -> list[ProviderName]:
    """The providers that are asked, in their order, and those that made anything before."""
    used = await ledger_store.providers_used(connection)
    return [*catalog.providers, *(name for name in ProviderName if name in used and name not in catalog.providers)]


async def totals_by_kind(connection: Connection, now: datetime) -> dict[EntryKind, KindTotal]:
    """The sums of the ledger entries of this month, by kind."""
    query = (
        select(ledger.c.kind, func.count().label("lines"), func.sum(ledger.c.usd).label("usd"))
        .where(ledger.c.effective_at >= month_began(now))
        .group_by(ledger.c.kind)
    )
    return {EntryKind(row.kind): KindTotal(row.lines, row.usd) for row in await connection.execute(query)}


@dataclass(frozen=True, slots=True)
class JobLedger:
    """A job with its ledger entries, oldest first. response: what its provider said last, as it was kept."""

    job: Job
    entries: tuple[Entry, ...] = ()
    response: Mapping[str, Any] | None = None


async def job_ledger(connection: Connection, job_id: str) -> JobLedger | None:
    """A job of any server, with its ledger entries."""
    found = await fetch_job(connection, jobs.c.id == job_id)
    if found is None:
        return None
    response = await connection.scalar(select(jobs.c.upstream_response).where(jobs.c.id == job_id))
    return JobLedger(found, tuple(await _entries(connection, job_id)), response)


async def _entries(connection: Connection, job_id: str) -> list[Entry]:
    rows = await connection.execute(select(ledger).where(ledger.c.job_id == job_id).order_by(ledger.c.id))
    return [entry_of(row) for row in rows]


async def log_channels(connection: Connection) -> Mapping[int, int]:
    """The servers' log channels, by server id."""
    query = select(guilds).where(guilds.c.log_channel_id.is_not(None))
    return {row.id: row.log_channel_id for row in await connection.execute(query)}


async def write_operator_state(connection: Connection, changed: OperatorState) -> None:
    """Stores the operator's settings. The operator state must be locked."""
    columns = {"draining": changed.draining, "max_queued": changed.max_queued, **asdict(changed.budget)}
    await connection.execute(
        update(operator_state).where(operator_state.c.id == OPERATOR_STATE_ID).values(columns)
    )


def month_began(now: datetime) -> datetime:
    """The start of this UTC month."""
    return datetime(now.year, now.month, 1, tzinfo=UTC)
