"""Puts the operator's server together: which routes there are, and what they read."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from aiohttp import web

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
    page: Sequence[web.RouteDef] = (),
) -> AsyncIterator[int]:
    """Serves health and metrics until it is left; yields the port. Raises: PortUnavailable.

    page: the routes of the operator's page, if it is served.
    """
    checks = readiness_checks(store, discord, has_gateway=has_gateway, clock=clock)
    routes = [*health.routes(Health(checks)), *page]
    async with serving(routes, host=host, port=port) as bound_port:
        yield bound_port
