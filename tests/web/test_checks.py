from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bot.chat.transport.gateway_status import DiscordStatus, ShardStatus
from bot.domain.errors import StoreError
from bot.domain.guilds import OperatorDefaults
from bot.store.engine import Database
from bot.store.jobs import submission_gate
from bot.store.maintenance.migrate import migrate
from bot.store.monitoring import MonitoringStore
from bot.web.checks import discord_health, readiness_checks
from bot.web.health import PartHealth, PartStatus
from tests.providers_asked import BOTH, TWO_PROVIDERS, VTRIX

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
OK = PartHealth(PartStatus.OK)
UP = ShardStatus(0, is_connected=True, latency_s=0.05)
DOWN = ShardStatus(1, is_connected=False, latency_s=None)
CONNECTED = DiscordStatus(is_logged_in=True, is_ready=True, shards=(UP,), servers=3)


@pytest.mark.parametrize(
    ("status", "found"),
    [
        (CONNECTED, OK),
        (replace(CONNECTED, is_logged_in=False), PartHealth(PartStatus.FAILED, "not logged in")),
        (replace(CONNECTED, shards=()), PartHealth(PartStatus.FAILED, "not connected to the gateway")),
        (replace(CONNECTED, shards=(DOWN,)), PartHealth(PartStatus.FAILED, "not connected to the gateway")),
        (
            replace(CONNECTED, is_ready=False),
            PartHealth(PartStatus.FAILED, "Discord has not named the bot's servers yet"),
        ),
        (replace(CONNECTED, shards=(UP, DOWN)), PartHealth(PartStatus.DEGRADED, "shards not connected: 1")),
    ],
)
def test_a_bot_that_answers_commands_needs_its_gateway(status: DiscordStatus, found: PartHealth) -> None:
    assert discord_health(status, has_gateway=True) == found


def test_a_worker_needs_nothing_but_the_login() -> None:
    status = DiscordStatus(is_logged_in=True, is_ready=False, shards=())
    assert discord_health(status, has_gateway=False) == OK
    logged_out = replace(status, is_logged_in=False)
    assert discord_health(logged_out, has_gateway=False).status is PartStatus.FAILED


async def test_a_closed_gate_degrades_without_the_providers_words(tmp_path: Path) -> None:
    async with Database.open(f"sqlite:///{tmp_path / 'x.db'}") as database:
        await migrate(database)
        store = MonitoringStore(database, OperatorDefaults(catalog=TWO_PROVIDERS), BOTH, lambda: NOW)
        checks = readiness_checks(store, lambda: CONNECTED, has_gateway=True, clock=lambda: NOW)
        assert [await check() for check in checks.values()] == [OK, OK, OK]
        async with database.write() as connection:
            until = NOW + timedelta(minutes=5)
            await submission_gate.close(connection, VTRIX, until, "your key sk-1 is invalid", NOW)
        assert await checks["providers"]() == PartHealth(
            PartStatus.DEGRADED, "vtrix: closed until 2026-11-30T12:05:00Z"
        )
        assert await checks["database"]() == OK
    with pytest.raises(StoreError):
        await checks["database"]()
