"""Retention and the data of servers that were left, on both databases, swept by the real keeper."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Row, Table, func, insert, select, update

from bot.domain.errors import QuotaRefused
from bot.domain.guilds import Access, LimitOverrides, OperatorDefaults
from bot.domain.jobs import Job, JobState, JobUpdate, MoveTo, NewJob, Order, Reschedule, new_job_id
from bot.domain.ledger import Entry, EntryKind, Sums
from bot.domain.member_data import RetentionPolicy
from bot.store.engine import Database
from bot.store.guilds import guild_settings
from bot.store.jobs.job_store import JobStore
from bot.store.money import ledger
from bot.store.privacy.member_data import MemberDataStore
from bot.store.privacy.retention import RetentionStore
from bot.store.schema import (
    EVERYWHERE,
    audit_log,
    bans,
    blocked_terms,
    credit_grants,
    daily_totals,
    first_frames,
    jobs,
    limit_overrides,
    members,
    notifications,
    policy_entries,
    violations,
)
from bot.store.schema import guilds as guild_rows
from bot.store.schema import ledger as entries
from bot.worker.retention import RetentionReport, RetentionWorker
from tests.store.factories import FRAME, NOW, ROOMY, asker_of, bring_to, claim, read

DAY = timedelta(days=1)
POLICY = RetentionPolicy(days=90, days_after_leaving=30)
HERE, ELSEWHERE = 10, 11
TIGHT = OperatorDefaults(limits=LimitOverrides(videos_per_window=1, max_active=5, cooldown_s=0), window_hours=24)


@dataclass
class PolicyEntry:
    """One database, and time that a test moves."""

    database: Database
    rules: OperatorDefaults = ROOMY
    now: datetime = NOW
    store: JobStore = field(init=False)

    def __post_init__(self) -> None:
        self.store = JobStore(self.database, self.rules)

    def worker(self, policy: RetentionPolicy = POLICY) -> RetentionWorker:
        store = RetentionStore(self.database, self.rules)
        return RetentionWorker(store, MemberDataStore(self.database, self.rules), policy, clock=lambda: self.now)

    async def run_once(self, at: datetime, policy: RetentionPolicy = POLICY) -> RetentionReport:
        self.now = at
        swept = await self.worker(policy).run_once()
        assert swept.failed == 0
        return swept

    async def rows(self, table: Table) -> Sequence[Row[Any]]:
        async with self.database.read() as connection:
            return (await connection.execute(select(table).order_by(*table.primary_key.columns))).all()

    async def insert(self, table: Table, *rows: dict[str, Any]) -> None:
        async with self.database.write() as connection:
            await connection.execute(insert(table), list(rows))

    async def set(self, guild_id: int, **columns: Any) -> None:
        async with self.database.write() as connection:
            await guild_settings.write(connection, guild_id, columns)

    async def over(self, at: datetime = NOW, guild_id: int = HERE, user_id: int = 1) -> Job:
        """A job that was cancelled though it was paid for, and told."""
        new = NewJob(new_job_id(), guild_id, 100, user_id, Order("a fox"))
        job = await self.store.add(new, FRAME, asker_of(new), at)
        job = await claim(self.store, job.id, at)
        assert await self.store.apply(job, Reschedule(None), at)
        submitting = await self.store.claim_queued(at, 99, timedelta(0), timedelta(minutes=1))
        assert submitting is not None
        facts = JobUpdate(upstream_id=f"task-{new.id}", cost_usd=Decimal("0.3"))
        assert await self.store.apply(submitting, MoveTo(JobState.CANCELLED, facts), at)
        assert await self.store.apply(await claim(self.store, job.id, at), Reschedule(None), at)
        return await read(self.store, job)

    async def give(self, number: int, guild_id: int = HERE, **columns: Any) -> int:
        row = {"guild_id": guild_id, "user_id": 1, "credits_left": 0, "created_at": NOW, "actor_id": 99, **columns}
        async with self.database.write() as connection:
            made = await connection.execute(insert(credit_grants).values(row).returning(credit_grants.c.id))
            grant_id: int = made.scalar_one()
            entry = Entry(EntryKind.GRANT, guild_id, 1, NOW, NOW, Sums(credits=number), "kind", None, grant_id)
            await ledger.write(connection, entry)
        return grant_id

    async def sum_of(self, guild_id: int | None = None) -> Sums:
        """What the ledger comes to: of a server, or of all."""
        columns = [func.coalesce(func.sum(it), 0) for it in (entries.c.videos, entries.c.usd)]
        query = select(*columns) if guild_id is None else select(*columns).where(entries.c.guild_id == guild_id)
        async with self.database.read() as connection:
            videos, usd = (await connection.execute(query)).one()
        return Sums(int(videos), 0, Decimal(usd))

    async def total_of(self, guild_id: int) -> Sums:
        rows = [row for row in await self.rows(daily_totals) if row.guild_id == guild_id]
        return Sums(sum(row.videos for row in rows), 0, sum((row.usd for row in rows), Decimal(0)))


@pytest.fixture
def place(database: Database) -> PolicyEntry:
    return PolicyEntry(database)


async def furnish(place: PolicyEntry, guild_id: int) -> None:
    """A row of everything that may be kept for a server."""
    await place.set(guild_id, videos_per_window=7, approval_required=True, log_channel_id=5)
    for kind in ("member", "role"):
        await place.insert(
            limit_overrides, {"guild_id": guild_id, "kind": kind, "target_id": 1, "videos_per_window": 1}
        )
    await place.insert(policy_entries, {"guild_id": guild_id, "kind": "channel", "target_id": 1, "allowed": True})
    await place.insert(blocked_terms, {"guild_id": guild_id, "text": "bad", "is_pattern": False})
    await place.insert(bans, {"guild_id": guild_id, "user_id": 5, "reason": "spam", "created_at": NOW})
    await place.insert(violations, {"guild_id": guild_id, "user_id": 5, "created_at": NOW})
    await place.insert(members, {"guild_id": guild_id, "user_id": 5, "created_at": NOW})
    await place.insert(audit_log, {"guild_id": guild_id, "at": NOW, "by": 9, "action": "limits_set"})
    row = {
        "id": f"n{guild_id}",
        "guild_id": guild_id,
        "kind": "text",
        "text": "x",
        "created_at": NOW,
        "due_at": NOW,
        "attempts": 0,
    }
    await place.insert(notifications, row)
    await place.give(3, guild_id)


OF_A_GUILD = (
    limit_overrides,
    policy_entries,
    blocked_terms,
    bans,
    violations,
    members,
    audit_log,
    notifications,
    credit_grants,
    jobs,
    daily_totals,
    entries,
)


async def held_for(place: PolicyEntry, guild_id: int) -> dict[str, int]:
    """How many rows each table has for the server."""
    count = {it.name: sum(row.guild_id == guild_id for row in await place.rows(it)) for it in OF_A_GUILD}
    count["guilds"] = sum(row.id == guild_id for row in await place.rows(guild_rows))
    return {name: number for name, number in count.items() if number}


async def test_a_job_is_anonymised_when_its_time_is_over_and_not_before(place: PolicyEntry) -> None:
    job = await place.over(NOW)

    await place.run_once(NOW + 90 * DAY - timedelta(microseconds=1))
    assert (await read(place.store, job)).order.prompt == "a fox"

    assert (await place.run_once(NOW + 90 * DAY)).jobs == 1
    found = await read(place.store, job)
    assert (found.user_id, found.order.prompt, found.guild_id) == (0, "", HERE)
    assert found.cost_usd == Decimal("0.3")


async def test_the_age_of_a_job_is_counted_from_its_end(place: PolicyEntry) -> None:
    job = await bring_to(place.store, JobState.RUNNING, NOW)
    assert await place.store.apply(job, MoveTo(JobState.CANCELLED), NOW + 80 * DAY)
    assert await place.store.apply(
        await claim(place.store, job.id, NOW + 80 * DAY), Reschedule(None), NOW + 80 * DAY
    )

    assert (await place.run_once(NOW + 100 * DAY)).jobs == 0
    assert (await place.run_once(NOW + 170 * DAY)).jobs == 1


async def test_old_lines_of_the_ledger_lose_their_names_and_keep_their_sums(place: PolicyEntry) -> None:
    await place.over(NOW)
    before, total = await place.sum_of(), await place.total_of(HERE)

    assert (await place.run_once(NOW + 90 * DAY)).entries == len(await place.rows(entries))

    assert {(row.user_id, row.actor_id, row.guild_id) for row in await place.rows(entries)} == {(0, None, HERE)}
    assert await place.sum_of() == before == await place.total_of(EVERYWHERE)
    assert await place.total_of(HERE) == total


async def test_a_short_retention_gives_no_fresh_quota(database: Database) -> None:
    place = PolicyEntry(database, replace(TIGHT, window_hours=72))
    await place.over(NOW)

    swept = await place.run_once(NOW + 2 * DAY, RetentionPolicy(days=1, days_after_leaving=30))

    assert (swept.jobs, swept.entries) == (1, 0)
    with pytest.raises(QuotaRefused) as refused:
        await place.over(NOW + 2 * DAY)
    assert refused.value.limit == "window"


async def test_records_go_when_their_time_is_over(place: PolicyEntry) -> None:
    ban = {"user_id": 1, "reason": "spam", "created_at": NOW - DAY}
    await place.insert(
        bans, ban | {"guild_id": 1, "expires_at": NOW}, ban | {"guild_id": 2, "expires_at": NOW + DAY}
    )
    await place.insert(bans, ban | {"guild_id": 3, "expires_at": None})
    await place.insert(
        audit_log, *({"guild_id": 1, "at": at, "by": 9, "action": "limits_set"} for at in (NOW, NOW + DAY))
    )
    notice = {"guild_id": 1, "kind": "text", "text": "x", "created_at": NOW, "attempts": 0}
    await place.insert(
        notifications, notice | {"id": "told", "due_at": None}, notice | {"id": "due", "due_at": NOW}
    )
    await place.insert(violations, {"guild_id": 1, "user_id": 1, "created_at": NOW + 89 * DAY})
    await place.insert(members, {"guild_id": 1, "user_id": 1, "created_at": NOW})

    assert (await place.run_once(NOW + 90 * DAY)).records == 5

    assert [row.guild_id for row in await place.rows(bans)] == [2, 3]
    assert [row.at for row in await place.rows(audit_log)] == [NOW + DAY]
    assert [row.id for row in await place.rows(notifications)] == ["due"]
    assert await place.rows(violations) == await place.rows(members) == []


async def test_a_grant_loses_its_name_once_nothing_is_left_of_it(place: PolicyEntry) -> None:
    await place.give(2, expires_at=NOW + DAY)
    await place.give(2)

    await place.run_once(NOW + 90 * DAY)

    assert [(row.user_id, row.credits_left) for row in await place.rows(credit_grants)] == [(0, 0), (1, 2)]


async def test_credits_expire_in_the_ledger(place: PolicyEntry) -> None:
    await place.give(2, expires_at=NOW + DAY)

    assert (await place.run_once(NOW + DAY)).credits == 1

    assert sum(row.credits for row in await place.rows(entries)) == 0


async def test_a_picture_without_a_job_to_make_goes(place: PolicyEntry) -> None:
    job = await place.over(NOW)
    await place.insert(first_frames, {"job_id": job.id, "mime": FRAME.mime, "data": FRAME.data})
    waiting = await bring_to(place.store, JobState.QUEUED, NOW + DAY)

    await place.run_once(NOW + DAY)

    assert [row.job_id for row in await place.rows(first_frames)] == [waiting.id]


async def test_a_sweep_of_a_house_in_order_does_nothing(place: PolicyEntry) -> None:
    await place.over(NOW)
    await furnish(place, HERE)

    assert await place.run_once(NOW + timedelta(hours=1)) == RetentionReport()


async def test_a_server_that_was_left_is_erased_when_its_time_is_over(place: PolicyEntry) -> None:
    job = await place.over(NOW)
    await place.over(NOW, ELSEWHERE)
    for guild_id in (HERE, ELSEWHERE):
        await furnish(place, guild_id)
    await place.set(HERE, left_at=NOW + DAY)
    kept, everything = await held_for(place, ELSEWHERE), await place.total_of(EVERYWHERE)

    await place.run_once(NOW + 31 * DAY - timedelta(microseconds=1))
    assert (await held_for(place, HERE)).keys() >= {
        "guilds",
        "limit_overrides",
        "policy_entries",
        "blocked_terms",
        "bans",
        "jobs",
        "daily_totals",
    }

    assert (await place.run_once(NOW + 31 * DAY)).guilds == 1
    assert await held_for(place, HERE) == {}
    assert await held_for(place, ELSEWHERE) == {name: n for name, n in kept.items() if name != "violations"}
    found = await read(place.store, job)
    assert (found.guild_id, found.user_id, found.order.prompt) == (0, 0, "")
    assert await place.total_of(EVERYWHERE) == everything == await place.sum_of()
    assert (await place.run_once(NOW + 31 * DAY)).guilds == 0


async def test_coming_back_in_time_keeps_everything(place: PolicyEntry) -> None:
    await place.over(NOW)
    await furnish(place, HERE)
    before = await held_for(place, HERE)
    await place.set(HERE, left_at=NOW)
    await place.run_once(NOW + timedelta(hours=12))

    await place.set(HERE, left_at=None)
    await place.run_once(NOW + 40 * DAY)

    assert await held_for(place, HERE) == {name: n for name, n in before.items() if name != "violations"}


async def test_who_comes_back_while_it_is_erased_keeps_what_is_left(place: PolicyEntry) -> None:
    await place.over(NOW)
    await furnish(place, HERE)
    await place.set(HERE, left_at=NOW)
    store = RetentionStore(place.database, place.rules)
    before, now = NOW + DAY, NOW + 40 * DAY
    assert await store.left(before) == [HERE]

    await place.set(HERE, left_at=None)

    assert await store.blank_left_jobs(HERE, before) == 0
    assert await store.blank_left_entries(HERE, before, now) == 0
    assert await store.clear_left(HERE, before, now) == 0
    assert (await held_for(place, HERE))["jobs"] == 1


async def test_a_job_under_way_ends_before_its_server_is_erased(place: PolicyEntry) -> None:
    job = await bring_to(place.store, JobState.RUNNING, NOW)
    await furnish(place, HERE)
    await place.set(HERE, left_at=NOW)

    await place.run_once(NOW + 31 * DAY)
    assert (await held_for(place, HERE)).keys() >= {"jobs", "credit_grants", "daily_totals", "guilds"}
    assert (await read(place.store, job)).user_id == 1

    assert await place.store.apply(job, MoveTo(JobState.CANCELLED), NOW + 31 * DAY)
    job = await claim(place.store, job.id, NOW + 31 * DAY)
    assert await place.store.apply(job, Reschedule(None), NOW + 31 * DAY)
    await place.run_once(NOW + 32 * DAY)
    assert await held_for(place, HERE) == {}


async def test_credits_of_a_left_server_are_given_up_in_the_ledger(place: PolicyEntry) -> None:
    await place.give(4)
    await place.set(HERE, left_at=NOW)

    await place.run_once(NOW + 30 * DAY)

    lines = await place.rows(entries)
    assert sum(row.credits for row in lines) == 0
    assert lines[-1].reason == "data deleted"
    assert {(row.guild_id, row.user_id) for row in lines} == {(0, 0)}


@pytest.mark.parametrize(
    ("column", "value"),
    [("access", Access.BLOCKED), ("granted_usd_per_day", Decimal(2)), ("granted_usd_per_month", Decimal(9))],
)
async def test_what_the_operator_decided_about_a_server_outlives_it(
    place: PolicyEntry, column: str, value: object
) -> None:
    await furnish(place, HERE)
    await place.set(HERE, left_at=NOW, welcomed_at=NOW, **{column: value})

    await place.run_once(NOW + 40 * DAY)

    [row] = await place.rows(guild_rows)
    assert getattr(row, column) == value
    assert (row.videos_per_window, row.approval_required, row.log_channel_id, row.welcomed_at) == (
        None,
        False,
        None,
        None,
    )
    assert (await place.run_once(NOW + 40 * DAY)).guilds == 0


async def test_leaving_and_coming_back_gives_no_fresh_budget_and_no_fresh_quota(database: Database) -> None:
    place = PolicyEntry(database, TIGHT)
    await place.over(NOW)
    spent = await place.total_of(HERE)
    await place.set(HERE, left_at=NOW)
    await place.run_once(NOW + timedelta(hours=1), RetentionPolicy(days=90, days_after_leaving=0))

    assert await place.total_of(HERE) == spent
    with pytest.raises(QuotaRefused) as refused:
        await place.over(NOW + timedelta(hours=2))
    assert refused.value.limit == "window"

    await place.run_once(NOW + 2 * DAY, RetentionPolicy(days=90, days_after_leaving=0))  # the next month, too
    assert await held_for(place, HERE) == {}


async def test_many_servers_that_left_all_go(place: PolicyEntry) -> None:
    async with place.database.write() as connection:
        for guild_id in range(1, 31):
            await guild_settings.write(connection, guild_id, {"left_at": NOW})

    assert (await place.run_once(NOW + 30 * DAY)).guilds == 30


async def test_two_keepers_at_once_do_it_once(place: PolicyEntry) -> None:
    for n in range(6):
        await place.over(NOW + n * timedelta(minutes=1))
    await place.give(2, expires_at=NOW)
    await place.over(NOW + timedelta(hours=1), ELSEWHERE)
    await furnish(place, ELSEWHERE)
    await place.set(ELSEWHERE, left_at=NOW)
    before = await place.sum_of()
    place.now = NOW + 91 * DAY

    swept = await asyncio.gather(*(place.worker().run_once() for _ in range(4)))

    assert [it.failed for it in swept] == [0, 0, 0, 0]
    assert sum(it.jobs for it in swept) == 7
    assert await held_for(place, ELSEWHERE) == {}
    assert await place.sum_of() == before == await place.total_of(EVERYWHERE)
    assert await place.worker().run_once() == RetentionReport()


async def test_a_wish_to_be_deleted_is_fulfilled_by_the_keeper(place: PolicyEntry) -> None:
    await place.over(NOW)
    await MemberDataStore(place.database, place.rules).ask(1, NOW)

    assert (await place.run_once(NOW + timedelta(hours=1))).erasures == 0
    [job] = await place.rows(jobs)
    assert job.user_id == 0

    assert (await place.run_once(NOW + DAY)).erasures == 1
    assert {row.user_id for row in await place.rows(entries)} == {0}


async def test_more_than_a_batch_is_swept_in_one_round(place: PolicyEntry) -> None:
    await place.over(NOW)
    [told] = await place.rows(jobs)
    await place.insert(jobs, *(dict(told._mapping) | {"id": f"job-{n}"} for n in range(1100)))

    assert (await place.run_once(NOW + 90 * DAY)).jobs == 1101


async def test_a_revived_job_is_left_to_its_worker(place: PolicyEntry) -> None:
    job = await place.over(NOW)
    async with place.database.write() as connection:
        change = {"state": JobState.RUNNING, "due_at": NOW}
        await connection.execute(update(jobs).where(jobs.c.id == job.id).values(change))

    assert (await place.run_once(NOW + 90 * DAY)).jobs == 0
