"""The database server's time, which is read and followed."""

from datetime import UTC, datetime, timedelta

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from bot.app import open_app
from bot.chat.transport.client import RestClient
from bot.settings import GivenSettings
from bot.store.engine import Database
from bot.worker.server_clock import ServerClockSync
from bot.worker.stopped_sessions import StoppedSessionsWatch


async def test_only_postgresql_has_a_server_time(database: Database, kind: str) -> None:
    now = await database.server_time()
    if kind == "sqlite":
        assert now is None
    else:
        assert now is not None
        assert abs(now - datetime.now(UTC)) < timedelta(minutes=1)


@pytest.mark.both_databases
async def test_the_bot_follows_the_servers_clock(
    database_url: str, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    secret = SecretStr("key-of-the-tests")
    settings = GivenSettings(discord_token=secret, vtrix_api_key=secret, database_url=database_url)
    async with open_app(settings, RestClient()) as app:
        synced = [one for one in app.worker._background_services if isinstance(one, ServerClockSync)]
        watching = [one for one in app.worker._background_services if isinstance(one, StoppedSessionsWatch)]
        for sync in synced:
            sync._reference.set(datetime.now(UTC) + timedelta(hours=1))
        app.clock()
    assert len(synced) == len(watching) == (kind == "postgresql")
    assert ("the clock of the system, or of the database server, was changed" in caplog.text) == bool(synced)


@pytest.mark.both_databases
async def test_the_time_of_leases_goes_on_within_a_transaction(database_url: str, kind: str) -> None:
    """A claim may wait for a lock first, and must not shorten its leases by that."""
    now = datetime.now(UTC)
    async with Database.open(database_url) as database, database.read() as connection:
        before = await database.lease_time(connection, now)
        if kind == "postgresql":
            await connection.execute(text("SELECT pg_sleep(0.001)"))
        after = await database.lease_time(connection, now)
    assert (after > before) == (kind == "postgresql")
