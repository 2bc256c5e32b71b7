"""Deleting and exporting a member's data, on both databases."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Row, Table, func, insert, select, text

from bot.domain.errors import QuotaRefused
from bot.domain.guilds import LimitOverrides, OperatorDefaults
from bot.domain.jobs import Job, JobState, JobUpdate, MoveTo, NewJob, Order, Reschedule, new_job_id
from bot.domain.ledger import Amounts, Entry, EntryKind
from bot.domain.member_data import ErasurePreview, ErasureResult
from bot.store.engine import Database
from bot.store.guilds import guild_settings
from bot.store.jobs.job_store import JobStore
from bot.store.money import ledger
from bot.store.privacy.member_data import MemberDataStore
from bot.store.schema import (
    EVERYWHERE,
    audit_log,
    bans,
    credit_grants,
    daily_totals,
    jobs,
    limit_overrides,
    members,
    violations,
)
from bot.store.schema import ledger as entries
from tests.store.factories import (
    FRAME,
    MINUTE,
    NOW,
    add,
    add_waiting,
    bring_to,
    claim,
    next_job,
    read,
    requester_of,
)

DAY = timedelta(days=1)
ME, OTHER = 1, 2
RULES = OperatorDefaults(limits=LimitOverrides(videos_per_window=3, max_active=10, cooldown_s=60), window_hours=24)


@dataclass
class MemberDataHarness:
    """One database with its stores."""

    database: Database
    store: JobStore
    privacy: MemberDataStore
    postgresql: bool

    async def erase(self, now: datetime = NOW, user_id: int = ME) -> ErasureResult:
        return await self.privacy.erase(await self.privacy.request_erasure(user_id, now), now)

    async def continue_erasure(self, now: datetime) -> ErasureResult:
        [erasure] = await self.privacy.erasure_requests()
        return await self.privacy.erase(erasure, now)

    async def rows(self, table: Table) -> Sequence[Row[Any]]:
        async with self.database.read() as connection:
            return (await connection.execute(select(table).order_by(*table.primary_key.columns))).all()

    async def insert(self, table: Table, *rows: dict[str, Any]) -> None:
        async with self.database.write() as connection:
            await connection.execute(insert(table), list(rows))

    async def ledger_sums_and_totals(self) -> tuple[Amounts, list[tuple[object, ...]]]:
        """The sums of all ledger entries, and the rows of the daily totals."""
        columns = [func.coalesce(func.sum(it), 0) for it in (entries.c.videos, entries.c.usd)]
        async with self.database.read() as connection:
            videos, usd = (await connection.execute(select(*columns))).one()
        kept = [tuple(row) for row in await self.rows(daily_totals)]
        return Amounts(int(videos), 0, Decimal(usd)), kept

    async def grant_credits(self, number: int, user_id: int = ME, at: datetime = NOW) -> int:
        """Adds a credit grant with its ledger entry; returns the grant's id."""
        row = {"guild_id": 10, "user_id": user_id, "credits_left": 0, "created_at": at, "actor_id": 99}
        async with self.database.write() as connection:
            made = await connection.execute(insert(credit_grants).values(row).returning(credit_grants.c.id))
            grant_id: int = made.scalar_one()
            sums = Amounts(credits=number)
            entry = Entry(EntryKind.GRANT, 10, user_id, at, at, sums, "for Ann", None, grant_id, 99)
            await ledger.write(connection, entry)
        return grant_id

    async def announce_end(self, job: Job, now: datetime) -> None:
        """Records that the job's end was announced to the member."""
        assert await self.store.apply(await claim(self.store, job.id, now), Reschedule(None), now)

    async def add_ended_job(self, now: datetime = NOW, user_id: int = ME) -> Job:
        """Adds a job that was delivered and whose delivery was announced."""
        job = await bring_to(self.store, JobState.DELIVERED, now, user_id=user_id)
        assert await self.store.apply(job, Reschedule(None), now)
        return await read(self.store, job)


