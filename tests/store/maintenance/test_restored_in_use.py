"""`zoetrope db restored` on a server: it ends jobs in progress, so no process may be working on them."""

import pytest

from bot.domain.errors import StoreError
from bot.domain.jobs import JobState
from bot.store.engine import Database
from bot.store.jobs.job_store import JobStore
from bot.store.maintenance import commands
from tests.store.factories import NOW, UNLIMITED, bring_to

pytestmark = [pytest.mark.both_databases, pytest.mark.parametrize("kind", ["postgresql"], indirect=True)]


async def test_a_database_that_a_process_is_connected_to_is_left_alone(database_url: str) -> None:
    async with Database.open(database_url) as database:
        job = await bring_to(JobStore(database, UNLIMITED), JobState.RUNNING)
        with pytest.raises(StoreError, match=r"The database is in use: \d+ other connections"):
            await commands.finish_restore(database_url, NOW)
        found = await JobStore(database, UNLIMITED).get(job.id)
        assert found is not None
        assert found.state is JobState.RUNNING
    assert (await commands.finish_restore(database_url, NOW)).startswith("Jobs in progress in the backup: 1.")
