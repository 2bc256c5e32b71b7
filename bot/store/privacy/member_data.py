"""What is kept about one member: gathered for them to take along, and taken away when they ask.

The wish stands in `members`, under no server: it is for all of them. It covers what was there when they asked,
so that whoever orders again starts anew. Each method is one short transaction, and doing it twice does no harm:
whatever breaks off, the keeper goes on with it until nothing is left, and only then is the wish forgotten.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, Table, and_, delete, exists, func, or_, select, update

from bot.domain.guilds import OperatorDefaults
from bot.domain.jobs import ENDED, CancelResult, JobState
from bot.domain.ledger import Entry, EntryKind, Sums
from bot.domain.member_data import Erasure, ErasurePreview, HeldGrant, HeldJob, MemberData
from bot.store.engine import Connection, Database
from bot.store.guilds import guild_settings
from bot.store.guilds.audit_log import audit_entry_of
from bot.store.guilds.violations import WITHIN
from bot.store.jobs import transitions
from bot.store.jobs.rows import entry_of, job_of
from bot.store.money import ledger
from bot.store.privacy import anonymise
from bot.store.privacy.anonymise import NOBODY
from bot.store.schema import (
    EVERYWHERE,
    IS_ACTIVE,
    audit_log,
    bans,
    credit_grants,
    jobs,
    limit_overrides,
    members,
    violations,
)
from bot.store.schema import ledger as entries

EXPORT_MOST = 10_000
"""How many rows of a kind an export holds, the newest first."""


class MemberDataStore:
    """Members' own data in a database. Every method raises StoreError where the database fails."""

    def __init__(self, database: Database, rules: OperatorDefaults | None = None) -> None:
        self._database = database
        self._rules = rules or OperatorDefaults()

    async def held(self, user_id: int, most: int = EXPORT_MOST) -> MemberData:
        """All that is kept about the member, over all servers; of each kind the newest `most`."""
        async with self._database.read() as connection:
            return await _Reader(connection, user_id, most).holdings()

    async def outlook(self, user_id: int) -> ErasurePreview:
        """What a deletion would meet."""
        by_state = select(jobs.c.state, func.count()).where(jobs.c.user_id == user_id).group_by(jobs.c.state)
        left = select(func.coalesce(func.sum(credit_grants.c.credits_left), 0)).where(
            credit_grants.c.user_id == user_id
        )
        async with self._database.read() as connection:
            numbers = {JobState(state): number for state, number in await connection.execute(by_state)}
            return ErasurePreview(
                jobs=sum(number for state, number in numbers.items() if state in ENDED),
                waiting=sum(numbers.get(state, 0) for state in (JobState.AWAITING, JobState.QUEUED)),
                under_way=sum(
                    numbers.get(state, 0) for state in (JobState.SUBMITTING, JobState.RUNNING, JobState.DELIVERING)
                ),
                credits=int((await connection.execute(left)).scalar_one()),
                asked_at=await _asked_at(connection, user_id),
            )

    async def ask(self, user_id: int, now: datetime) -> Erasure:
        """Writes down that the member's data is to go: all that is there at `now`."""
        row = {"guild_id": EVERYWHERE, "user_id": user_id, "created_at": now, "erasure_requested_at": now}
        async with self._database.write() as connection:
            await connection.execute(
                guild_settings.insert_of(connection, members)
                .values(row)
                .on_conflict_do_update(index_elements=["guild_id", "user_id"], set_={"erasure_requested_at": now})
            )
        return Erasure(user_id, now)

    async def asked(self) -> list[Erasure]:
        """The wishes that are not fulfilled yet, the oldest first."""
        query = (
            select(members)
            .where(members.c.guild_id == EVERYWHERE, members.c.erasure_requested_at.is_not(None))
            .order_by(members.c.erasure_requested_at)
        )
        async with self._database.read() as connection:
            return [Erasure(row.user_id, row.erasure_requested_at) for row in await connection.execute(query)]

    async def to_cancel(self, erasure: Erasure) -> list[str]:
        """The member's jobs that are not over and not given up yet."""
        query = select(jobs.c.id).where(_jobs_of(erasure), IS_ACTIVE, jobs.c.cancel_requested.is_(False))
        async with self._database.read() as connection:
            return list((await connection.execute(query.order_by(jobs.c.id))).scalars())

    async def cancel(self, job_id: str, now: datetime) -> CancelResult:
        """Ends a job that waits, free; one under way goes on to its end and is not posted."""
        async with self._database.write() as connection:
            return await transitions.cancel(connection, job_id, now, paid_too=True)

    async def give_up_credits(self, erasure: Erasure, now: datetime) -> int:
        """Writes off what is left of the member's grants, and takes their name off; how many videos that was."""
        theirs = and_(credit_grants.c.user_id == erasure.user_id, credit_grants.c.created_at <= erasure.asked_at)
        async with self._database.write() as connection:
            await guild_settings.lock(connection)  # a job that is let in now must not count on them
            return await write_off(connection, theirs, now)

    async def anonymise_jobs(self, erasure: Erasure) -> int:
        """Anonymises a batch of the member's jobs that are over and told; how many."""
        return await anonymise.anonymise_jobs(self._database, _jobs_of(erasure))

    async def anonymise_entries(self, erasure: Erasure, now: datetime) -> int:
        """Takes the member's name off a batch of lines of the ledger that no limit looks at; how many."""
        theirs = and_(entries.c.user_id == erasure.user_id, entries.c.effective_at <= erasure.asked_at)
        async with self._database.read() as connection:
            found = await connection.execute(select(entries.c.guild_id).where(theirs).distinct())
            spans = {it: await anonymise.held_for(connection, self._rules, it) for it in found.scalars().all()}
        if not spans:
            return 0
        past = [and_(entries.c.guild_id == it, entries.c.effective_at <= now - span) for it, span in spans.items()]
        # What is about no job, as a gift of credits, no limit looks at.
        return await anonymise.anonymise_entries(
            self._database, and_(theirs, or_(entries.c.job_id.is_(None), *past))
        )

    async def drop_records(self, erasure: Erasure, now: datetime) -> int:
        """Deletes blocked prompts that count no more, and bans that are over; how many."""
        old = and_(_is(violations, erasure), violations.c.created_at <= min(erasure.asked_at, now - WITHIN))
        over = and_(_is(bans, erasure), bans.c.expires_at <= now, bans.c.created_at <= erasure.asked_at)
        async with self._database.write() as connection:
            dropped = await anonymise.drop_in(connection, violations, old)
            return dropped + await anonymise.drop_in(connection, bans, over)

    async def finish(self, erasure: Erasure) -> bool:
        """Forgets the wish where it is fulfilled and was not made anew; whether it is."""
        left = or_(
            exists(select(jobs.c.id).where(_jobs_of(erasure))),
            exists(select(entries.c.id).where(_is(entries, erasure), entries.c.effective_at <= erasure.asked_at)),
            exists(
                select(credit_grants.c.id).where(
                    _is(credit_grants, erasure), credit_grants.c.created_at <= erasure.asked_at
                )
            ),
            exists(
                select(violations.c.id).where(
                    _is(violations, erasure), violations.c.created_at <= erasure.asked_at
                )
            ),
        )
        wish = and_(members.c.guild_id == EVERYWHERE, members.c.erasure_requested_at == erasure.asked_at)
        # Rows of earlier versions, which stood under each server.
        other = and_(members.c.guild_id != EVERYWHERE, members.c.created_at <= erasure.asked_at)
        async with self._database.write() as connection:
            if (await connection.execute(select(left))).scalar_one():
                return False
            await connection.execute(delete(members).where(_is(members, erasure), or_(wish, other)))
        return True