@pytest.fixture
def harness(database: Database, kind: str) -> MemberDataHarness:
    return MemberDataHarness(
        database, JobStore(database, RULES), MemberDataStore(database, RULES), kind == "postgresql"
    )


def new_order(user_id: int = ME, guild_id: int = 10) -> NewJob:
    return NewJob(new_job_id(), guild_id, 100, user_id, Order("a fox"))


async def order(harness: MemberDataHarness, now: datetime, user_id: int = ME) -> Job:
    new = new_order(user_id)
    return await harness.store.add(new, FRAME, requester_of(new), now)


async def test_an_erased_job_keeps_its_amounts_and_nothing_of_the_member(harness: MemberDataHarness) -> None:
    job = await harness.add_ended_job()

    assert (await harness.erase()).jobs == 1

    [row] = await harness.rows(jobs)
    assert (row.user_id, row.channel_id, row.prompt) == (0, 0, "")
    personal = ("negative_prompt", "seed", "upstream_response", "result_url", "upstream_id", "failure_detail")
    messages = ("status_message_id", "result_message_id", "approval_message_id")
    assert {getattr(row, name) for name in personal + messages} == {None}
    kept = await read(harness.store, job)
    assert (kept.guild_id, kept.state, kept.created_at) == (10, JobState.DELIVERED, job.created_at)
    assert (kept.charged, kept.cost_usd, kept.order.resolution) == (True, job.cost_usd, job.order.resolution)


async def test_an_erasure_does_not_change_the_ledgers_sums(harness: MemberDataHarness) -> None:
    await harness.add_ended_job(NOW - 5 * DAY)
    await harness.add_ended_job(NOW - MINUTE * 3)
    await harness.add_ended_job(NOW - MINUTE, OTHER)
    before = await harness.ledger_sums_and_totals()

    await harness.erase()
    await harness.continue_erasure(NOW + 2 * DAY)

    assert await harness.ledger_sums_and_totals() == before


async def test_an_erasure_does_not_reset_the_quota(harness: MemberDataHarness) -> None:
    for minutes in (9, 6, 3):
        await harness.add_ended_job(NOW - minutes * MINUTE)

    await harness.erase()

    with pytest.raises(QuotaRefused) as refused:
        await order(harness, NOW)
    assert refused.value.limit == "window"


async def test_an_erasure_does_not_shorten_the_cooldown(harness: MemberDataHarness) -> None:
    await harness.add_ended_job(NOW - timedelta(seconds=10))

    await harness.erase()

    with pytest.raises(QuotaRefused) as refused:
        await order(harness, NOW)
    assert refused.value.limit == "pause"


async def test_a_cooldown_longer_than_the_window_is_kept_too(harness: MemberDataHarness) -> None:
    pause_s = int((3 * DAY).total_seconds())
    tier = {
        "guild_id": 10,
        "kind": "member",
        "target_id": ME,
        "videos_per_window": None,
        "max_active": None,
        "cooldown_s": pause_s,
    }
    await harness.insert(limit_overrides, tier)
    await harness.add_ended_job(NOW - 2 * DAY)

    await harness.erase()

    with pytest.raises(QuotaRefused) as refused:
        await order(harness, NOW)
    assert refused.value.limit == "pause"


async def test_a_ledger_entry_is_anonymised_when_it_leaves_the_window(harness: MemberDataHarness) -> None:
    await harness.add_ended_job(NOW)
    await harness.erase(NOW)
    assert {row.user_id for row in await harness.rows(entries)} == {ME}

    assert not (await harness.continue_erasure(NOW + DAY - timedelta(microseconds=1))).done
    assert {row.user_id for row in await harness.rows(entries)} == {ME}

    assert (await harness.continue_erasure(NOW + DAY)).done
    assert {(row.user_id, row.actor_id) for row in await harness.rows(entries)} == {(0, None)}
    assert await harness.rows(members) == []


