"""Puts the operator's page together."""

from collections.abc import Sequence

from aiohttp import web

from bot.domain.guilds import OperatorDefaults
from bot.domain.provider_limits import ProviderLimits
from bot.domain.waiting import TellRemaining
from bot.operations.clock import Clock
from bot.services.operator.cost_history import CostHistoryService
from bot.services.operator.page import OperatorPageService
from bot.store.engine import Database
from bot.web.operator_page.access import Access, is_loopback
from bot.web.operator_page.pages import Names, OperatorPage

Routes = list[web.RouteDef]


def operator_page(
    database: Database,
    rules: OperatorDefaults,
    limits: Sequence[ProviderLimits],
    remaining: TellRemaining,
    clock: Clock,
    *,
    token: str,
    host: str,
    names: Names,
) -> Routes:
    """The page's routes, which follow all others. host: where the server listens."""
    page = OperatorPage(
        OperatorPageService(database, rules, limits, remaining, clock),
        CostHistoryService(database, rules, clock),
        Access(token, clock),
        names,
        only_this_machine=is_loopback(host),
    )
    return page.routes()