async def write_off(
    connection: Connection, which: ColumnElement[bool], now: datetime, *, guild_id: int | None = None
) -> int:
    """Takes what is left of grants into the ledger as given up, and their names off; how many videos that was.

    The caller holds the house's row. guild_id: stands in the ledger's lines instead of the grants' own.
    """
    found = (
        await connection.execute(select(credit_grants).where(which).order_by(credit_grants.c.id).with_for_update())
    ).all()
    for row in found:
        if row.credits_left:
            entry = Entry(
                kind=EntryKind.ADJUST,
                guild_id=row.guild_id if guild_id is None else guild_id,
                user_id=NOBODY,
                created_at=now,
                effective_at=now,
                sums=Sums(credits=-row.credits_left),
                reason="data deleted",
                credit_grant_id=row.id,
            )
            await ledger.write(connection, entry)
    ids = [row.id for row in found]
    await connection.execute(update(credit_grants).where(credit_grants.c.id.in_(ids)).values(user_id=NOBODY))
    return sum(row.credits_left for row in found)


def _is(table: Table, erasure: Erasure) -> ColumnElement[bool]:
    theirs: ColumnElement[bool] = table.c.user_id == erasure.user_id
    return theirs


def _jobs_of(erasure: Erasure) -> ColumnElement[bool]:
    return and_(_is(jobs, erasure), jobs.c.created_at <= erasure.asked_at)


