"""What every act of the operator has in common: who it is, and how it is written down and told."""

from dataclasses import dataclass
from datetime import datetime

from bot.chat.messages.markdown import escaped, mention
from bot.domain.guilds import OPERATORS, Change
from bot.store.engine import Connection
from bot.store.guilds import audit_log
from bot.store.outbox import notifications
from bot.store.schema import EVERYWHERE

SHOWN_MAX = 300
"""How much of a value log channels are shown, in characters."""


@dataclass(frozen=True, slots=True)
class Operator:
    """Who acts as the operator; checked by whoever makes one."""

    user_id: int


async def record(
    connection: Connection,
    operator: Operator,
    now: datetime,
    what: str,
    before: str | None,
    after: str | None,
    *,
    guild_id: int | None = None,
) -> Change:
    """Writes a change down and has it told, where it is one. guild_id: the only server it is about."""
    whose = what if guild_id is None else f"{what} of server {guild_id}"
    change = Change(EVERYWHERE, now, operator.user_id, whose, before, after)
    if before == after:
        return change
    shown = f"{_shown(before)} → {_shown(after)}"
    await audit_log.record(connection, change)
    told = f"⚙️ {mention(operator.user_id)} changed **{escaped(whose)}**: {shown}"
    await notifications.post(connection, notifications.TO_OPERATOR, told, now)
    if guild_id is not None:
        await audit_log.record(connection, Change(guild_id, now, None, f"{OPERATORS}{what}", before, after))
        told = f"⚙️ The operator of this bot changed **{escaped(what)}** for this server: {shown}"
        await notifications.post(connection, guild_id, told, now)
    return change


def _shown(value: str | None) -> str:
    return "nothing" if value is None else escaped(value, SHOWN_MAX)
