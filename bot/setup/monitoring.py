"""Opens what the operator reads over HTTP: metrics, health and the page.

Nothing of it is loaded unless the settings ask for it.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from bot.chat.transport.client import Client, ZoetropeBot
from bot.chat.transport.gateway_status import discord_status
from bot.domain.database_url import sqlite_file
from bot.domain.guilds import OperatorDefaults
from bot.domain.waiting import TellRemaining
from bot.operations.clock import Clock
from bot.operations.observer import Observer
from bot.settings import Settings
from bot.setup.providers import provider_limits
from bot.store.engine import Database
from bot.store.monitoring import MonitoringStore

if TYPE_CHECKING:
    from bot.web.operator_page.setup import Routes


def observer_for(settings: Settings) -> Observer:
    """What counts the process's work, for metrics if there are any."""
    if settings.metrics_port is None:
        return Observer()
    from bot.web.instruments import Instruments  # noqa: PLC0415 - memory that a bot without it does not need

    return Instruments()


@asynccontextmanager
async def serving_monitoring(
    settings: Settings,
    client: Client,
    observer: Observer,
    store: MonitoringStore,
    work_folder: Path,
    clock: Clock,
    page: "Routes",
) -> AsyncIterator[int | None]:
    """Serves metrics, health and the operator's page, if there is a port for them, and yields it.

    page: its routes; none if it isn't served. Raises: PortUnavailable.
    """
    if settings.metrics_port is None:
        yield None
        return
    from bot.web.instruments import Instruments  # noqa: PLC0415 - memory that a bot without it does not need
    from bot.web.monitoring import monitored  # noqa: PLC0415

    assert isinstance(observer, Instruments)  # noqa: S101 - see `observer_for`
    file = sqlite_file(settings.database_url)
    folders = {"temporary": work_folder} | ({} if file is None else {"database": file.parent})
    async with monitored(
        observer,
        store,
        lambda: discord_status(client),
        has_gateway=isinstance(client, ZoetropeBot),
        folders=folders,
        clock=clock,
        host=settings.metrics_host,
        port=settings.metrics_port,
        page=page,
    ) as port:
        yield port


def operator_page(
    settings: Settings,
    database: Database,
    defaults: OperatorDefaults,
    clock: Clock,
    remaining: TellRemaining,
) -> "Routes":
    """The routes of the operator's page; none without a token for it."""
    if settings.operator_page_token is None:
        return []
    from bot.web.operator_page.setup import page_routes  # noqa: PLC0415 - as above

    return page_routes(
        database,
        defaults,
        provider_limits(settings),
        remaining,
        clock,
        token=settings.operator_page_token.get_secret_value(),
    )
