"""One member's data: exported on request, and erased on request.

An erasure request is a row of `members` with no server, because it covers all of them. It covers what existed when
it was made. Each method is one short, idempotent transaction: the retention worker repeats them until nothing is
left, and only then deletes the request.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from sqlalchemy import Column, ColumnElement, Row, Select, Table, and_, delete, exists, func, or_, select

from bot.domain.guilds import OperatorDefaults
from bot.domain.jobs import ENDED, CancelResult, JobState
from bot.domain.member_data import (
    Erasure,
    ErasurePreview,
    ErasureResult,
    MemberData,
    StoredGrant,
    StoredJob,
    StoredPicture,
)
from bot.store import member_settings as settings
from bot.store.engine import Connection, Database
from bot.store.guilds import guild_settings
from bot.store.guilds.audit_log import audit_entry_of
from bot.store.guilds.bans import ban_of
from bot.store.guilds.limit_overrides import LimitTarget
from bot.store.guilds.violations import WITHIN
from bot.store.jobs import extensions, pictures, transitions, variations
from bot.store.jobs.rows import entry_of, job_of, select_jobs
from bot.store.money.credit_grants import write_off
from bot.store.money_tables import credit_grants
from bot.store.money_tables import ledger as entries
from bot.store.privacy import anonymise
from bot.store.schema import (
    EVERYWHERE,
    IS_ACTIVE,
    audit_log,
    bans,
    first_frames,
    jobs,
    kept_pictures,
    limit_overrides,
    member_settings,
    members,
    violations,
)
from bot.store.upserts import upsert

EXPORT_LIMIT = 10_000
"""How many rows of each kind an export contains, newest first."""


class MemberDataStore:
    """Members' data. Every method raises StoreError where the database fails."""

    def __init__(self, database: Database, rules: OperatorDefaults | None = None) -> None:
        self._database = database
        self._rules = rules or OperatorDefaults()

    async def read(self, user_id: int, limit: int = EXPORT_LIMIT) -> MemberData:
        """Everything stored about the member, over all servers; the newest `limit` of each kind."""
        async with self._database.read() as connection:
            return await _Reader(connection, user_id, limit).read()

    async def preview_erasure(self, user_id: int) -> ErasurePreview:
        """What an erasure would affect."""
        by_state = select(jobs.c.state, func.count()).where(jobs.c.user_id == user_id).group_by(jobs.c.state)
        left = select(func.sum(credit_grants.c.credits_left)).where(credit_grants.c.user_id == user_id)
        async with self._database.read() as connection:
            numbers = {JobState(state): number for state, number in await connection.execute(by_state)}
            ended = sum(number for state, number in numbers.items() if state in ENDED)
            waiting = sum(numbers.get(state, 0) for state in (JobState.AWAITING, JobState.QUEUED))
            kept = select(func.count()).select_from(jobs).join(kept_pictures, kept_pictures.c.job_id == jobs.c.id)
            of_ended = kept.where(jobs.c.user_id == user_id, kept_pictures.c.ended_at.is_not(None))
            return ErasurePreview(
                jobs=ended,
                waiting=waiting,
                in_progress=sum(numbers.values()) - ended - waiting,
                credits=await connection.scalar(left) or 0,
                has_settings=await settings.read(connection, user_id) is not None,
                asked_at=await _asked_at(connection, user_id),
                pictures=await connection.scalar(of_ended) or 0,
            )

    async def request_erasure(self, user_id: int, now: datetime) -> Erasure:
        """Stores a request to erase the member's data as of `now`."""
        row = {"guild_id": EVERYWHERE, "user_id": user_id, "created_at": now, "erasure_requested_at": now}
        async with self._database.write() as connection:
            await upsert(connection, members, row, {"erasure_requested_at": now})
        return Erasure(user_id, now)

    async def erasure_requests(self) -> list[Erasure]:
        """Unfinished erasure requests, oldest first."""
        query = (
            select(members)
            .where(members.c.guild_id == EVERYWHERE, members.c.erasure_requested_at.is_not(None))
            .order_by(members.c.erasure_requested_at)
        )
        async with self._database.read() as connection:
            return [Erasure(row.user_id, row.erasure_requested_at) for row in await connection.execute(query)]

    async def erase(
        self, erasure: Erasure, now: datetime, *, keep_going: Callable[[], bool] = lambda: True
    ) -> ErasureResult:
        """Erases everything that can be erased now. If interrupted, the next call continues.

        keep_going: checked between transactions; once it returns False, the rest is left to the next call.
        """
        cancels = [await self.cancel(job_id, now) for job_id in await self.to_cancel(erasure) if keep_going()]
        credits_given_up = await self.give_up_credits(erasure, now)
        while keep_going() and await self.drop_pictures(erasure):
            pass
        jobs_erased = entries_erased = 0
        while keep_going() and (batch := await self.anonymise_jobs(erasure)):
            jobs_erased += batch
        while keep_going() and (batch := await self.anonymise_entries(erasure, now)):
            entries_erased += batch
        while keep_going() and await self.drop_records(erasure, now):
            pass
        return ErasureResult(
            jobs=jobs_erased,
            cancelled=cancels.count(CancelResult.CANCELLED),
            in_progress=cancels.count(CancelResult.FLAGGED),
            credits=credits_given_up,
            entries=entries_erased,
            done=keep_going() and await self.finish(erasure),
        )

    async def to_cancel(self, erasure: Erasure) -> list[str]:
        """The member's jobs that have not ended and are not cancelled yet."""
        query = select(jobs.c.id).where(_jobs_of(erasure), IS_ACTIVE, jobs.c.cancel_requested.is_(False))
        async with self._database.read() as connection:
            return list(await connection.scalars(query.order_by(jobs.c.id)))

    async def cancel(self, job_id: str, now: datetime) -> CancelResult:
        """Ends a waiting job, uncharged; one in progress finishes and is not posted."""
        async with self._database.write() as connection:
            return await transitions.cancel(connection, job_id, now, even_if_paid=True)

    async def give_up_credits(self, erasure: Erasure, now: datetime) -> int:
        """Writes off and anonymises the member's credit grants; returns how many credits were left."""
        theirs = and_(credit_grants.c.user_id == erasure.user_id, credit_grants.c.created_at <= erasure.asked_at)
        async with self._database.write() as connection:
            await guild_settings.lock_operator_state(connection)  # a job accepted now must not use them
            return await write_off(connection, theirs, now)

    async def drop_pictures(self, erasure: Erasure) -> int:
        """Deletes a batch of the member's pictures that no job needs any more; returns how many."""
        query = select(jobs.c.id).join(kept_pictures, kept_pictures.c.job_id == jobs.c.id)
        batch = query.where(_jobs_of(erasure), kept_pictures.c.ended_at.is_not(None)).limit(pictures.BATCH)
        async with self._database.write() as connection:
            found = list(await connection.scalars(batch))
            return await pictures.delete_with_copies(connection, found) if found else 0

    async def anonymise_jobs(self, erasure: Erasure) -> int:
        """Anonymises a batch of the member's announced jobs; returns how many."""
        return await anonymise.anonymise_batch(self._database, jobs, _jobs_of(erasure))

    async def anonymise_entries(self, erasure: Erasure, now: datetime) -> int:
        """Anonymises a batch of the member's entries that no limit needs; returns how many."""
        theirs = and_(entries.c.user_id == erasure.user_id, entries.c.effective_at <= erasure.asked_at)
        async with self._database.read() as connection:
            found = (await connection.scalars(select(entries.c.guild_id).where(theirs).distinct())).all()
            spans = {guild: await anonymise.lookback(connection, self._rules, guild) for guild in found}
        if not spans:
            return 0
        past = [
            and_(entries.c.guild_id == guild, entries.c.effective_at <= now - span)
            for guild, span in spans.items()
        ]
        # No limit needs entries without a job, such as granted credits.
        return await anonymise.anonymise_batch(
            self._database, entries, theirs, or_(entries.c.job_id.is_(None), *past)
        )

    async def drop_records(self, erasure: Erasure, now: datetime) -> int:
        """Deletes settings, violations that no longer count, and expired bans; returns how many."""
        old = and_(_is(violations, erasure), violations.c.created_at <= min(erasure.asked_at, now - WITHIN))
        over = and_(_is(bans, erasure), bans.c.expires_at <= now, bans.c.created_at <= erasure.asked_at)
        chosen = and_(_is(member_settings, erasure), member_settings.c.changed_at <= erasure.asked_at)
        dropped = 0
        async with self._database.write() as connection:
            for table, which in ((member_settings, chosen), (violations, old), (bans, over)):
                dropped += await anonymise.delete_batch_in(connection, table, which)
        return dropped

    async def finish(self, erasure: Erasure) -> bool:
        """Deletes the request if nothing is left and it was not renewed; returns whether nothing is left."""
        left = or_(
            exists(select(jobs.c.id).where(_jobs_of(erasure))),
            exists(select(entries.c.id).where(_is(entries, erasure), entries.c.effective_at <= erasure.asked_at)),
            *(
                exists(select(table.c.id).where(_is(table, erasure), table.c.created_at <= erasure.asked_at))
                for table in (credit_grants, violations)
            ),
            exists(
                select(member_settings.c.user_id).where(
                    _is(member_settings, erasure), member_settings.c.changed_at <= erasure.asked_at
                )
            ),
        )
        request = and_(members.c.guild_id == EVERYWHERE, members.c.erasure_requested_at == erasure.asked_at)
        # Earlier versions stored one row per server.
        older = and_(members.c.guild_id != EVERYWHERE, members.c.created_at <= erasure.asked_at)
        async with self._database.write() as connection:
            if (await connection.execute(select(left))).scalar_one():
                return False
            await connection.execute(delete(members).where(_is(members, erasure), or_(request, older)))
        return True


