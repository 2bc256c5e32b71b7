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
class Archive:
    """One database with its stores."""

    database: Database
    store: JobStore
    privacy: MemberDataStore
    postgresql: bool

    async def erase(self, now: datetime = NOW, user_id: int = ME) -> ErasureResult:
        return await self.privacy.erase(await self.privacy.request_erasure(user_id, now), now)

    async def go_on(self, now: datetime) -> ErasureResult:
        [erasure] = await self.privacy.erasure_requests()
        return await self.privacy.erase(erasure, now)

    async def rows(self, table: Table) -> Sequence[Row[Any]]:
        async with self.database.read() as connection:
            return (await connection.execute(select(table).order_by(*table.primary_key.columns))).all()

    async def insert(self, table: Table, *rows: dict[str, Any]) -> None:
        async with self.database.write() as connection:
            await connection.execute(insert(table), list(rows))

    async def sums(self) -> tuple[Amounts, list[tuple[object, ...]]]:
        """What the ledger comes to, and what stands in the sums beside it."""
        columns = [func.coalesce(func.sum(it), 0) for it in (entries.c.videos, entries.c.usd)]
        async with self.database.read() as connection:
            videos, usd = (await connection.execute(select(*columns))).one()
        kept = [tuple(row) for row in await self.rows(daily_totals)]
        return Amounts(int(videos), 0, Decimal(usd)), kept

    async def give(self, number: int, user_id: int = ME, at: datetime = NOW) -> int:
        """A grant of credits, with its line in the ledger; its id."""
        row = {"guild_id": 10, "user_id": user_id, "credits_left": 0, "created_at": at, "actor_id": 99}
        async with self.database.write() as connection:
            made = await connection.execute(insert(credit_grants).values(row).returning(credit_grants.c.id))
            grant_id: int = made.scalar_one()
            sums = Amounts(credits=number)
            entry = Entry(EntryKind.GRANT, 10, user_id, at, at, sums, "for Ann", None, grant_id, 99)
            await ledger.write(connection, entry)
        return grant_id

    async def told(self, job: Job, now: datetime) -> None:
        """The member is told of the job's end."""
        assert await self.store.apply(await claim(self.store, job.id, now), Reschedule(None), now)

    async def over(self, now: datetime = NOW, user_id: int = ME) -> Job:
        """A job that was delivered, and told."""
        job = await bring_to(self.store, JobState.DELIVERED, now, user_id=user_id)
        assert await self.store.apply(job, Reschedule(None), now)
        return await read(self.store, job)


@pytest.fixture
def archive(database: Database, kind: str) -> Archive:
    return Archive(database, JobStore(database, RULES), MemberDataStore(database, RULES), kind == "postgresql")


def asks(user_id: int = ME, guild_id: int = 10) -> NewJob:
    return NewJob(new_job_id(), guild_id, 100, user_id, Order("a fox"))


async def order(archive: Archive, now: datetime, user_id: int = ME) -> Job:
    new = asks(user_id)
    return await archive.store.add(new, FRAME, requester_of(new), now)


async def test_a_deleted_job_keeps_what_the_sums_need_and_nothing_of_the_member(archive: Archive) -> None:
    job = await archive.over()

    assert (await archive.erase()).jobs == 1

    [row] = await archive.rows(jobs)
    assert (row.user_id, row.channel_id, row.prompt) == (0, 0, "")
    personal = ("negative_prompt", "seed", "upstream_response", "result_url", "upstream_id", "failure_detail")
    messages = ("status_message_id", "result_message_id", "approval_message_id")
    assert {getattr(row, name) for name in personal + messages} == {None}
    kept = await read(archive.store, job)
    assert (kept.guild_id, kept.state, kept.created_at) == (10, JobState.DELIVERED, job.created_at)
    assert (kept.charged, kept.cost_usd, kept.order.resolution) == (True, job.cost_usd, job.order.resolution)


