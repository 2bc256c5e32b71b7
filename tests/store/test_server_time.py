"""The database server's time, which is read and followed."""

from datetime import UTC, datetime, timedelta

import pytest
from pydantic import SecretStr

from bot.app import open_app
from bot.chat.transport.client import RestClient
from bot.settings import GivenSettings
from bot.store.engine import Database
from bot.worker.server_clock import ServerClockSync


async def test_only_postgresql_has_a_server_time(database: Database, kind: str) -> None:
    now = await database.server_time()
    if kind == "sqlite":
        assert now is None
    else:
        assert now is not None
        assert abs(now - datetime.now(UTC)) < timedelta(minutes=1)


@pytest.mark.both_databases
async def test_the_bot_follows_the_servers_clock(database_url: str, kind: str) -> None:
    secret = SecretStr("key-of-the-tests")
    settings = GivenSettings(discord_token=secret, vtrix_api_key=secret, database_url=database_url)
    async with open_app(settings, RestClient()) as app:
        follows = any(isinstance(one, ServerClockSync) for one in app.worker._background_services)
    assert follows == (kind == "postgresql")