async def test_the_window_of_the_server_applies(harness: MemberDataHarness) -> None:
    async with harness.database.write() as connection:
        await guild_settings.write(connection, 10, {"window_hours": 72})
    await harness.add_ended_job(NOW)
    await harness.erase(NOW)

    assert (await harness.continue_erasure(NOW + 2 * DAY)).entries == 0
    assert (await harness.continue_erasure(NOW + 3 * DAY)).entries > 0


async def test_waiting_jobs_are_cancelled_uncharged_and_running_jobs_are_flagged_as_cancelled(
    harness: MemberDataHarness,
) -> None:
    running = await bring_to(harness.store, JobState.RUNNING)
    waiting = await add_waiting(harness.store, NOW + 2 * MINUTE)

    erased = await harness.erase(NOW + 3 * MINUTE)

    assert (erased.cancelled, erased.in_progress, erased.jobs, erased.done) == (1, 1, 0, False)
    assert (await read(harness.store, waiting)).state is JobState.CANCELLED
    assert not (await read(harness.store, waiting)).charged
    kept = await read(harness.store, running)
    assert (kept.state, kept.cancel_requested, kept.user_id) == (JobState.RUNNING, True, ME)
    assert (await harness.continue_erasure(NOW + 4 * MINUTE)).in_progress == 0


async def test_an_active_job_is_anonymised_once_its_end_is_announced(harness: MemberDataHarness) -> None:
    running = await bring_to(harness.store, JobState.RUNNING)
    await harness.erase(NOW)
    cost = JobUpdate(cost_usd=Decimal("0.123"))
    assert await harness.store.apply(running, MoveTo(JobState.CANCELLED, cost), NOW)

    await harness.continue_erasure(NOW)
    assert (await read(harness.store, running)).user_id == ME

    await harness.announce_end(running, NOW)
    await harness.continue_erasure(NOW)
    found = await read(harness.store, running)
    assert (found.user_id, found.cost_usd) == (0, Decimal("0.123"))


async def test_the_ledger_entries_of_an_active_job_are_not_anonymised(harness: MemberDataHarness) -> None:
    running = await bring_to(harness.store, JobState.RUNNING)

    assert (await harness.erase(NOW + 40 * DAY)).entries == 0
    assert {row.user_id for row in await harness.rows(entries)} == {running.user_id}


async def test_a_job_ordered_after_the_erasure_request_is_kept(harness: MemberDataHarness) -> None:
    await harness.add_ended_job(NOW)
    await harness.erase(NOW)
    new = await harness.add_ended_job(NOW + 2 * MINUTE)
    newest = await order(harness, NOW + 4 * MINUTE)

    await harness.continue_erasure(NOW + 5 * MINUTE)
    await harness.continue_erasure(NOW + 10 * DAY)

    for job in (new, newest):
        kept = await read(harness.store, job)
        assert (kept.user_id, kept.order.prompt, kept.cancel_requested) == (ME, job.order.prompt, False)
        assert {row.user_id for row in await harness.rows(entries) if row.job_id == job.id} == {ME}
    assert await harness.privacy.erasure_requests() == []


async def test_a_second_request_covers_jobs_ordered_since_the_first(harness: MemberDataHarness) -> None:
    await harness.add_ended_job(NOW)
    await harness.erase(NOW)
    newer = await harness.add_ended_job(NOW + 2 * MINUTE)

    await harness.erase(NOW + 3 * MINUTE)

    assert (await read(harness.store, newer)).user_id == 0
    assert len(await harness.privacy.erasure_requests()) == 1


async def test_finishing_an_older_request_does_not_finish_a_newer_one(harness: MemberDataHarness) -> None:
    first = await harness.privacy.request_erasure(ME, NOW)
    await harness.privacy.request_erasure(ME, NOW + MINUTE)

    await harness.privacy.finish(first)

    assert [it.asked_at for it in await harness.privacy.erasure_requests()] == [NOW + MINUTE]


