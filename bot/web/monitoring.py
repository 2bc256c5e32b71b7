"""Puts the operator's server together: which routes there are, and what they read."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from bot.chat.transport.gateway_status import DiscordStatus
from bot.operations.clock import Clock
from bot.store.monitoring import MonitoringStore
from bot.web import health, metrics
from bot.web.checks import readiness_checks
from bot.web.health import Health
from bot.web.instruments import Instruments
from bot.web.metrics import Scrapes, lag_measured
from bot.web.process_collector import ProcessStateCollector
from bot.web.server import serving


@asynccontextmanager
async def monitored(
    instruments: Instruments,
    store: MonitoringStore,
    discord: Callable[[], DiscordStatus],
    *,
    has_gateway: bool,
    folders: Mapping[str, Path],
    clock: Clock,
    host: str,
    port: int,
) -> AsyncIterator[int]:
    """Serves health and metrics until it is left; yields the port.

    has_gateway: whether the process answers commands. folders: those whose disks may fill, by what they are for.
    Raises: PortUnavailable.
    """
    instruments.registry.register(ProcessStateCollector(discord, folders))
    routes = [
        *health.routes(Health(readiness_checks(store, discord, has_gateway=has_gateway, clock=clock))),
        *metrics.routes(Scrapes(instruments, store.figures)),
    ]
    async with lag_measured(instruments.loop_lagged), serving(routes, host=host, port=port) as bound_port:
        yield bound_port