async def test_the_sums_are_the_same_before_and_after(archive: Archive) -> None:
    await archive.over(NOW - 5 * DAY)
    await archive.over(NOW - MINUTE * 3)
    await archive.over(NOW - MINUTE, OTHER)
    before = await archive.sums()

    await archive.erase()
    await archive.go_on(NOW + 2 * DAY)

    assert await archive.sums() == before


async def test_deleting_gives_no_fresh_quota(archive: Archive) -> None:
    for minutes in (9, 6, 3):
        await archive.over(NOW - minutes * MINUTE)

    await archive.erase()

    with pytest.raises(QuotaRefused) as refused:
        await order(archive, NOW)
    assert refused.value.limit == "window"


async def test_deleting_does_not_shorten_the_pause(archive: Archive) -> None:
    await archive.over(NOW - timedelta(seconds=10))

    await archive.erase()

    with pytest.raises(QuotaRefused) as refused:
        await order(archive, NOW)
    assert refused.value.limit == "pause"


async def test_a_pause_longer_than_the_window_is_kept_too(archive: Archive) -> None:
    pause_s = int((3 * DAY).total_seconds())
    tier = {
        "guild_id": 10,
        "kind": "member",
        "target_id": ME,
        "videos_per_window": None,
        "max_active": None,
        "cooldown_s": pause_s,
    }
    await archive.insert(limit_overrides, tier)
    await archive.over(NOW - 2 * DAY)

    await archive.erase()

    with pytest.raises(QuotaRefused) as refused:
        await order(archive, NOW)
    assert refused.value.limit == "pause"


async def test_a_line_loses_its_name_when_it_leaves_the_window(archive: Archive) -> None:
    await archive.over(NOW)
    await archive.erase(NOW)
    assert {row.user_id for row in await archive.rows(entries)} == {ME}

    assert not (await archive.go_on(NOW + DAY - timedelta(microseconds=1))).done
    assert {row.user_id for row in await archive.rows(entries)} == {ME}

    assert (await archive.go_on(NOW + DAY)).done
    assert {(row.user_id, row.actor_id) for row in await archive.rows(entries)} == {(0, None)}
    assert await archive.rows(members) == []


async def test_a_servers_own_window_counts(archive: Archive) -> None:
    async with archive.database.write() as connection:
        await guild_settings.write(connection, 10, {"window_hours": 72})
    await archive.over(NOW)
    await archive.erase(NOW)

    assert (await archive.go_on(NOW + 2 * DAY)).entries == 0
    assert (await archive.go_on(NOW + 3 * DAY)).entries > 0


async def test_what_waits_is_cancelled_free_and_what_runs_goes_on_unposted(archive: Archive) -> None:
    running = await bring_to(archive.store, JobState.RUNNING)
    waiting = await add_waiting(archive.store, NOW + 2 * MINUTE)

    erased = await archive.erase(NOW + 3 * MINUTE)

    assert (erased.cancelled, erased.in_progress, erased.jobs, erased.done) == (1, 1, 0, False)
    assert (await read(archive.store, waiting)).state is JobState.CANCELLED
    assert not (await read(archive.store, waiting)).charged
    kept = await read(archive.store, running)
    assert (kept.state, kept.cancel_requested, kept.user_id) == (JobState.RUNNING, True, ME)
    assert (await archive.go_on(NOW + 4 * MINUTE)).in_progress == 0


async def test_a_job_under_way_is_anonymised_once_its_end_is_told(archive: Archive) -> None:
    running = await bring_to(archive.store, JobState.RUNNING)
    await archive.erase(NOW)
    cost = JobUpdate(cost_usd=Decimal("0.123"))
    assert await archive.store.apply(running, MoveTo(JobState.CANCELLED, cost), NOW)

    await archive.go_on(NOW)
    assert (await read(archive.store, running)).user_id == ME

    await archive.told(running, NOW)
    await archive.go_on(NOW)
    found = await read(archive.store, running)
    assert (found.user_id, found.cost_usd) == (0, Decimal("0.123"))


async def test_the_ledger_of_a_job_under_way_is_left_alone(archive: Archive) -> None:
    running = await bring_to(archive.store, JobState.RUNNING)

    assert (await archive.erase(NOW + 40 * DAY)).entries == 0
    assert {row.user_id for row in await archive.rows(entries)} == {running.user_id}