async def test_the_data_of_other_members_is_not_changed(harness: MemberDataHarness) -> None:
    theirs = await harness.add_ended_job(NOW, OTHER)
    await harness.grant_credits(3, OTHER)
    await harness.insert(violations, {"guild_id": 10, "user_id": OTHER, "created_at": NOW - 3 * DAY})
    tables = (jobs, entries, credit_grants, violations)
    before = [await harness.rows(table) for table in tables]

    assert (await harness.erase(NOW + 5 * DAY)).done

    assert [await harness.rows(table) for table in tables] == before
    assert (await read(harness.store, theirs)).user_id == OTHER


async def test_an_erasure_covers_all_servers(harness: MemberDataHarness) -> None:
    for guild_id in (10, 11):
        job = await add(harness.store, NOW, guild_id=guild_id)
        await harness.store.cancel(job.id, NOW, even_if_paid=False)
        await harness.announce_end(job, NOW)

    assert (await harness.erase(NOW + 2 * DAY)).done
    assert {row.user_id for row in await harness.rows(jobs)} == {0}
    assert {row.user_id for row in await harness.rows(entries)} == {0}


async def test_credits_are_written_off_in_the_ledger(harness: MemberDataHarness) -> None:
    grant_id = await harness.grant_credits(4)

    assert (await harness.erase()).credits == 4

    [grant] = await harness.rows(credit_grants)
    assert (grant.user_id, grant.credits_left) == (0, 0)
    lines = [row for row in await harness.rows(entries) if row.credit_grant_id == grant_id]
    assert sum(row.credits for row in lines) == 0
    assert (lines[-1].kind, lines[-1].reason, lines[-1].user_id) == ("adjust", "data deleted", 0)
    assert (lines[0].kind, lines[0].reason, lines[0].user_id, lines[0].actor_id) == ("grant", "", 0, None)
    assert (await harness.erase(NOW + MINUTE)).credits == 0


async def test_credits_granted_after_the_request_are_kept(harness: MemberDataHarness) -> None:
    await harness.erase(NOW)
    await harness.grant_credits(2, at=NOW + MINUTE)

    await harness.privacy.give_up_credits(await harness.privacy.request_erasure(OTHER, NOW), NOW)
    await harness.privacy.erase(await harness.privacy.request_erasure(ME, NOW), NOW + 2 * MINUTE)

    [grant] = await harness.rows(credit_grants)
    assert (grant.user_id, grant.credits_left) == (ME, 2)


async def test_bans_are_kept_until_they_end_and_limit_overrides_are_kept(harness: MemberDataHarness) -> None:
    ban = {"user_id": ME, "reason": "spam", "created_at": NOW - 9 * DAY, "actor_id": 99}
    await harness.insert(
        bans,
        ban | {"guild_id": 10, "expires_at": NOW - DAY},
        ban | {"guild_id": 11, "expires_at": NOW + DAY},
        ban | {"guild_id": 12, "expires_at": None},
    )
    await harness.insert(
        limit_overrides, {"guild_id": 10, "kind": "member", "target_id": ME, "videos_per_window": 1}
    )

    await harness.erase()

    assert [row.guild_id for row in await harness.rows(bans)] == [11, 12]
    assert len(await harness.rows(limit_overrides)) == 1


async def test_violations_are_kept_for_a_day(harness: MemberDataHarness) -> None:
    times = [NOW - DAY, NOW - DAY + MINUTE]
    await harness.insert(violations, *({"guild_id": 10, "user_id": ME, "created_at": at} for at in times))

    assert not (await harness.erase()).done
    assert len(await harness.rows(violations)) == 1

    assert (await harness.continue_erasure(NOW + MINUTE)).done
    assert await harness.rows(violations) == []


async def test_the_erasure_of_a_member_without_data_is_done_at_once(harness: MemberDataHarness) -> None:
    assert await harness.erase() == ErasureResult(done=True)
    assert await harness.rows(members) == []


