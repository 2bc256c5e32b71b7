"""Deleting a member's data, on both databases."""

from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import update

from bot.domain.errors import QuotaRefused
from bot.domain.jobs import Job, JobState, NewJob, Order, new_job_id
from bot.domain.member_data import ErasureResult
from bot.domain.outcomes import JobUpdate, MoveTo
from bot.store.guilds import guild_settings
from bot.store.money_tables import credit_grants
from bot.store.money_tables import ledger as entries
from bot.store.schema import bans, jobs, limit_overrides, members, violations
from tests.store.factories import (
    FRAME,
    MINUTE,
    NOW,
    add,
    add_waiting,
    bring_to,
    read,
    requester_of,
)
from tests.store.privacy.conftest import DAY, ME, OTHER, MemberDataHarness


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
    messages = ("status_message_id", "result_message_id", "result_channel_id", "approval_message_id")
    picture = ("picture_name", "picture_alt_text")
    assert {getattr(row, name) for name in personal + messages + picture} == {None}
    kept = await read(harness.store, job)
    assert (kept.guild_id, kept.state, kept.created_at) == (10, JobState.DELIVERED, job.created_at)
    assert (kept.charged, kept.cost_usd, kept.order.resolution) == (True, job.cost_usd, job.order.resolution)


async def test_nothing_says_any_more_where_an_erased_jobs_task_was_asked_about(harness: MemberDataHarness) -> None:
    job = await harness.add_ended_job()
    async with harness.database.write() as connection:
        told = {"upstream_urls": {"status": "https://gateway.example/v1/queue/task-1"}, "can_be_stopped": True}
        await connection.execute(update(jobs).where(jobs.c.id == job.id).values(told))

    await harness.erase()

    erased = await read(harness.store, job)
    assert (erased.upstream_urls, erased.can_be_stopped) == (None, False)


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


async def test_an_erasure_processes_more_than_one_batch(harness: MemberDataHarness) -> None:
    await harness.add_ended_job(NOW - DAY)
    [ended] = await harness.rows(jobs)
    row = dict(ended._mapping)
    await harness.insert(jobs, *(row | {"id": f"job-{n}"} for n in range(1100)))

    assert (await harness.erase()).jobs == 1101
