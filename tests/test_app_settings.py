"""Every setting reaches what uses it."""

from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from bot.app import App, open_app
from bot.chat.transport.client import RestClient, ZoetropeBot
from bot.domain.jobs import DEFAULT_MODEL, Resolution
from bot.domain.models import WAN25_PREVIEW
from bot.domain.provider_limits import ProviderLimits
from bot.domain.task_durations import TaskDuration
from bot.settings import Settings
from bot.store.jobs.task_durations import record
from bot.worker.backups import BackupWorker
from bot.worker.duration_learner import DurationLearner
from bot.worker.notifier import Notifier
from bot.worker.retention import RetentionWorker
from tests.discord_server import DiscordServer
from tests.faulty_gateway import FaultyGateway
from tests.providers_asked import DASHSCOPE, P480, P720, VTRIX, kind
from tests.test_app import KEY, LocalServices


@pytest.fixture
async def local(tmp_path: Path) -> AsyncIterator[LocalServices]:
    async with DiscordServer() as discord, FaultyGateway(tmp_path / "upstream", KEY) as upstream:
        yield LocalServices(tmp_path, discord, upstream)


def background_service(app: App, kind: type[Any]) -> Any:
    """The worker's background service of that class."""
    [service] = [service for service in app.worker._background_services if isinstance(service, kind)]
    return service


AT_DASHSCOPE = kind(Resolution.P720, DASHSCOPE)


def asked(app: App, place: int = 0) -> ProviderLimits:
    """What is asked of a provider, by its place."""
    return app.worker._config.providers[place]


COMPOSED: list[tuple[str, Any, Callable[[Any], Any], Any]] = [
    ("upstream_max_running", 3, lambda app: asked(app).max_running, 3),
    (
        "upstream_submits_per_second",
        0.25,
        lambda app: asked(app).submit_interval,
        timedelta(seconds=4),
    ),
    ("discord_requests_per_second", 20, lambda app: app.client.throttle.limiter.interval_s, 0.05),
    ("job_timeout_seconds", 77, lambda app: app.worker._context.config.job_timeout, timedelta(seconds=77)),
    (
        "upstream_max_pause_seconds",
        66,
        lambda app: app.worker._context.config.longest_closure,
        timedelta(seconds=66),
    ),
    (
        "upstream_task_lifetime_seconds",
        99,
        lambda app: app.worker._context.config.task_lifetime,
        timedelta(seconds=99),
    ),
    ("poll_min_seconds", 0.15, lambda app: app.worker._context.config.poll_schedule.min_s, 0.15),
    ("poll_max_seconds", 11, lambda app: app.worker._context.config.poll_schedule.max_s, 11),
    ("quota_videos_per_day", 9, lambda app: app.store._operator_defaults.limits.videos_per_window, 9),
    ("quota_running", 7, lambda app: app.store._operator_defaults.limits.max_active, 7),
    ("quota_pause_seconds", 8, lambda app: app.store._operator_defaults.limits.cooldown_s, 8),
    ("quota_window_hours", 48, lambda app: app.store._operator_defaults.window_hours, 48),
    ("price_usd_480p", Decimal(3), lambda app: app.store._operator_defaults.catalog.estimate(P480), 3),
    ("price_usd_720p", Decimal(4), lambda app: app.store._operator_defaults.catalog.estimate(P720), 4),
    ("budget_usd_per_day", Decimal(5), lambda app: app.store._operator_defaults.budget.usd_per_day, 5),
    ("budget_usd_per_month", Decimal(6), lambda app: app.store._operator_defaults.budget.usd_per_month, 6),
    (
        "server_budget_usd_per_day",
        Decimal(7),
        lambda app: app.store._operator_defaults.guild_budget.usd_per_day,
        7,
    ),
    (
        "server_budget_usd_per_month",
        Decimal(8),
        lambda app: app.store._operator_defaults.guild_budget.usd_per_month,
        8,
    ),
    ("queue_max", 12, lambda app: app.store._operator_defaults.max_queued, 12),
    ("open_to_all_servers", False, lambda app: app.store._operator_defaults.open_to_all, False),
    ("operator_guild_id", 77, lambda app: app.client.services.operator.guild_id, 77),
    ("operator_log_channel_id", 78, lambda app: background_service(app, Notifier)._operator_channel_id, 78),
    ("retention_days", 5, lambda app: background_service(app, RetentionWorker)._policy.days, 5),
    (
        "erase_after_leaving_days",
        6,
        lambda app: background_service(app, RetentionWorker)._policy.days_after_leaving,
        6,
    ),
    (
        "pictures_kept_days",
        7,
        lambda app: background_service(app, RetentionWorker)._policy.days_of_pictures,
        7,
    ),
    ("direct_orders", True, lambda app: app.store._operator_defaults.direct.enabled, True),
    ("direct_videos_per_day", 4, lambda app: app.store._operator_defaults.direct.videos_per_window, 4),
    (
        "direct_budget_usd_per_day",
        Decimal(9),
        lambda app: app.store._operator_defaults.direct.budget.usd_per_day,
        9,
    ),
    (
        "direct_budget_usd_per_month",
        Decimal(10),
        lambda app: app.store._operator_defaults.direct.budget.usd_per_month,
        10,
    ),
    (
        "backup_dir",
        Path("/elsewhere"),
        lambda app: background_service(app, BackupWorker)._backups._folder,
        Path("/elsewhere"),
    ),
    (
        "backup_every",
        timedelta(hours=6),
        lambda app: background_service(app, BackupWorker)._backups._every,
        timedelta(hours=6),
    ),
    ("backup_keep", 3, lambda app: background_service(app, BackupWorker)._backups._keep, 3),
    ("extend_max_seconds", 15, lambda app: app.client.services.extensions._max_seconds, 15),
    ("operator_user_ids", (1, 2), lambda app: app.client.services.operator.user_ids, {1, 2}),
    ("providers", (DASHSCOPE,), lambda app: asked(app).provider, DASHSCOPE),
    ("models", (WAN25_PREVIEW.name,), lambda app: app.store._operator_defaults.catalog.default, WAN25_PREVIEW),
    ("vtrix_budget_usd_per_day", Decimal(1), lambda app: asked(app).budget.usd_per_day, 1),
    (
        "vtrix_budget_usd_per_month",
        Decimal(2),
        lambda app: asked(app).budget.usd_per_month,
        2,
    ),
    ("dashscope_max_running", 3, lambda app: asked(app, 1).max_running, 3),
    (
        "dashscope_submits_per_second",
        0.5,
        lambda app: asked(app, 1).submit_interval,
        timedelta(seconds=2),
    ),
    (
        "dashscope_usd_per_cny",
        Decimal("0.2"),
        lambda app: (
            app.store._operator_defaults.catalog.estimate(AT_DASHSCOPE),
            app.worker._context.providers[DASHSCOPE]._prices[DEFAULT_MODEL, Resolution.P720],
        ),
        (Decimal("0.2"), Decimal("0.04")),
    ),
    (
        "dashscope_price_cny_480p",
        Decimal(5),
        lambda app: app.worker._context.providers[DASHSCOPE]._prices[DEFAULT_MODEL, Resolution.P480],
        Decimal("0.14"),
    ),
    (
        "dashscope_price_cny_720p",
        Decimal(10),
        lambda app: app.store._operator_defaults.catalog.estimate(AT_DASHSCOPE),
        Decimal("1.4"),
    ),
    (
        "dashscope_budget_usd_per_day",
        Decimal(3),
        lambda app: asked(app, 1).budget.usd_per_day,
        3,
    ),
    (
        "dashscope_budget_usd_per_month",
        Decimal(4),
        lambda app: asked(app, 1).budget.usd_per_month,
        4,
    ),
]