class CrashingStore(MemberDataStore):
    """The store, in a process that dies when one more than `calls` methods are called."""

    def __init__(self, database: Database, calls: int) -> None:
        super().__init__(database, RULES)
        self._calls = calls

    def __getattribute__(self, name: str) -> Any:
        if not name.startswith("_"):
            self._calls -= 1
            if self._calls < 0:
                raise ConnectionError("the process died")
        return super().__getattribute__(name)


@pytest.mark.parametrize("calls", range(1, 10))  # the first is of `erase` itself
async def test_an_erasure_is_completed_after_a_crash_at_any_step(harness: MemberDataHarness, calls: int) -> None:
    await harness.add_ended_job(NOW - 3 * DAY)
    await add_waiting(harness.store, NOW - 2 * DAY)
    await harness.grant_credits(2, at=NOW - 2 * DAY)
    await harness.insert(violations, {"guild_id": 10, "user_id": ME, "created_at": NOW - 2 * DAY})
    erasure = await harness.privacy.request_erasure(ME, NOW)
    before = await harness.ledger_sums_and_totals()
    with pytest.raises(ConnectionError):
        await CrashingStore(harness.database, calls).erase(erasure, NOW)

    await harness.continue_erasure(NOW)
    for job in await harness.store.recent(10, ME, 5):
        await harness.announce_end(job, NOW)
    assert (await harness.continue_erasure(NOW + 2 * DAY)).done

    for table in (jobs, entries, credit_grants):
        assert {row.user_id for row in await harness.rows(table)} == {0}
    # Only the job that waited was returned.
    assert (await harness.ledger_sums_and_totals())[0].videos == before[0].videos - 1


async def test_simultaneous_erasures_apply_it_once(harness: MemberDataHarness) -> None:
    for days in range(9, 2, -1):
        await harness.add_ended_job(NOW - days * DAY)
    await harness.grant_credits(5)
    erasure = await harness.privacy.request_erasure(ME, NOW)

    results = await asyncio.gather(*(harness.privacy.erase(erasure, NOW) for _ in range(4)))

    assert sum(it.jobs for it in results) == 7
    assert sum(it.credits for it in results) == 5
    # The write-off entry names no member.
    assert sum(it.entries for it in results) == len(await harness.rows(entries)) - 1
    assert await harness.privacy.erasure_requests() == []


async def test_a_job_that_ends_during_an_erasure_is_settled_as_usual(harness: MemberDataHarness) -> None:
    running = await bring_to(harness.store, JobState.RUNNING)
    await harness.erase(NOW)
    cost = JobUpdate(cost_usd=Decimal("0.5"))

    assert await harness.store.apply(running, MoveTo(JobState.CANCELLED, cost), NOW)

    held, [total, guild] = await harness.ledger_sums_and_totals()
    assert held.usd == Decimal("0.5") == total[3] == guild[3]
    assert (total[0], guild[0]) == (EVERYWHERE, 10)


async def test_the_preview_counts_what_an_erasure_affects(harness: MemberDataHarness) -> None:
    await harness.add_ended_job(NOW)
    await bring_to(harness.store, JobState.RUNNING, NOW + 2 * MINUTE)
    await add(harness.store, NOW + 4 * MINUTE)
    await harness.grant_credits(3)

    assert await harness.privacy.preview_erasure(ME) == ErasurePreview(1, 1, 1, 3, None)

    await harness.privacy.request_erasure(ME, NOW)
    assert (await harness.privacy.preview_erasure(ME)).asked_at == NOW
    assert await harness.privacy.preview_erasure(OTHER) == ErasurePreview(0, 0, 0, 0, None)


