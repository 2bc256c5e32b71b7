"""Puts the operator's server together: which routes there are, and what they read."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from bot.chat.transport.gateway_status import DiscordStatus
from bot.operations.clock import Clock
from bot.store.monitoring import MonitoringStore
from bot.web import health
from bot.web.checks import readiness_checks
from bot.web.health import Health
from bot.web.server import serving


@asynccontextmanager
async def monitored(
    store: MonitoringStore,
    discord: Callable[[], DiscordStatus],
    *,
    has_gateway: bool,
    clock: Clock,
    host: str,
    port: int,
) -> AsyncIterator[int]:
    """Serves health and metrics until it is left; yields the port. Raises: PortUnavailable."""
    checks = readiness_checks(store, discord, has_gateway=has_gateway, clock=clock)
    routes = health.routes(Health(checks))
    async with serving(routes, host=host, port=port) as bound_port:
        yield bound_port
