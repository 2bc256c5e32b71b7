"""What every act of the operator has in common: who it is, and how it is logged."""

from dataclasses import dataclass
from datetime import datetime

from bot.domain.audit_log import AuditedChange, AuditEntry
from bot.domain.notifications import ActionLogged
from bot.store.engine import Connection
from bot.store.guilds import audit_log as audit_log_store
from bot.store.outbox import notifications
from bot.store.schema import EVERYWHERE


@dataclass(frozen=True, slots=True)
class Operator:
    """Who acts as the operator; checked by whoever makes one."""

    user_id: int


async def record(
    connection: Connection,
    operator: Operator,
    now: datetime,
    change: AuditedChange,
    *,
    guild_id: int | None = None,
) -> AuditEntry:
    """Logs the change, where it is one. guild_id: the only server it is about, which is not told by whom."""
    entry = AuditEntry(EVERYWHERE, now, operator.user_id, change)
    if not change.is_change:
        return entry
    entries = [entry] if guild_id is None else [entry, AuditEntry(guild_id, now, None, change)]
    for it in entries:
        await audit_log_store.record(connection, it)
        place = notifications.TO_OPERATOR if it is entry else it.guild_id
        await notifications.post(connection, place, ActionLogged(it.guild_id, it.by, change), now)
    return entry
