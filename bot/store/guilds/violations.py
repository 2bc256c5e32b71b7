"""Counts a member's blocked prompts, and pauses the member for whom they are too many.

Functions work inside the caller's transaction and hold the house's row, so that prompts which arrive together
are counted one after the other. The pause is a ban like an admin's, made by nobody.
"""

from datetime import datetime, timedelta

from sqlalchemy import delete, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.domain.guilds import BLOCKED_PROMPTS, Ban, Guild
from bot.domain.notifications import MemberPaused
from bot.store.guilds import bans, guild_settings
from bot.store.outbox import notifications
from bot.store.schema import violations

WITHIN = timedelta(hours=24)
"""Blocked prompts that are older than this are forgotten."""


async def add(
    connection: AsyncConnection, guild: Guild, user_id: int, now: datetime, *, prompt: str | None = None
) -> Ban | None:
    """Counts a blocked prompt; the pause that it brings, None where it brings none.

    prompt: shown to the moderators in the log channel where a pause follows. A pause never shortens a ban that
    stands, and what led to it is forgotten: after it, the count begins anew.
    """
    most = guild.settings.violation_limit
    if most <= 0:
        return None
    await guild_settings.lock_operator_state(connection)
    standing = await bans.active_ban(connection, guild.id, user_id, now)
    if standing is not None and standing.actor_id is None:
        return standing  # it was on its way in when the pause came, and belongs to it
    await connection.execute(insert(violations).values(guild_id=guild.id, user_id=user_id, created_at=now))
    if await _recent(connection, guild.id, user_id, now) < most:
        return None
    await forget(connection, guild.id, user_id)
    until = now + timedelta(hours=guild.settings.violation_pause_hours)
    if standing is not None and (standing.expires_at is None or standing.expires_at >= until):
        return standing
    ban = Ban(guild.id, user_id, BLOCKED_PROMPTS, now, until)
    await bans.put(connection, ban)
    paused = MemberPaused(user_id, int(until.timestamp()), most, prompt)
    await notifications.post(connection, guild.id, paused, now)
    return ban


async def left(connection: AsyncConnection, guild: Guild, user_id: int, now: datetime) -> int | None:
    """How many more blocked prompts bring a pause; None where none does."""
    most = guild.settings.violation_limit
    return None if most <= 0 else max(1, most - await _recent(connection, guild.id, user_id, now))


async def forget(connection: AsyncConnection, guild_id: int, user_id: int) -> None:
    """Forgets the member's blocked prompts in the server."""
    await connection.execute(
        delete(violations).where(violations.c.guild_id == guild_id, violations.c.user_id == user_id)
    )


async def _recent(connection: AsyncConnection, guild_id: int, user_id: int, now: datetime) -> int:
    query = (
        select(func.count())
        .select_from(violations)
        .where(
            violations.c.guild_id == guild_id,
            violations.c.user_id == user_id,
            violations.c.created_at > now - WITHIN,
        )
    )
    return (await connection.execute(query)).scalar_one()
