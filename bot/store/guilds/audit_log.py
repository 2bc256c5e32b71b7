"""The audit log: who did what, and how it was before and after. Functions work inside the caller's transaction."""

from dataclasses import asdict
from typing import Any

from sqlalchemy import Row, insert, select

from bot.domain.audit_log import Action, AuditedChange, AuditEntry, TargetKind
from bot.store.engine import Connection
from bot.store.schema import audit_log


async def record(connection: Connection, entry: AuditEntry) -> None:
    """Stores an entry."""
    columns = asdict(entry.change)
    columns["what"] = columns.pop("legacy_what")
    row = insert(audit_log).values(guild_id=entry.guild_id, at=entry.created_at, by=entry.actor_id, **columns)
    await connection.execute(row)


async def latest(connection: Connection, guild_id: int, limit: int) -> list[AuditEntry]:
    """A server's latest entries, newest first. guild_id: 0 for the operator's own log."""
    query = (
        select(audit_log)
        .where(audit_log.c.guild_id == guild_id)
        .order_by(audit_log.c.at.desc(), audit_log.c.id.desc())
        .limit(limit)
    )
    return [audit_entry_of(row) for row in await connection.execute(query)]


def audit_entry_of(row: Row[Any]) -> AuditEntry:
    """The entry that a row holds."""
    kind = None if row.target_kind is None else TargetKind(row.target_kind)
    change = AuditedChange(Action(row.action), kind, row.target_id, row.before, row.after, row.what)
    return AuditEntry(row.guild_id, row.at, row.by, change)
