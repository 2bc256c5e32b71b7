"""Tells a server's moderators of members who were refused: each reason once an hour, where there is a log channel.

Opens transactions of its own: the one in which somebody was refused is undone.
"""

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.chat.messages.markdown import escaped, mention
from bot.domain.errors import QuotaRefused, RuleRefused
from bot.domain.policy import Requester, RuleName
from bot.domain.quotas import LimitName
from bot.store import schema as tables
from bot.store.engine import Database
from bot.store.guilds import guild_settings
from bot.store.outbox import notifications, operator_alerts

_OPERATORS = frozenset({LimitName.HOUSE_USD_DAY, LimitName.HOUSE_USD_MONTH})
"""Limits whose end the operator has to hear of."""

_PROMPT_SHOWN = 600
"""How much of a blocked prompt moderators are shown, in characters."""


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
        told = await connection.execute(select(tables.notices.c.id).where(tables.notices.c.key == key))
        if (
            name == RuleName.WORDS
            and guild.settings.strikes > 0
            and not await _is_paused(connection, requester, now)
        ):
            key = None
        if guild.settings.log_channel_id is None or (key is not None and told.one_or_none() is not None):
            return False
    said = f":\n> {escaped(prompt, _PROMPT_SHOWN)}" if name == RuleName.WORDS else ""
    reason = name.replace("_", " ")
    text = f"✋ {mention(requester.user_id)} was refused in <#{requester.channel_id}> (**{reason}**){said}"
    async with database.write() as connection:
        await notifications.post(connection, requester.guild_id, text, now, key=key)
    return True


async def _is_paused(connection: AsyncConnection, requester: Requester, now: datetime) -> bool:
    """Whether the member's blocked prompts have brought a pause already."""
    ban = await guild_settings.ban_of(connection, requester.guild_id, requester.user_id, now)
    return ban is not None and ban.by is None
