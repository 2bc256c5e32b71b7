"""Counts a member's blocked prompts, and pauses the member after too many.

Where a server wants it, what the video service's moderation refuses counts as well
(`bot.store.jobs.refused_content`).

Functions run in the caller's transaction and lock the `operator_state` row, so that prompts that arrive together
are counted one by one. The pause is a ban without an actor.
"""

from datetime import datetime, timedelta

from sqlalchemy import delete, func, insert, select

from bot.domain.guilds import BLOCKED_PROMPTS, Ban, Guild
from bot.domain.notifications import MemberPaused
from bot.store.engine import Connection
from bot.store.guilds import bans, guild_settings
from bot.store.outbox import notifications
from bot.store.schema import violations

WITHIN = timedelta(hours=24)
"""Older blocked prompts no longer count."""


async def add(
    connection: Connection, guild: Guild, user_id: int, now: datetime, *, prompt: str | None = None
) -> Ban | None:
    """Counts a blocked prompt and returns the pause it leads to, or None.

    prompt: shown to the moderators in the log channel if a pause follows. A pause never shortens an existing ban.
    After a pause the count starts again.
    """
    limit = guild.settings.violation_limit
    if limit <= 0:
        return None
    await guild_settings.lock_operator_state(connection)
    active = await bans.active_ban(connection, guild.id, user_id, now)
    if active is not None and active.actor_id is None:
        return active  # it was sent before the pause and is part of what led to it
    await connection.execute(insert(violations).values(guild_id=guild.id, user_id=user_id, created_at=now))
    if await _recent(connection, guild.id, user_id, now) < limit:
        return None
    await forget(connection, guild.id, user_id)
    until = now + timedelta(hours=guild.settings.violation_pause_hours)
    if active is not None and (active.expires_at is None or active.expires_at >= until):
        return active
    ban = Ban(guild.id, user_id, BLOCKED_PROMPTS, now, until)
    await bans.put(connection, ban)
    paused = MemberPaused(user_id, int(until.timestamp()), limit, prompt)
    await notifications.post(connection, guild.id, paused, now)
    return ban


async def remaining(connection: Connection, guild: Guild, user_id: int, now: datetime) -> int | None:
    """How many more blocked prompts lead to a pause; None if the server sets no limit."""
    limit = guild.settings.violation_limit
    return None if limit <= 0 else max(1, limit - await _recent(connection, guild.id, user_id, now))


async def forget(connection: Connection, guild_id: int, user_id: int) -> None:
    """Deletes the member's blocked prompts in the server."""
    await connection.execute(delete(violations).filter_by(guild_id=guild_id, user_id=user_id))


async def _recent(connection: Connection, guild_id: int, user_id: int, now: datetime) -> int:
    query = select(func.count()).select_from(violations).filter_by(guild_id=guild_id, user_id=user_id)
    return await connection.scalar(query.where(violations.c.created_at > now - WITHIN)) or 0
