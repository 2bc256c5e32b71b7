"""PostgreSQL fails over: the primary becomes read-only, another of several hosts takes over, sessions run out.

A transaction whose process was stopped ends, too: it must not keep its locks.
"""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import make_url, text

from bot.domain.errors import StoreError
from bot.operations.clock import uptime_s
from bot.operations.held_lease import HeldLease, working_under
from bot.store.engine import Database
from bot.store.guilds import guild_settings
from bot.store.jobs.job_store import JobStore
from bot.store.stopped_sessions import end_stopped_sessions
from tests.store.conftest import run_outside_transaction
from tests.store.factories import MANY, UNLIMITED, add
from tests.store.lossy_proxy import LossyProxy

pytestmark = [pytest.mark.full, pytest.mark.parametrize("kind", ["postgresql"], indirect=True)]

SOON_S = 0.1


def socket_of(url: str) -> Path:
    return Path(str(make_url(url).query["host"])) / ".s.PGSQL.5432"


async def jobs_of(store: JobStore) -> int:
    return len(await store.recent(10, 1, MANY))


async def test_a_transaction_whose_process_is_stopped_lets_others_order(database_url: str) -> None:
    async with (
        Database.open(database_url, idle_timeout_s=SOON_S) as stopped,
        Database.open(database_url) as database,
    ):

        async def stop_in_the_middle() -> None:
            async with stopped.write() as connection:
                await guild_settings.operator_state_of(connection, lock=True)
                await add(JobStore(database, UNLIMITED))

        with pytest.raises(StoreError):
            await stop_in_the_middle()
        assert await jobs_of(JobStore(stopped, UNLIMITED)) == 1


async def test_a_process_that_is_stopped_in_the_middle_of_a_statement_lets_others_order(database_url: str) -> None:
    async with (
        Database.open(database_url) as stopped,
        Database.open(database_url) as working,
        Database.open(database_url) as database,
    ):

        async def stop_in_the_middle() -> None:
            async with working.write() as idle, stopped.write() as connection:
                await idle.execute(text("SELECT 1"))
                await guild_settings.operator_state_of(connection, lock=True)
                raw = await connection.get_raw_connection()
                assert raw.driver_connection is not None
                await raw.driver_connection.prepare("SELECT 1")  # and never executes it
                assert await end_stopped_sessions(database) == 0, "it may still go on"
                await asyncio.sleep(2 * SOON_S)  # the time of the server, whose clock it is
                assert await end_stopped_sessions(database, stopped_after=timedelta(seconds=SOON_S)) == 1
                await add(JobStore(database, UNLIMITED))
                await idle.execute(text("SELECT 1"))
                await guild_settings.operator_state_of(connection)

        with pytest.raises(StoreError):
            await stop_in_the_middle()
        assert await jobs_of(JobStore(stopped, UNLIMITED)) == 1


@asynccontextmanager
async def read_only(url: str) -> AsyncIterator[None]:
    """Sessions that begin in this block are read-only, as on a standby."""
    elsewhere = make_url(url).set(database="template1").render_as_string()
    await run_outside_transaction(elsewhere, "ALTER DATABASE postgres SET default_transaction_read_only = on")
    try:
        yield
    finally:
        await run_outside_transaction(elsewhere, "ALTER DATABASE postgres RESET default_transaction_read_only")


async def test_after_a_failover_no_connection_to_the_former_primary_is_used_again(database_url: str) -> None:
    async with Database.open(database_url) as database:
        store = JobStore(database, UNLIMITED)
        async with read_only(database_url):
            async with database.read(), database.read():
                pass  # two connections are kept
            with pytest.raises(StoreError, match=r"takes no writes: .*read-only"):
                await add(store)
        await add(store)
        await asyncio.gather(*(add(store) for _ in range(3)))
        assert await jobs_of(store) == 4


async def test_of_several_hosts_the_one_that_takes_writes_is_used(database_url: str) -> None:
    """The first does not answer; the second is a standby at first."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        async with LossyProxy(socket_of(database_url)).listening() as primary:
            several = primary.replace("@", f"@127.0.0.1:{silent.getsockname()[1]},")
            async with read_only(database_url), Database.open(several) as database:
                with pytest.raises(StoreError, match="None of the hosts match"):
                    await add(JobStore(database, UNLIMITED))
            async with Database.open(several) as database:
                await add(JobStore(database, UNLIMITED))


async def test_while_no_host_is_a_primary_the_database_counts_as_failing(database_url: str) -> None:
    """What is to be written waits: any other error would count as a bug, and be given up."""
    async with LossyProxy(socket_of(database_url)).listening() as url:
        async with Database.open(f"{url}&target_session_attrs=primary") as database:
            assert await jobs_of(JobStore(database, UNLIMITED)) == 0
        async with Database.open(f"{url}&target_session_attrs=standby") as database:
            with pytest.raises(StoreError, match="None of the hosts match"):
                await jobs_of(JobStore(database, UNLIMITED))


async def test_too_many_connections_are_an_outage_that_ends_by_itself(database_url: str) -> None:
    await run_outside_transaction(database_url, "CREATE ROLE few LOGIN CONNECTION LIMIT 1")
    await run_outside_transaction(database_url, "GRANT ALL ON ALL TABLES IN SCHEMA public TO few")
    try:
        async with Database.open(database_url.replace("postgres@", "few@")) as database:
            async with database.read() as connection:
                assert await connection.scalar(text("SELECT 1")) == 1
                with pytest.raises(StoreError, match="too many connections"):
                    async with database.read():
                        pass
            assert await jobs_of(JobStore(database, UNLIMITED)) == 0
    finally:
        for statement in ("DROP OWNED BY few", "DROP ROLE few"):
            await run_outside_transaction(database_url, statement)


async def test_an_order_that_nobody_expects_any_more_is_not_accepted(database_url: str) -> None:
    minute = timedelta(minutes=1)
    async with Database.open(database_url) as database:
        store = JobStore(database, UNLIMITED)
        with (
            working_under(HeldLease(uptime_s() - minute.total_seconds(), minute)),
            pytest.raises(StoreError, match="took too long"),
        ):
            await add(store)
        assert await jobs_of(store) == 0