async def test_an_export_contains_all_data_of_the_member_and_none_of_others(harness: MemberDataHarness) -> None:
    job = await harness.add_ended_job(NOW)
    await harness.add_ended_job(NOW, OTHER)
    grant_id = await harness.grant_credits(2)
    await harness.grant_credits(2, OTHER)
    for user_id in (ME, OTHER):
        await harness.insert(violations, {"guild_id": 10, "user_id": user_id, "created_at": NOW})
        ban = {"guild_id": 10, "user_id": user_id, "reason": f"of {user_id}", "created_at": NOW, "actor_id": 99}
        await harness.insert(bans, ban)
        await harness.insert(
            limit_overrides, {"guild_id": 10, "kind": "member", "target_id": user_id, "videos_per_window": user_id}
        )
        change = {"guild_id": 10, "at": NOW, "by": user_id, "action": "legacy", "what": f"by {user_id}"}
        await harness.insert(audit_log, change)
    await harness.insert(
        limit_overrides, {"guild_id": 10, "kind": "role", "target_id": ME, "videos_per_window": 7}
    )

    held = await harness.privacy.read(ME)

    assert [it.job.id for it in held.jobs] == [job.id]
    assert {it.user_id for it in held.entries} == {ME}
    assert [it.id for it in held.grants] == [grant_id]
    assert [it.reason for it in held.bans] == ["of 1"]
    assert held.violations == ((10, NOW),)
    assert [(guild_id, tier.videos_per_window) for guild_id, tier in held.limits] == [(10, ME)]
    assert [it.change.legacy_what for it in held.changes] == ["by 1"]
    assert held.left_out == {}


async def test_a_large_export_contains_the_newest_rows_and_counts_the_rest(harness: MemberDataHarness) -> None:
    for days in (5, 4, 3):
        await harness.add_ended_job(NOW - days * DAY)

    held = await harness.privacy.read(ME, limit=2)

    assert [it.job.created_at for it in held.jobs] == [NOW - 3 * DAY, NOW - 4 * DAY]
    assert held.left_out is not None
    assert held.left_out["videos"] == 1


async def test_an_erasure_processes_more_than_one_batch(harness: MemberDataHarness) -> None:
    await harness.add_ended_job(NOW - DAY)
    [ended] = await harness.rows(jobs)
    row = dict(ended._mapping)
    await harness.insert(jobs, *(row | {"id": f"job-{n}"} for n in range(1100)))

    assert (await harness.erase()).jobs == 1101


async def test_a_leased_job_is_not_anonymised(harness: MemberDataHarness) -> None:
    job = await bring_to(harness.store, JobState.DELIVERED)

    assert (await harness.erase()).jobs == 0
    assert await next_job(harness.store) is None
    assert (await read(harness.store, job)).user_id == ME


async def test_a_credit_that_is_spent_simultaneously_is_not_written_off_too(harness: MemberDataHarness) -> None:
    grant_id = await harness.grant_credits(1)
    erasure = await harness.privacy.request_erasure(ME, NOW)
    async with harness.database.write() as connection:  # as an acceptance does
        await guild_settings.lock_operator_state(connection)
        [credit] = await ledger.credits_of(connection, 10, ME, NOW)
        writing_off = asyncio.create_task(harness.privacy.give_up_credits(erasure, NOW))
        await wait_until_blocked(harness, writing_off)
        spent = Entry(
            EntryKind.RESERVE, 10, ME, NOW, NOW, Amounts(1, -1), "accepted", "job", credit.credit_grant_id
        )
        await ledger.write(connection, spent)

    assert await writing_off == 0

    assert sum(row.credits for row in await harness.rows(entries) if row.credit_grant_id == grant_id) == 0


async def wait_until_blocked(harness: MemberDataHarness, task: asyncio.Task[int]) -> None:
    """Returns once the task waits for a lock, or has ended."""
    for _ in range(20):  # SQLite's writers wait in an in-process queue
        await asyncio.sleep(0)
    waits = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
    while harness.postgresql and not task.done():
        async with harness.database.read() as connection:
            if (await connection.execute(waits)).scalar_one():
                return
