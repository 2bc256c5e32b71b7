"""Reports refused members in the server's log channel: each reason once an hour per member.

Opens its own transactions, because the one in which a member was refused is rolled back.
"""

from datetime import datetime

from sqlalchemy import select

from bot.domain.errors import QuotaRefused, RuleRefused
from bot.domain.notifications import MemberRefused
from bot.domain.policy import Requester, RuleName
from bot.domain.quotas import LimitName
from bot.store import schema as tables
from bot.store.engine import Connection, Database
from bot.store.guilds import bans, guild_settings
from bot.store.jobs import budget_alerts
from bot.store.outbox import notifications


async def report(
    database: Database, requester: Requester, refused: QuotaRefused | RuleRefused, now: datetime, *, prompt: str
) -> bool:
    """Queues a report of the refusal; False, with nothing written, if none is wanted or it was reported already.

    prompt: shown to the moderators if it was blocked. They see each blocked prompt that counts; prompts sent
    together with the one that led to a pause are reported once.
    """
    if isinstance(refused, QuotaRefused) and refused.limit in budget_alerts.PERIODS:
        async with database.write() as connection:
            await budget_alerts.budget_refused(connection, LimitName(refused.limit), now)
    name = refused.limit if isinstance(refused, QuotaRefused) else refused.rule
    async with database.read() as connection:
        settings = (await guild_settings.get(connection, requester.guild_id)).settings
        if settings.log_channel_id is None:
            return False
        counts = name == RuleName.BLOCKED_TERM and settings.violation_limit > 0
        if counts and not await _is_paused(connection, requester, now):
            key = None
        else:
            key = f"refused:{requester.guild_id}:{requester.user_id}:{name}:{now:%Y-%m-%dT%H}"
            same = select(tables.notifications.c.id).where(tables.notifications.c.key == key)
            if await connection.scalar(same) is not None:
                return False
    shown = prompt if name == RuleName.BLOCKED_TERM else None
    refusal = MemberRefused(requester.user_id, requester.channel_id, name, shown)
    async with database.write() as connection:
        await notifications.post(connection, requester.guild_id, refusal, now, key=key)
    return True


async def _is_paused(connection: Connection, requester: Requester, now: datetime) -> bool:
    """Whether the member is already paused for blocked prompts."""
    ban = await bans.active_ban(connection, requester.guild_id, requester.user_id, now)
    return ban is not None and ban.actor_id is None