OPERATOR = {
    "operator_guild_id": 5,
    "operator_user_ids": (11,),
    "providers": (VTRIX, DASHSCOPE),
    "dashscope_api_key": SecretStr("key-for-tests"),
    "backup_dir": Path("backups"),
}


@pytest.mark.parametrize(("name", "value", "look", "expected"), COMPOSED, ids=[row[0] for row in COMPOSED])
async def test_a_setting_is_passed_to_the_component_that_uses_it(
    local: LocalServices, name: str, value: float, look: Callable[[App], object], expected: object
) -> None:
    async with open_app(local.settings(**OPERATOR | {name: value}), ZoetropeBot()) as app:
        assert look(app) == expected


async def test_the_schedule_of_the_polls_learns_from_the_database(local: LocalServices) -> None:
    async with open_app(local.settings(), RestClient()) as app:
        async with app.database.write() as connection:
            for _ in range(5):
                await record(connection, P720, TaskDuration(40, 43))
        await background_service(app, DurationLearner).run_once()
        remaining = app.worker._context.config.poll_schedule.remaining(P720, 0)
        assert remaining is not None
        assert 35 < remaining.p50_s < 48


async def test_without_a_folder_for_backups_none_are_made(local: LocalServices) -> None:
    async with open_app(local.settings(), RestClient()) as app:
        assert not any(isinstance(service, BackupWorker) for service in app.worker._background_services)


async def test_without_an_operator_guild_there_is_no_operator_service(local: LocalServices) -> None:
    client = ZoetropeBot()
    async with open_app(local.settings(), client):
        assert client.services.operator is None


def test_every_setting_is_tested() -> None:
    # Without these no test here would reach anything.
    addresses = {"discord_token", "discord_api_url", "discord_gateway_url", "database_url"}
    keys = {"vtrix_api_key", "vtrix_base_url", "dashscope_api_key", "dashscope_base_url"}
    behaviour = {"upstream_body", "upstream_result_max_bytes", "shutdown_grace_seconds"}
    command_line = {"log_level", "log_format"}
    served = {"metrics_port", "metrics_host", "operator_page_token"}  # tests/test_app_metrics.py, tests/web
    composed = {row[0] for row in COMPOSED}
    assert Settings.model_fields.keys() == composed | addresses | keys | behaviour | command_line | served
