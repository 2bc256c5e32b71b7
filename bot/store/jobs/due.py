"""Finds the jobs that are due, and whose turn it is: each server's in turn, within a server the longest due first.

Each query reads a bounded number of rows from the start of an index, however many jobs have ended and however many
are due. The oldest rows come first; where they all belong to a few servers, the oldest of the others are read too.
So a server whose jobs fill the front of the line does not delay the others.

Nothing is locked here: the claim in `bot.store.jobs.leasing` locks the rows, and checks again.
"""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Select, TextClause, and_, func, or_, select, true, type_coerce, union_all
from sqlalchemy.types import NullType

from bot.domain.jobs import Job, JobState
from bot.store.engine import Connection
from bot.store.jobs.transitions import LONGEST_PAUSE
from bot.store.schema import AWAITS_POLL, AWAITS_STAGE, HAS_FAILED_CLAIMS, jobs

SUSPECT_CLAIMS = 2
"""After this many claims without a write, a job may be what kills workers: at most one such runs at a time.

Polls, hundreds of which are under way when a worker dies, run in the groups below.
"""

_SUSPECT_POLLS = {2: 64, 3: 8}
"""How many polls are tried again at the same time, by the claims without a write; after more, only one.

If the worker dies again, the job that kills it is among them. So that one is alone before it counts as what kills
workers, and nothing else of its group does.
"""

GUILD_MAX_IN_PROGRESS = 8
"""A server with this many jobs in progress gets no more for now: a rate-limited channel must not starve others.

Polls don't count: they wait for no channel.
"""

_CLOCKS_DIFFER = timedelta(minutes=1)
"""By how much the clocks of two workers may differ: none takes what another sets for misdated."""

LONGEST_LEASE = timedelta(minutes=10)
"""No lease is longer without a renewal."""

_MORE = 96
"""How many more rows are read than are wanted, so that the turns of several servers are among them."""

_READS = 5
"""How often rows are read for one claim: first as many as are wanted and `_MORE`, then `_MORE` at a time of the
servers that were not among them yet.

Servers with enough jobs in progress are passed over, and no more than four of them fill all places of a worker. So
the longest waiting of the others is found in any case.
"""

_LEASES_READ = 1000
"""How many of the rows that were due first are searched for the end of a lease; more than one worker holds."""


class DueFor(StrEnum):
    """What a due job waits for: a poll of its task, or the stage of any other state."""

    POLL = "poll"
    STAGE = "stage"


ANYTHING = frozenset(DueFor)

_WAITS_FOR = {DueFor.POLL: AWAITS_POLL, DueFor.STAGE: AWAITS_STAGE}
_IS_FOR = {DueFor.POLL: jobs.c.state == JobState.RUNNING, DueFor.STAGE: jobs.c.state != JobState.RUNNING}


@dataclass(frozen=True, slots=True)
class Times:
    """When it is: `now` for the worker that asks, `lease_now` for leases, see `Database.lease_time`.

    expired: whether a lease that ran out is no obstacle.
    """

    now: datetime
    lease_now: datetime
    expired: bool = True

    @property
    def is_due(self) -> ColumnElement[bool]:
        """Rows that are due and that no other worker holds."""
        return and_(or_(jobs.c.due_at <= self.now, self.is_misdated), self.is_free)

    @property
    def is_misdated(self) -> ColumnElement[bool]:
        """Rows that are due at a time that nothing sets, except for approvals, which wait for a day."""
        return and_(jobs.c.due_at > self.now + LONGEST_PAUSE + _CLOCKS_DIFFER, jobs.c.state != JobState.AWAITING)

    @property
    def is_free(self) -> ColumnElement[bool]:
        """Rows that no other worker holds."""
        free: ColumnElement[bool] = jobs.c.lease_until.is_(None)
        lease_until = jobs.c.lease_until
        expired = or_(lease_until <= self.lease_now, lease_until > self.lease_now + LONGEST_LEASE)
        return or_(free, expired) if self.expired else free


class Candidate(NamedTuple):
    """A row that is due. Sorts by age: the longest due first, then the oldest.

    The times are as the database returned them: they are only compared, hundreds a second.
    """

    due_at: Any
    created_at: Any
    id: str
    guild_id: int


async def in_turn(
    connection: Connection, kinds: Collection[DueFor], times: Times, limit: int, held: Collection[Job]
) -> list[str]:
    """The ids of due jobs in the order in which to claim them; usually more than `limit`.

    held: jobs that the caller is working on, which are left out.
    """
    found = [one for kind in kinds for one in await _of_each_server(connection, kind, times, limit, held)]
    found.sort()
    turns: Counter[int] = Counter()
    line: list[tuple[int, int]] = []
    for place, one in enumerate(found):
        turns[one.guild_id] += 1
        line.append((turns[one.guild_id], place))
    return [found[place].id for _, place in sorted(line)]


