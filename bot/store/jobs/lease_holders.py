"""Which workers there are, and the jobs that each holds under a lease, inside the caller's transaction.

A lease's token begins with the name of the process that took it. On PostgreSQL, each process's connections carry
its name too, so that an idle worker is seen as well; a SQLite file has one process, which is the one that asks.
"""

import secrets
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import func, select, text

from bot.domain.jobs import JobState
from bot.operations.process_name import APPLICATION, process_name
from bot.store.engine import Connection
from bot.store.schema import AWAITS_POLL, AWAITS_STAGE, jobs

_END_OF_NAME = "~"

_LEASES_READ = 1000
"""How many running jobs, and how many others, are read for their leases: those that are due first."""

_CONNECTED = text(
    "SELECT application_name AS name, min(backend_start) AS since, max(state_change) AS seen_at "
    "FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE :ours GROUP BY 1"
)


@dataclass(frozen=True, slots=True)
class LeaseHolder:
    """A process that works on the database.

    connected_since, seen_at: of its connections, by the server's clock: since when the oldest is open, and when it
    last began or ended a statement; None on SQLite, and for one that has none any more. leases: how many jobs of
    each state it holds. lease_until: when the last of its leases ends, by the clock of leases.
    """

    name: str
    connected_since: datetime | None = None
    seen_at: datetime | None = None
    leases: Mapping[JobState, int] = field(default_factory=dict)
    lease_until: datetime | None = None

    @property
    def held(self) -> int:
        """How many jobs it holds."""
        return sum(self.leases.values())


def new_token() -> str:
    """A token for a lease: random, after the name of this process."""
    return f"{process_name()}{_END_OF_NAME}{secrets.token_urlsafe(12)}"


def holder_of(token: str | None) -> str | None:
    """The name of the process that took a lease; None for no lease, and for one of a version without names."""
    name, found, _ = (token or "").rpartition(_END_OF_NAME)
    return name if found else None


async def lease_holders(connection: Connection) -> list[LeaseHolder]:
    """All processes with a lease or, on PostgreSQL, a connection; by name."""
    held: defaultdict[str, dict[JobState, int]] = defaultdict(dict)
    ends: dict[str, datetime] = {}
    for row in await _leases(connection):
        name = holder_of(row.lease_token) or ""
        state = JobState(row.state)
        held[name][state] = held[name].get(state, 0) + row.count
        ends[name] = max(ends.get(name, row.ends_at), row.ends_at)
    connected = {row.name.removeprefix(APPLICATION): row for row in await _connections(connection)}
    return [
        LeaseHolder(
            name,
            connected[name].since if name in connected else None,
            connected[name].seen_at if name in connected else None,
            held.get(name, {}),
            ends.get(name),
        )
        for name in sorted(held.keys() | connected.keys())
    ]


async def _leases(connection: Connection) -> list[Any]:
    """The leases, together where one claim took several. A job with a lease is due at some time."""
    found: list[Any] = []
    for is_due in (AWAITS_POLL, AWAITS_STAGE):
        columns = select(jobs.c.lease_token, jobs.c.state, jobs.c.lease_until)
        # In the order of their index, or a planner without statistics would rather read the whole table.
        first = columns.where(is_due).order_by(jobs.c.due_at).limit(_LEASES_READ).subquery()
        query = (
            select(
                first.c.lease_token,
                first.c.state,
                func.count().label("count"),
                func.max(first.c.lease_until).label("ends_at"),
            )
            .where(first.c.lease_token.is_not(None), first.c.lease_until.is_not(None))
            .group_by(first.c.lease_token, first.c.state)
        )
        found += (await connection.execute(query)).all()
    return found


async def _connections(connection: Connection) -> Iterable[Any]:
    if connection.dialect.name == "sqlite":
        return ()
    return (await connection.execute(_CONNECTED, {"ours": f"{APPLICATION}%"})).all()