async def test_a_video_asked_for_afterwards_is_kept(archive: Archive) -> None:
    await archive.over(NOW)
    await archive.erase(NOW)
    new = await archive.over(NOW + 2 * MINUTE)
    newest = await order(archive, NOW + 4 * MINUTE)

    await archive.go_on(NOW + 5 * MINUTE)
    await archive.go_on(NOW + 10 * DAY)

    for job in (new, newest):
        kept = await read(archive.store, job)
        assert (kept.user_id, kept.order.prompt, kept.cancel_requested) == (ME, job.order.prompt, False)
        assert {row.user_id for row in await archive.rows(entries) if row.job_id == job.id} == {ME}
    assert await archive.privacy.erasure_requests() == []


async def test_asking_again_covers_what_came_since(archive: Archive) -> None:
    await archive.over(NOW)
    await archive.erase(NOW)
    newer = await archive.over(NOW + 2 * MINUTE)

    await archive.erase(NOW + 3 * MINUTE)

    assert (await read(archive.store, newer)).user_id == 0
    assert len(await archive.privacy.erasure_requests()) == 1


async def test_an_older_wish_that_ends_late_does_not_end_a_newer_one(archive: Archive) -> None:
    first = await archive.privacy.request_erasure(ME, NOW)
    await archive.privacy.request_erasure(ME, NOW + MINUTE)

    await archive.privacy.finish(first)

    assert [it.asked_at for it in await archive.privacy.erasure_requests()] == [NOW + MINUTE]


async def test_other_members_are_untouched(archive: Archive) -> None:
    theirs = await archive.over(NOW, OTHER)
    await archive.give(3, OTHER)
    await archive.insert(violations, {"guild_id": 10, "user_id": OTHER, "created_at": NOW - 3 * DAY})
    tables = (jobs, entries, credit_grants, violations)
    before = [await archive.rows(table) for table in tables]

    assert (await archive.erase(NOW + 5 * DAY)).done

    assert [await archive.rows(table) for table in tables] == before
    assert (await read(archive.store, theirs)).user_id == OTHER


async def test_all_servers_are_meant(archive: Archive) -> None:
    for guild_id in (10, 11):
        job = await add(archive.store, NOW, guild_id=guild_id)
        await archive.store.cancel(job.id, NOW, even_if_paid=False)
        await archive.told(job, NOW)

    assert (await archive.erase(NOW + 2 * DAY)).done
    assert {row.user_id for row in await archive.rows(jobs)} == {0}
    assert {row.user_id for row in await archive.rows(entries)} == {0}


async def test_credits_are_given_up_in_the_ledger(archive: Archive) -> None:
    grant_id = await archive.give(4)

    assert (await archive.erase()).credits == 4

    [grant] = await archive.rows(credit_grants)
    assert (grant.user_id, grant.credits_left) == (0, 0)
    lines = [row for row in await archive.rows(entries) if row.credit_grant_id == grant_id]
    assert sum(row.credits for row in lines) == 0
    assert (lines[-1].kind, lines[-1].reason, lines[-1].user_id) == ("adjust", "data deleted", 0)
    assert (lines[0].kind, lines[0].reason, lines[0].user_id, lines[0].actor_id) == ("grant", "", 0, None)
    assert (await archive.erase(NOW + MINUTE)).credits == 0


async def test_credits_given_afterwards_are_kept(archive: Archive) -> None:
    await archive.erase(NOW)
    await archive.give(2, at=NOW + MINUTE)

    await archive.privacy.give_up_credits(await archive.privacy.request_erasure(OTHER, NOW), NOW)
    await archive.privacy.erase(await archive.privacy.request_erasure(ME, NOW), NOW + 2 * MINUTE)

    [grant] = await archive.rows(credit_grants)
    assert (grant.user_id, grant.credits_left) == (ME, 2)