async def _of_each_server(
    connection: Connection, kind: DueFor, times: Times, limit: int, held: Collection[Job]
) -> list[Candidate]:
    in_progress = Counter(job.guild_id for job in held if job.state is not JobState.RUNNING)
    passed_over = {
        guild_id
        for guild_id, count in in_progress.items()
        if kind is DueFor.STAGE and count >= GUILD_MAX_IN_PROGRESS
    }
    held_ids = {job.id for job in held}
    size = limit + _MORE
    found: list[Candidate] = []
    for _ in range(_READS):
        where = jobs.c.claim_count < SUSPECT_CLAIMS, _not_of(passed_over)
        window = await _read(connection, _WAITS_FOR[kind], times, size, *where)
        if not held_ids.isdisjoint(one.id for one in window):  # their leases ran out
            size += len(held)
            window = await _read(connection, _WAITS_FOR[kind], times, size, *where)
        found += [one for one in window if one.id not in held_ids]
        passed_over |= {one.guild_id for one in window}
        if len(window) < size or len({one.guild_id for one in found}) >= limit:
            break
        size = _MORE
    return found


def _not_of(guild_ids: Collection[int]) -> ColumnElement[bool]:
    return jobs.c.guild_id.not_in(sorted(guild_ids)) if guild_ids else true()


async def suspects(
    connection: Connection, kinds: Collection[DueFor], times: Times, held: Collection[Job]
) -> list[str]:
    """The ids of due jobs during which workers may have died and that may run together; none while one is held.

    The longest due first.
    """
    if any(job.claim_count > SUSPECT_CLAIMS for job in held):
        return []
    held_ids = {job.id for job in held}
    kind = or_(*(_IS_FOR[one] for one in kinds))
    columns = select(jobs.c.id, jobs.c.state, jobs.c.claim_count)
    # Without `due_at IS NOT NULL`: SQLite would take that for a reason to read the index of all polls instead.
    query = columns.where(HAS_FAILED_CLAIMS, kind, times.is_due)
    limit = max(_SUSPECT_POLLS.values()) + len(held)
    group: list[str] = []
    largest = limit
    for row in await connection.execute(query.order_by(jobs.c.due_at, jobs.c.created_at).limit(limit)):
        if row.id not in held_ids:
            is_poll = row.state == JobState.RUNNING
            largest = min(largest, _SUSPECT_POLLS.get(row.claim_count, 1) if is_poll else 1)
            if len(group) >= largest:
                break
            group.append(row.id)
    return group


async def _read(
    connection: Connection, kind: TextClause, times: Times, limit: int, *where: ColumnElement[bool]
) -> list[Candidate]:
    """The first rows of an index that are due. What is due too late for the index's order comes last."""
    times_as_stored = (
        type_coerce(column, NullType()).label(column.name) for column in (jobs.c.due_at, jobs.c.created_at)
    )
    columns = (*times_as_stored, jobs.c.id, jobs.c.guild_id)
    due, misdated = (
        select(*columns).where(kind, moment, times.is_free, *where).order_by(jobs.c.due_at).limit(limit).subquery()
        for moment in (jobs.c.due_at <= times.now, times.is_misdated)
    )
    both: Any = union_all(select(due), select(misdated))
    return [Candidate(*row) for row in (await connection.execute(both)).all()]


async def first_due_at(connection: Connection, kind: DueFor, times: Times) -> datetime | None:
    """When the first job that nobody holds is due; None if there is none."""
    free = (_WAITS_FOR[kind], times.is_free)
    first: Select[Any] = select(jobs.c.due_at).where(*free).order_by(jobs.c.due_at).limit(1)
    misdated = select(jobs.c.id).where(*free, times.is_misdated).limit(1)
    due_at: datetime | None = await connection.scalar(first)
    if due_at is None or due_at <= times.now:
        return due_at
    return due_at if await connection.scalar(misdated) is None else times.now


async def first_lease_end(connection: Connection, kind: DueFor, times: Times) -> datetime | None:
    """When the first lease ends that another worker holds, by the clock of the worker that asks."""
    held = (
        select(jobs.c.lease_until).where(_WAITS_FOR[kind]).order_by(jobs.c.due_at).limit(_LEASES_READ).subquery()
    )
    query = select(func.min(held.c.lease_until)).where(held.c.lease_until > times.lease_now)
    lease_until: datetime | None = await connection.scalar(query)
    return None if lease_until is None else lease_until - times.lease_now + times.now
