"""Counts a member's blocked prompts, and pauses the member for whom they are too many.

Functions work inside the caller's transaction and hold the house's row, so that prompts which arrive together
are counted one after the other. The pause is a ban like an admin's, made by nobody.
"""

from datetime import datetime, timedelta

from sqlalchemy import delete, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.chat.messages.markdown import escaped, mention
from bot.domain.guilds import BLOCKED_PROMPTS, Ban, Guild
from bot.store.guilds import bans, guild_settings
from bot.store.outbox import notifications
from bot.store.schema import strikes

WITHIN = timedelta(hours=24)
"""Blocked prompts that are older than this are forgotten."""

_PROMPT_ROOM = 1200
"""What moderators are shown of a prompt, in characters: it leaves room for the words around it."""


async def add(
    connection: AsyncConnection, guild: Guild, user_id: int, now: datetime, *, prompt: str | None = None
) -> Ban | None:
    """Counts a blocked prompt; the pause that it brings, None where it brings none.

    prompt: shown to the moderators in the log channel where a pause follows. A pause never shortens a ban that
    stands, and what led to it is forgotten: after it, the count begins anew.
    """
    most = guild.settings.strikes
    if most <= 0:
        return None
    await guild_settings.lock(connection)
    standing = await guild_settings.ban_of(connection, guild.id, user_id, now)
    if standing is not None and standing.by is None:
        return standing  # it was on its way in when the pause came, and belongs to it
    await connection.execute(insert(strikes).values(guild_id=guild.id, user_id=user_id, at=now))
    if await _recent(connection, guild.id, user_id, now) < most:
        return None
    await forget(connection, guild.id, user_id)
    until = now + timedelta(hours=guild.settings.strike_pause_hours)
    if standing is not None and (standing.until is None or standing.until >= until):
        return standing
    times = "once" if most == 1 else f"{most} times within a day"
    ban = Ban(guild.id, user_id, BLOCKED_PROMPTS, now, until)
    await bans.put(connection, ban)
    await notifications.post(connection, guild.id, _told(ban, times, prompt), now)
    return ban


async def left(connection: AsyncConnection, guild: Guild, user_id: int, now: datetime) -> int | None:
    """How many more blocked prompts bring a pause; None where none does."""
    most = guild.settings.strikes
    return None if most <= 0 else max(1, most - await _recent(connection, guild.id, user_id, now))


async def forget(connection: AsyncConnection, guild_id: int, user_id: int) -> None:
    """Forgets the member's blocked prompts in the server."""
    await connection.execute(delete(strikes).where(strikes.c.guild_id == guild_id, strikes.c.user_id == user_id))


async def _recent(connection: AsyncConnection, guild_id: int, user_id: int, now: datetime) -> int:
    query = (
        select(func.count())
        .select_from(strikes)
        .where(strikes.c.guild_id == guild_id, strikes.c.user_id == user_id, strikes.c.at > now - WITHIN)
    )
    return (await connection.execute(query)).scalar_one()


def _told(ban: Ban, times: str, prompt: str | None) -> str:
    until = "" if ban.until is None else f" until <t:{int(ban.until.timestamp())}:f>"
    shown = "" if prompt is None else f" The last:\n> {escaped(prompt, _PROMPT_ROOM)}"
    return (
        f"🚫 {mention(ban.user_id)} is paused{until}: blocked words {times}. "
        f"`/video-admin unban` ends it earlier.{shown}"
    )