async def test_bans_stay_until_they_are_over_and_own_limits_stay(archive: Archive) -> None:
    ban = {"user_id": ME, "reason": "spam", "created_at": NOW - 9 * DAY, "actor_id": 99}
    await archive.insert(
        bans,
        ban | {"guild_id": 10, "expires_at": NOW - DAY},
        ban | {"guild_id": 11, "expires_at": NOW + DAY},
        ban | {"guild_id": 12, "expires_at": None},
    )
    await archive.insert(
        limit_overrides, {"guild_id": 10, "kind": "member", "target_id": ME, "videos_per_window": 1}
    )

    await archive.erase()

    assert [row.guild_id for row in await archive.rows(bans)] == [11, 12]
    assert len(await archive.rows(limit_overrides)) == 1


async def test_blocked_prompts_count_until_a_day_is_over(archive: Archive) -> None:
    times = [NOW - DAY, NOW - DAY + MINUTE]
    await archive.insert(violations, *({"guild_id": 10, "user_id": ME, "created_at": at} for at in times))

    assert not (await archive.erase()).done
    assert len(await archive.rows(violations)) == 1

    assert (await archive.go_on(NOW + MINUTE)).done
    assert await archive.rows(violations) == []


async def test_a_member_of_whom_nothing_is_kept_is_done_at_once(archive: Archive) -> None:
    assert await archive.erase() == ErasureResult(done=True)
    assert await archive.rows(members) == []


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
async def test_whoever_dies_over_it_leaves_the_rest_to_the_next(archive: Archive, calls: int) -> None:
    await archive.over(NOW - 3 * DAY)
    await add_waiting(archive.store, NOW - 2 * DAY)
    await archive.give(2, at=NOW - 2 * DAY)
    await archive.insert(violations, {"guild_id": 10, "user_id": ME, "created_at": NOW - 2 * DAY})
    erasure = await archive.privacy.request_erasure(ME, NOW)
    before = await archive.sums()
    with pytest.raises(ConnectionError):
        await CrashingStore(archive.database, calls).erase(erasure, NOW)

    await archive.go_on(NOW)
    for job in await archive.store.recent(10, ME, 5):
        await archive.told(job, NOW)
    assert (await archive.go_on(NOW + 2 * DAY)).done

    for table in (jobs, entries, credit_grants):
        assert {row.user_id for row in await archive.rows(table)} == {0}
    # The one that waited was given back; all else is as it was.
    assert (await archive.sums())[0].videos == before[0].videos - 1


async def test_two_at_once_do_it_once(archive: Archive) -> None:
    for days in range(9, 2, -1):
        await archive.over(NOW - days * DAY)
    await archive.give(5)
    erasure = await archive.privacy.request_erasure(ME, NOW)

    results = await asyncio.gather(*(archive.privacy.erase(erasure, NOW) for _ in range(4)))

    assert sum(it.jobs for it in results) == 7
    assert sum(it.credits for it in results) == 5
    assert sum(it.entries for it in results) == len(await archive.rows(entries)) - 1  # the write-off has no name
    assert await archive.privacy.erasure_requests() == []


async def test_a_job_that_ends_meanwhile_is_settled_as_ever(archive: Archive) -> None:
    running = await bring_to(archive.store, JobState.RUNNING)
    await archive.erase(NOW)
    cost = JobUpdate(cost_usd=Decimal("0.5"))

    assert await archive.store.apply(running, MoveTo(JobState.CANCELLED, cost), NOW)

    held, [total, guild] = await archive.sums()
    assert held.usd == Decimal("0.5") == total[3] == guild[3]
    assert (total[0], guild[0]) == (EVERYWHERE, 10)


async def test_the_outlook_counts_what_a_deletion_will_meet(archive: Archive) -> None:
    await archive.over(NOW)
    await bring_to(archive.store, JobState.RUNNING, NOW + 2 * MINUTE)
    await add(archive.store, NOW + 4 * MINUTE)
    await archive.give(3)

    assert await archive.privacy.preview_erasure(ME) == ErasurePreview(1, 1, 1, 3, None)

    await archive.privacy.request_erasure(ME, NOW)
    assert (await archive.privacy.preview_erasure(ME)).asked_at == NOW
    assert await archive.privacy.preview_erasure(OTHER) == ErasurePreview(0, 0, 0, 0, None)


