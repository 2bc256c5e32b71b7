"""Tells a server's moderators of members who were refused: each reason once an hour, where there is a log channel.

Opens transactions of its own: the one in which somebody was refused is undone.
"""

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.domain.errors import QuotaRefused, RuleRefused
from bot.domain.notifications import MemberRefused
from bot.domain.policy import Requester, RuleName
from bot.domain.quotas import LimitName
from bot.store import schema as tables
from bot.store.engine import Database
from bot.store.guilds import bans, guild_settings
from bot.store.jobs import operator_alerts
from bot.store.outbox import notifications

_OPERATORS = frozenset({LimitName.TOTAL_USD_DAY, LimitName.TOTAL_USD_MONTH})
"""Limits whose end the operator has to hear of."""


async def report(
    database: Database, requester: Requester, refused: QuotaRefused | RuleRefused, now: datetime, *, prompt: str
) -> bool:
    """Has the refusal told; False, and nothing is written, where nobody wants to know or it was told already.

    prompt: shown to the moderators where it was blocked. They see each one that counts as a strike: those are few,
    as of what was sent together with the one that paused the member, only one is told.
    """
    if isinstance(refused, QuotaRefused) and refused.limit in _OPERATORS:
        async with database.write() as connection:
            await operator_alerts.house_refused(connection, LimitName(refused.limit), now)
    name = refused.limit if isinstance(refused, QuotaRefused) else refused.rule
    key: str | None = f"refused:{requester.guild_id}:{requester.user_id}:{name}:{now:%Y-%m-%dT%H}"
    async with database.read() as connection:
        guild = await guild_settings.get(connection, requester.guild_id)
        told = await connection.execute(select(tables.notifications.c.id).where(tables.notifications.c.key == key))
        if (
            name == RuleName.WORDS
            and guild.settings.violation_limit > 0
            and not await _is_paused(connection, requester, now)
        ):
            key = None
        if guild.settings.log_channel_id is None or (key is not None and told.one_or_none() is not None):
            return False
    shown = prompt if name == RuleName.WORDS else None
    refusal = MemberRefused(requester.user_id, requester.channel_id, name, shown)
    async with database.write() as connection:
        await notifications.post(connection, requester.guild_id, refusal, now, key=key)
    return True


async def _is_paused(connection: AsyncConnection, requester: Requester, now: datetime) -> bool:
    """Whether the member's blocked prompts have brought a pause already."""
    ban = await bans.active_ban(connection, requester.guild_id, requester.user_id, now)
    return ban is not None and ban.actor_id is None
