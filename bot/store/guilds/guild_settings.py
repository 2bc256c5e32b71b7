"""Reads and writes what a server's admins and the operator have set, inside of the caller's transaction.

Whoever changes something that the acceptance of a job reads holds the house's row (`lock`) meanwhile, as each
acceptance does: so no job is let in by what was being changed.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import Row, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.domain.guilds import (
    Access,
    Ban,
    BlockedTerm,
    Budget,
    Guild,
    GuildSettings,
    LimitOverrides,
    OperatorState,
    PolicyEntry,
    PolicyEntryKind,
)
from bot.domain.jobs import Resolution
from bot.store.engine import insert_of
from bot.store.schema import (
    OPERATOR_STATE_ID,
    bans,
    blocked_terms,
    guilds,
    limit_overrides,
    operator_state,
    policy_entries,
)

_OPEN = {
    "access": Access.OPEN,
    "admins_exempt": False,
    "allowed_resolutions": sorted(Resolution),
    "age_restricted_only": False,
    "approval_required": False,
    "paused": False,
    "violation_limit": GuildSettings().violation_limit,
    "violation_pause_hours": GuildSettings().violation_pause_hours,
}


async def lock(connection: AsyncConnection) -> OperatorState:
    """What the operator has set by command, locked until the transaction ends."""
    return await look_at_house(connection, lock=True)


async def look_at_house(connection: AsyncConnection, *, lock: bool = False) -> OperatorState:
    """What the operator has set by command."""
    query = select(operator_state).where(operator_state.c.id == OPERATOR_STATE_ID)
    row = (await connection.execute(query.with_for_update() if lock else query)).one()
    return OperatorState(row.draining, Budget(row.usd_per_day, row.usd_per_month), row.max_queued)


async def get(connection: AsyncConnection, guild_id: int) -> Guild:
    """The server, as it was set; as a new one where nothing was."""
    row = (await connection.execute(select(guilds).where(guilds.c.id == guild_id))).one_or_none()
    return Guild(guild_id) if row is None else guild_of(row)


async def ensure(connection: AsyncConnection, guild_id: int) -> None:
    """Makes the server's row where there is none."""
    fresh = insert_of(connection, guilds).values(_OPEN | {"id": guild_id})
    await connection.execute(fresh.on_conflict_do_nothing())


async def write(connection: AsyncConnection, guild_id: int, columns: dict[str, Any]) -> None:
    """Sets columns of the server's row, made where there is none."""
    await ensure(connection, guild_id)
    await connection.execute(update(guilds).where(guilds.c.id == guild_id).values(columns))


def guild_of(row: Row[Any]) -> Guild:
    """The server that a row of `guilds` holds."""
    return Guild(
        id=row.id,
        settings=GuildSettings(
            limits=tier_of(row),
            window_hours=row.window_hours,
            admins_exempt=row.admins_exempt,
            videos_per_day=row.videos_per_day,
            budget=Budget(row.usd_per_day, row.usd_per_month),
            allowed_resolutions=frozenset(map(Resolution, row.allowed_resolutions)),
            age_restricted_only=row.age_restricted_only,
            approval_required=row.approval_required,
            paused=row.paused,
            violation_limit=row.violation_limit,
            violation_pause_hours=row.violation_pause_hours,
            log_channel_id=row.log_channel_id,
        ),
        access=Access(row.access),
        budget=Budget(row.granted_usd_per_day, row.granted_usd_per_month),
        welcomed_at=row.welcomed_at,
        left_at=row.left_at,
    )


def settings_columns(settings: GuildSettings) -> dict[str, Any]:
    """The columns of what admins set."""
    return {
        "videos_per_window": settings.limits.videos_per_window,
        "max_active": settings.limits.max_active,
        "cooldown_s": settings.limits.cooldown_s,
        "window_hours": settings.window_hours,
        "admins_exempt": settings.admins_exempt,
        "videos_per_day": settings.videos_per_day,
        "usd_per_day": settings.budget.usd_per_day,
        "usd_per_month": settings.budget.usd_per_month,
        "allowed_resolutions": sorted(settings.allowed_resolutions),
        "age_restricted_only": settings.age_restricted_only,
        "approval_required": settings.approval_required,
        "paused": settings.paused,
        "violation_limit": settings.violation_limit,
        "violation_pause_hours": settings.violation_pause_hours,
        "log_channel_id": settings.log_channel_id,
    }


def tier_of(row: Row[Any]) -> LimitOverrides:
    """The limits in a row of `tiers` or `guilds`."""
    return LimitOverrides(row.videos_per_window, row.max_active, row.cooldown_s)


async def role_tiers(connection: AsyncConnection, guild_id: int) -> dict[int, LimitOverrides]:
    """The limits that roles have, by role id."""
    return await _tiers(connection, guild_id, "role")


async def member_tiers(connection: AsyncConnection, guild_id: int) -> dict[int, LimitOverrides]:
    """The limits that single members have, by user id."""
    return await _tiers(connection, guild_id, "member")


async def _tiers(connection: AsyncConnection, guild_id: int, kind: str) -> dict[int, LimitOverrides]:
    rows = await connection.execute(
        select(limit_overrides).where(limit_overrides.c.guild_id == guild_id, limit_overrides.c.kind == kind)
    )
    return {row.target_id: tier_of(row) for row in rows}


async def member_tier(connection: AsyncConnection, guild_id: int, user_id: int) -> LimitOverrides | None:
    """The limits of one member's own."""
    is_theirs = (
        (limit_overrides.c.guild_id == guild_id)
        & (limit_overrides.c.kind == "member")
        & (limit_overrides.c.target_id == user_id)
    )
    query = select(limit_overrides).where(is_theirs)
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else tier_of(row)


async def all_places(connection: AsyncConnection, guild_id: int) -> tuple[PolicyEntry, ...]:
    """The channels and roles that are allowed or denied."""
    query = (
        select(policy_entries)
        .where(policy_entries.c.guild_id == guild_id)
        .order_by(policy_entries.c.kind, policy_entries.c.target_id)
    )
    rows = await connection.execute(query)
    return tuple(PolicyEntry(PolicyEntryKind(row.kind), row.target_id, row.allowed) for row in rows)


async def all_words(connection: AsyncConnection, guild_id: int) -> tuple[BlockedTerm, ...]:
    """What no prompt may hold."""
    rows = await connection.execute(
        select(blocked_terms).where(blocked_terms.c.guild_id == guild_id).order_by(blocked_terms.c.text)
    )
    return tuple(BlockedTerm(row.text, row.is_pattern) for row in rows)


async def ban_of(connection: AsyncConnection, guild_id: int, user_id: int, now: datetime) -> Ban | None:
    """The ban that holds for the member at `now`."""
    row = (
        await connection.execute(select(bans).where(bans.c.guild_id == guild_id, bans.c.user_id == user_id))
    ).one_or_none()
    if row is None or (row.expires_at is not None and row.expires_at <= now):
        return None
    return ban_from(row)


def ban_from(row: Row[Any]) -> Ban:
    """The ban that a row of `bans` holds."""
    return Ban(row.guild_id, row.user_id, row.reason, row.created_at, row.expires_at, row.actor_id)