class _Reader:
    """Reads one member's rows, and counts those that are too many."""

    def __init__(self, connection: Connection, user_id: int, most: int) -> None:
        self._connection = connection
        self._user_id = user_id
        self._most = most
        self._left_out: dict[str, int] = {}

    async def holdings(self) -> MemberData:
        """All of them."""
        return MemberData(
            user_id=self._user_id,
            jobs=tuple(
                HeldJob(job_of(row), row.upstream_response)
                for row in await self._rows("videos", jobs, jobs.c.user_id, jobs.c.created_at, jobs.c.id)
            ),
            entries=tuple(
                entry_of(row) for row in await self._rows("ledger", entries, entries.c.user_id, entries.c.id)
            ),
            grants=tuple(
                HeldGrant(row.id, row.guild_id, row.credits_left, row.expires_at, row.created_at)
                for row in await self._rows("credits", credit_grants, credit_grants.c.user_id, credit_grants.c.id)
            ),
            bans=tuple(
                guild_settings.ban_from(row)
                for row in await self._rows("bans", bans, bans.c.user_id, bans.c.created_at)
            ),
            violations=tuple(
                (row.guild_id, row.created_at)
                for row in await self._rows("blocked_prompts", violations, violations.c.user_id, violations.c.id)
            ),
            limits=tuple(
                (row.guild_id, guild_settings.tier_of(row))
                for row in await self._rows(
                    "own_limits", limit_overrides, limit_overrides.c.target_id, limit_overrides.c.guild_id
                )
                if row.kind == "member"
            ),
            changes=tuple(
                audit_entry_of(row)
                for row in await self._rows("changes_made", audit_log, audit_log.c.by, audit_log.c.id)
            ),
            asked_at=await _asked_at(self._connection, self._user_id),
            left_out=self._left_out,
        )

    async def _rows(
        self, name: str, table: Table, owner: ColumnElement[Any], *newest: ColumnElement[Any]
    ) -> list[Row[Any]]:
        theirs = owner == self._user_id
        query: Select[Any] = select(table).where(theirs).order_by(*(it.desc() for it in newest))
        rows = list(await self._connection.execute(query.limit(self._most)))
        if len(rows) == self._most:
            count = select(func.count()).select_from(table).where(theirs)
            more = (await self._connection.execute(count)).scalar_one() - self._most
            self._left_out |= {name: more} if more else {}
        return rows


async def _asked_at(connection: Connection, user_id: int) -> datetime | None:
    wish = (members.c.guild_id == EVERYWHERE) & (members.c.user_id == user_id)
    asked_at: datetime | None = (
        await connection.execute(select(members.c.erasure_requested_at).where(wish))
    ).scalar_one_or_none()
    return asked_at
