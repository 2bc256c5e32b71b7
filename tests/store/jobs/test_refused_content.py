"""What the video service's moderation refuses counts like a blocked prompt, once, where the server wants that."""

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update

from bot.domain.guilds import BLOCKED_PROMPTS, Guild, GuildSettings
from bot.domain.jobs import FailureCause, FailureDetail, FailureReason, Job, JobState, Order, RecoveryProblem
from bot.domain.outcomes import Fail, Reschedule
from bot.domain.variations import variations_of
from bot.store.engine import Database
from bot.store.guilds import bans, guild_settings, violations
from bot.store.jobs.job_store import JobStore
from bot.store.schema import jobs
from tests.store.factories import (
    FRAME,
    NOW,
    SECOND,
    bring_to,
    claim,
    new_job,
    next_job,
    notified_texts,
    read,
    requester_of,
    resume_failed_job,
)

SETTINGS = GuildSettings(
    violation_limit=3, violation_pause_hours=12, refused_content_counts=True, log_channel_id=100
)
PAUSED_UNTIL = NOW + timedelta(hours=12)

CONTENT = Fail(FailureReason.REJECTED, FailureDetail(FailureCause.CONTENT_REFUSED, "Too much"))


async def set_up(database: Database, **settings: Any) -> None:
    async with database.write() as connection:
        columns = guild_settings.settings_columns(replace(SETTINGS, **settings))
        await guild_settings.write(connection, 10, columns)


async def remaining(database: Database) -> int | None:
    async with database.read() as connection:
        return await violations.remaining(connection, Guild(10, SETTINGS), 1, NOW)


async def test_refused_content_counts_in_the_same_transaction_and_tells_how_many_are_left(
    store: JobStore, database: Database
) -> None:
    await set_up(database)
    job = await bring_to(store, JobState.SUBMITTING)

    assert await store.apply(job, CONTENT, NOW)

    assert await remaining(database) == 2
    ended = await read(store, job)
    assert ended.failure_detail == FailureDetail(FailureCause.CONTENT_REFUSED, "Too much", violations_left=2)
    assert not ended.charged


async def test_refused_content_counts_once_however_often_its_worker_tries_to_write_it(
    store: JobStore, database: Database
) -> None:
    await set_up(database)
    job = await bring_to(store, JobState.SUBMITTING)

    assert await store.apply(job, CONTENT, NOW)
    assert not await store.apply(job, CONTENT, NOW)

    assert await remaining(database) == 2


async def test_a_failure_that_could_not_be_written_counts_nothing(store: JobStore, database: Database) -> None:
    await set_up(database)
    job = await bring_to(store, JobState.SUBMITTING)
    async with database.write() as connection:
        await connection.execute(update(jobs).where(jobs.c.id == job.id).values(lease_token="of another worker"))

    assert not await store.apply(job, CONTENT, NOW)

    assert await remaining(database) == 3


async def test_a_rejection_is_final_so_that_no_retry_counts_it_again(store: JobStore, database: Database) -> None:
    await set_up(database)
    job = await bring_to(store, JobState.RUNNING)
    assert await store.apply(job, CONTENT, NOW)

    assert await resume_failed_job(store, job.id, NOW, actor_id=None) is RecoveryProblem.REJECTED

    assert await remaining(database) == 2


async def test_a_resumed_job_that_is_rejected_then_does_not_count(store: JobStore, database: Database) -> None:
    await set_up(database)
    job = await bring_to(store, JobState.RUNNING)
    timed_out = Fail(FailureReason.TIMED_OUT, FailureDetail(FailureCause.NOT_FINISHED))
    assert await store.apply(job, timed_out, NOW)
    assert isinstance(await resume_failed_job(store, job.id, NOW, actor_id=None), Job)
    assert await store.apply(await claim(store, job.id), CONTENT, NOW)

    assert await remaining(database) == 3


@pytest.mark.parametrize(
    ("settings", "failure"),
    [
        ({"refused_content_counts": False}, CONTENT),
        ({"violation_limit": 0}, CONTENT),
        ({}, Fail(FailureReason.REFUSED, FailureDetail(FailureCause.REFUSED_BY_SERVICE))),
    ],
    ids=["not wanted", "no limit", "another failure"],
)
async def test_other_failures_and_servers_count_nothing(
    store: JobStore, database: Database, settings: dict[str, Any], failure: Fail
) -> None:
    await set_up(database, **settings)
    job = await bring_to(store, JobState.SUBMITTING)

    assert await store.apply(job, failure, NOW)

    assert await remaining(database) == 3
    assert (await read(store, job)).failure_detail == failure.detail


async def test_refused_content_that_is_one_too_many_pauses_the_member_and_is_reported(
    store: JobStore, database: Database
) -> None:
    await set_up(database, violation_limit=1)
    job = await bring_to(store, JobState.SUBMITTING)

    assert await store.apply(job, CONTENT, NOW)

    async with database.read() as connection:
        ban = await bans.active_ban(connection, 10, 1, NOW)
    assert ban is not None
    assert (ban.actor_id, ban.expires_at, ban.reason) == (None, PAUSED_UNTIL, BLOCKED_PROMPTS)
    paused_until = int(PAUSED_UNTIL.timestamp())
    assert (await read(store, job)).failure_detail == replace(CONTENT.detail, paused_until=paused_until)
    paused, failed = await notified_texts(database)
    assert paused.startswith(f"🚫 <@1> is paused until <t:{paused_until}:f> after a blocked prompt.")
    assert "The video service's moderation rejected its picture or prompt: “Too much”. It counts as a" in failed


async def test_refused_content_of_many_jobs_at_once_is_counted_one_by_one(
    store: JobStore, database: Database
) -> None:
    await set_up(database, violation_limit=5)
    claimed = [await bring_to(store, JobState.SUBMITTING) for _ in range(4)]

    assert all(await asyncio.gather(*(store.apply(job, CONTENT, NOW) for job in claimed)))

    details = [(await read(store, job)).failure_detail for job in claimed]
    assert sorted(detail.violations_left or 0 for detail in details if detail) == [1, 2, 3, 4]


async def test_one_prompt_that_is_refused_for_all_of_its_variations_counts_once(
    store: JobStore, database: Database
) -> None:
    await set_up(database)
    new = [new_job(order=order) for order in variations_of(Order("a fox"), 4)]
    jobs = await store.add_together(new, FRAME, requester_of(new[0]), NOW)
    later = NOW + SECOND
    submitting = [await submitting_of(store, job, later) for job in jobs]

    assert all(await asyncio.gather(*(store.apply(job, CONTENT, NOW) for job in submitting)))

    assert await remaining(database) == 2
    details = [(await read(store, job)).failure_detail for job in jobs]
    assert details == [replace(CONTENT.detail, violations_left=2)] * 4


async def submitting_of(store: JobStore, job: Job, now: datetime) -> Job:
    assert await store.apply(await claim(store, job.id, now), Reschedule(None), now)
    submitting = await next_job(store, now)
    assert submitting is not None
    return submitting