def _is(table: Table, erasure: Erasure) -> ColumnElement[bool]:
    theirs: ColumnElement[bool] = table.c.user_id == erasure.user_id
    return theirs


def _jobs_of(erasure: Erasure) -> ColumnElement[bool]:
    return and_(_is(jobs, erasure), jobs.c.created_at <= erasure.asked_at)


class _Reader:
    """Reads one member's rows, and counts those beyond the limit."""

    def __init__(self, connection: Connection, user_id: int, limit: int) -> None:
        self._connection = connection
        self._user_id = user_id
        self._limit = limit
        self._left_out: dict[str, int] = {}

    async def read(self) -> MemberData:
        """All of the member's data."""
        parents = await extensions.parents_of_member(self._connection, self._user_id)
        own_limits = await self._rows("own_limits", limit_overrides.c.target_id, limit_overrides.c.guild_id)
        return MemberData(
            user_id=self._user_id,
            jobs=tuple(
                StoredJob(job_of(row), row.upstream_response, variations.place_in(row), parents.get(row.id))
                for row in await self._rows(
                    "videos",
                    jobs.c.user_id,
                    jobs.c.created_at,
                    jobs.c.id,
                    query=variations.with_place(select_jobs().add_columns(jobs.c.upstream_response)),
                )
            ),
            pictures=tuple(
                StoredPicture(row.job_id, row.mime, row.size_bytes, row.ended_at)
                for row in await self._rows(
                    "pictures",
                    jobs.c.user_id,
                    jobs.c.created_at,
                    jobs.c.id,
                    query=select(
                        first_frames.c.job_id,
                        first_frames.c.mime,
                        func.length(first_frames.c.data).label("size_bytes"),
                        kept_pictures.c.ended_at,
                    )
                    .join(jobs, jobs.c.id == first_frames.c.job_id)
                    .outerjoin(kept_pictures, kept_pictures.c.job_id == first_frames.c.job_id),
                )
            ),
            entries=tuple(map(entry_of, await self._rows("ledger", entries.c.user_id, entries.c.id))),
            grants=tuple(
                StoredGrant(row.id, row.guild_id, row.credits_left, row.expires_at, row.created_at)
                for row in await self._rows("credits", credit_grants.c.user_id, credit_grants.c.id)
            ),
            bans=tuple(map(ban_of, await self._rows("bans", bans.c.user_id, bans.c.created_at))),
            violations=tuple(
                (row.guild_id, row.created_at)
                for row in await self._rows("blocked_prompts", violations.c.user_id, violations.c.id)
            ),
            limits=tuple(
                (row.guild_id, guild_settings.overrides_of(row))
                for row in own_limits
                if row.kind == LimitTarget.MEMBER
            ),
            changes=tuple(map(audit_entry_of, await self._rows("changes_made", audit_log.c.by, audit_log.c.id))),
            settings=await settings.read(self._connection, self._user_id),
            asked_at=await _asked_at(self._connection, self._user_id),
            left_out=self._left_out,
        )

    async def _rows(
        self, name: str, owner: Column[Any], *newest: Column[Any], query: Select[Any] | None = None
    ) -> list[Row[Any]]:
        """The member's newest rows in the table of the column `owner`. query: of its columns; all by default."""
        theirs = owner == self._user_id
        query = select(owner.table) if query is None else query
        newest_first = query.where(theirs).order_by(*(column.desc() for column in newest))
        rows = list(await self._connection.execute(newest_first.limit(self._limit)))
        if len(rows) == self._limit:
            count = select(func.count()).select_from(query.where(theirs).subquery())
            more = (await self._connection.execute(count)).scalar_one() - self._limit
            self._left_out |= {name: more} if more else {}
        return rows


async def _asked_at(connection: Connection, user_id: int) -> datetime | None:
    request = select(members.c.erasure_requested_at).filter_by(guild_id=EVERYWHERE, user_id=user_id)
    return await connection.scalar(request)