async def test_an_export_holds_all_of_ones_own_and_nothing_of_others(archive: Archive) -> None:
    job = await archive.over(NOW)
    await archive.over(NOW, OTHER)
    grant_id = await archive.give(2)
    await archive.give(2, OTHER)
    for user_id in (ME, OTHER):
        await archive.insert(violations, {"guild_id": 10, "user_id": user_id, "created_at": NOW})
        ban = {"guild_id": 10, "user_id": user_id, "reason": f"of {user_id}", "created_at": NOW, "actor_id": 99}
        await archive.insert(bans, ban)
        await archive.insert(
            limit_overrides, {"guild_id": 10, "kind": "member", "target_id": user_id, "videos_per_window": user_id}
        )
        change = {"guild_id": 10, "at": NOW, "by": user_id, "action": "legacy", "what": f"by {user_id}"}
        await archive.insert(audit_log, change)
    await archive.insert(
        limit_overrides, {"guild_id": 10, "kind": "role", "target_id": ME, "videos_per_window": 7}
    )

    held = await archive.privacy.read(ME)

    assert [it.job.id for it in held.jobs] == [job.id]
    assert {it.user_id for it in held.entries} == {ME}
    assert [it.id for it in held.grants] == [grant_id]
    assert [it.reason for it in held.bans] == ["of 1"]
    assert held.violations == ((10, NOW),)
    assert [(guild_id, tier.videos_per_window) for guild_id, tier in held.limits] == [(10, ME)]
    assert [it.change.legacy_what for it in held.changes] == ["by 1"]
    assert held.left_out == {}


async def test_an_export_of_very_much_takes_the_newest_and_counts_the_rest(archive: Archive) -> None:
    for days in (5, 4, 3):
        await archive.over(NOW - days * DAY)

    held = await archive.privacy.read(ME, limit=2)

    assert [it.job.created_at for it in held.jobs] == [NOW - 3 * DAY, NOW - 4 * DAY]
    assert held.left_out is not None
    assert held.left_out["videos"] == 1


async def test_more_jobs_than_a_batch_all_go(archive: Archive) -> None:
    await archive.over(NOW - DAY)
    [told] = await archive.rows(jobs)
    row = dict(told._mapping)
    await archive.insert(jobs, *(row | {"id": f"job-{n}"} for n in range(1100)))

    assert (await archive.erase()).jobs == 1101


async def test_nothing_is_taken_from_a_job_that_a_worker_holds(archive: Archive) -> None:
    job = await bring_to(archive.store, JobState.DELIVERED)

    assert (await archive.erase()).jobs == 0
    assert await next_job(archive.store) is None
    assert (await read(archive.store, job)).user_id == ME


async def test_a_credit_that_is_just_being_spent_is_not_given_up_too(archive: Archive) -> None:
    grant_id = await archive.give(1)
    erasure = await archive.privacy.request_erasure(ME, NOW)
    async with archive.database.write() as connection:  # as an acceptance does
        await guild_settings.lock_operator_state(connection)
        [credit] = await ledger.credits_of(connection, 10, ME, NOW)
        giving_up = asyncio.create_task(archive.privacy.give_up_credits(erasure, NOW))
        await until_it_waits(archive, giving_up)
        spent = Entry(
            EntryKind.RESERVE, 10, ME, NOW, NOW, Amounts(1, -1), "accepted", "job", credit.credit_grant_id
        )
        await ledger.write(connection, spent)

    assert await giving_up == 0

    assert sum(row.credits for row in await archive.rows(entries) if row.credit_grant_id == grant_id) == 0


async def until_it_waits(archive: Archive, task: asyncio.Task[int]) -> None:
    """Returns once the task waits for a lock, or is over."""
    for _ in range(20):  # SQLite's writers wait in a line of this process
        await asyncio.sleep(0)
    waits = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
    while archive.postgresql and not task.done():
        async with archive.database.read() as connection:
            if (await connection.execute(waits)).scalar_one():
                return
