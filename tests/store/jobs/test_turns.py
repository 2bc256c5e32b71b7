"""Whose jobs are claimed first, with more due than one claim reads."""

from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import insert, select

from bot.domain.jobs import JobState
from bot.store.engine import Database
from bot.store.jobs.due import DueFor
from bot.store.jobs.job_store import JobStore
from bot.store.schema import jobs
from tests.store.factories import LEASES, NOW, SECOND, add

MANY = 300
"""More than a claim of a few jobs reads of the front of the line."""


async def fill_the_front(store: JobStore, database: Database, guild_ids: list[int], **also: Any) -> None:
    """Adds many jobs of each server that have been due for long, the first server's the longest."""
    pattern = await add(store)
    async with database.write() as connection:
        row = (await connection.execute(select(jobs).where(jobs.c.id == pattern.id))).one()._asdict()
        for place, guild_id in enumerate(guild_ids):
            due_at: datetime = NOW - (len(guild_ids) - place) * MANY * SECOND
            copy = row | {"guild_id": guild_id, "due_at": due_at} | also
            ids = [f"{guild_id}-{number}" for number in range(MANY)]
            await connection.execute(insert(jobs), [copy | {"id": job_id} for job_id in ids])
        await connection.execute(jobs.delete().where(jobs.c.id == pattern.id))


@pytest.mark.parametrize("fillers", [[1], [1, 2, 3, 4]])
async def test_servers_whose_jobs_fill_the_front_of_the_line_delay_nobody(
    store: JobStore, database: Database, fillers: list[int]
) -> None:
    await fill_the_front(store, database, fillers)
    other = await add(store, NOW - SECOND, guild_id=9)
    claimed = await store.claim_due(NOW, 8, LEASES)
    assert len(claimed) == 8
    assert other.id in {job.id for job in claimed}
    assert {job.guild_id for job in claimed} == {*fillers, 9}


async def test_a_server_with_thousands_of_polls_delays_nobodys_poll(store: JobStore, database: Database) -> None:
    running = {"state": JobState.RUNNING, "upstream_id": "task"}
    await fill_the_front(store, database, [1], **running)
    await fill_the_front(store, database, [2], **running)
    claimed = await store.claim_due(NOW, 8, LEASES, kinds=(DueFor.POLL,))
    assert [job.guild_id for job in claimed].count(2) == 4


async def test_polls_and_stages_are_claimed_apart(store: JobStore, database: Database) -> None:
    await fill_the_front(store, database, [1], state=JobState.RUNNING, upstream_id="task")
    other = await add(store, guild_id=9)
    polls = await store.claim_due(NOW, 8, LEASES, kinds=(DueFor.POLL,))
    assert {job.state for job in polls} == {JobState.RUNNING}
    assert len(polls) == 8
    assert [job.id for job in await store.claim_due(NOW, 8, LEASES, kinds=(DueFor.STAGE,))] == [other.id]
