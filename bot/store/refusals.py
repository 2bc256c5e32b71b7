"""Tells a server's moderators of members who were refused: each reason once an hour, where there is a log channel.

Opens transactions of its own: the one in which somebody was refused is undone.
"""

from datetime import datetime

from sqlalchemy import select

from bot.errors import QuotaRefused, RuleRefused
from bot.markdown import mention
from bot.quotas import LimitName
from bot.rules import Asker
from bot.store import alerts, guilds, notices
from bot.store import schema as tables
from bot.store.engine import Database

_OPERATORS = frozenset({LimitName.HOUSE_USD_DAY, LimitName.HOUSE_USD_MONTH})
"""Limits whose end the operator has to hear of."""


async def report(database: Database, asker: Asker, refused: QuotaRefused | RuleRefused, now: datetime) -> bool:
    """Has the refusal told; False, and nothing is written, where nobody wants to know or it was told already."""
    if isinstance(refused, QuotaRefused) and refused.limit in _OPERATORS:
        async with database.write() as connection:
            await alerts.house_refused(connection, LimitName(refused.limit), now)
    name = refused.limit if isinstance(refused, QuotaRefused) else refused.rule
    key = f"refused:{asker.guild_id}:{asker.user_id}:{name}:{now:%Y-%m-%dT%H}"
    async with database.read() as connection:
        guild = await guilds.get(connection, asker.guild_id)
        told = await connection.execute(select(tables.notices.c.id).where(tables.notices.c.key == key))
        if guild.settings.log_channel_id is None or told.one_or_none() is not None:
            return False
    reason = name.replace("_", " ")
    text = f"✋ {mention(asker.user_id)} was refused in <#{asker.channel_id}> (**{reason}**):\n> {refused}"
    async with database.write() as connection:
        await notices.post(connection, asker.guild_id, text, now, key=key)
    return True
