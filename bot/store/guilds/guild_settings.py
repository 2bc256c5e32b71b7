"""Reads and writes servers' settings and the operator's state, inside the caller's transaction.

Whoever changes what an acceptance reads first locks the operator state (`lock_operator_state`), as each acceptance
does: no job is accepted under settings that are being changed.
"""

from dataclasses import asdict, fields
from typing import Any

from sqlalchemy import Row, select, update

from bot.domain.guilds import Access, Budget, Guild, GuildSettings, LimitOverrides, OperatorState
from bot.domain.jobs import Resolution
from bot.store.engine import Connection
from bot.store.schema import OPERATOR_STATE_ID, guilds, operator_state
from bot.store.upserts import insert_of

_NESTED = {"limits", "budget", "allowed_resolutions", "allowed_models"}
_PLAIN_SETTINGS = [field.name for field in fields(GuildSettings) if field.name not in _NESTED]
"""The settings that one column each holds as they are."""


async def lock_operator_state(connection: Connection) -> OperatorState:
    """The operator's settings made by command, locked until the transaction ends."""
    return await operator_state_of(connection, lock=True)


async def operator_state_of(connection: Connection, *, lock: bool = False) -> OperatorState:
    """The operator's settings made by command."""
    query = select(operator_state).where(operator_state.c.id == OPERATOR_STATE_ID)
    row = (await connection.execute(query.with_for_update() if lock else query)).one()
    return OperatorState(row.draining, Budget(row.usd_per_day, row.usd_per_month), row.max_queued)


async def get(connection: Connection, guild_id: int) -> Guild:
    """The server's settings; the defaults where none are stored."""
    row = (await connection.execute(select(guilds).where(guilds.c.id == guild_id))).one_or_none()
    return Guild(guild_id) if row is None else guild_of(row)


async def ensure(connection: Connection, guild_id: int) -> None:
    """Creates the server's row if there is none."""
    row = settings_columns(GuildSettings()) | {"id": guild_id, "access": Access.OPEN}
    await connection.execute(insert_of(connection, guilds).values(row).on_conflict_do_nothing())


async def write(connection: Connection, guild_id: int, columns: dict[str, Any]) -> None:
    """Sets columns of the server's row, creating it if needed."""
    await ensure(connection, guild_id)
    await connection.execute(update(guilds).where(guilds.c.id == guild_id).values(columns))


def guild_of(row: Row[Any]) -> Guild:
    """The server that a row of `guilds` holds."""
    return Guild(
        id=row.id,
        settings=GuildSettings(
            limits=overrides_of(row),
            budget=Budget(row.usd_per_day, row.usd_per_month),
            allowed_resolutions=frozenset(map(Resolution, row.allowed_resolutions)),
            allowed_models=None if row.allowed_models is None else frozenset(row.allowed_models),
            **{name: getattr(row, name) for name in _PLAIN_SETTINGS},
        ),
        access=Access(row.access),
        budget=Budget(row.granted_usd_per_day, row.granted_usd_per_month),
        welcomed_at=row.welcomed_at,
        left_at=row.left_at,
    )


def settings_columns(settings: GuildSettings) -> dict[str, Any]:
    """The columns that hold admins' settings."""
    columns = {name: getattr(settings, name) for name in _PLAIN_SETTINGS}
    columns["allowed_resolutions"] = sorted(settings.allowed_resolutions)
    models = settings.allowed_models
    columns["allowed_models"] = None if models is None else sorted(models)
    return columns | asdict(settings.limits) | asdict(settings.budget)


def overrides_of(row: Row[Any]) -> LimitOverrides:
    """The limits in a row of `limit_overrides` or `guilds`."""
    return LimitOverrides(row.videos_per_window, row.max_active, row.cooldown_s)
