"""Who acts as the operator, and how changes are logged."""

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
    """Who acts as the operator. Whoever creates one has checked it."""

    user_id: int


async def record(
    connection: Connection,
    operator: Operator,
    now: datetime,
    change: AuditedChange,
    *,
    guild_id: int | None = None,
) -> AuditEntry:
    """Logs a real change. guild_id: the one server that it is about; its log doesn't name the operator."""
    entry = AuditEntry(EVERYWHERE, now, operator.user_id, change)
    if not change.is_change:
        return entry
    entries = [entry] if guild_id is None else [entry, AuditEntry(guild_id, now, None, change)]
    for logged in entries:
        await audit_log_store.record(connection, logged)
        to = notifications.TO_OPERATOR if logged is entry else logged.guild_id
        await notifications.post(connection, to, ActionLogged(logged.guild_id, logged.actor_id, change), now)
    return entry
