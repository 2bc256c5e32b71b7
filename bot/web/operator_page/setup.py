"""Puts the operator's page together."""

from collections.abc import Mapping, Sequence

from aiohttp import web

from bot.domain.guilds import OperatorDefaults
from bot.domain.provider_limits import ProviderLimits
from bot.domain.waiting import TellRemaining
from bot.operations.clock import Clock
from bot.services.operator.cost_history import CostHistoryService
from bot.services.operator.page import OperatorPageService
from bot.store.engine import Database
from bot.store.guilds.membership import MembershipStore
from bot.web.cached import Cached
from bot.web.operator_page.access import Access
from bot.web.operator_page.pages import OperatorPage

Routes = list[web.RouteDef]

NAMES_FRESH_S = 60.0
"""For how long servers' names are remembered: there may be thousands."""


def page_routes(
    database: Database,
    rules: OperatorDefaults,
    limits: Sequence[ProviderLimits],
    remaining: TellRemaining,
    clock: Clock,
    *,
    token: str,
) -> Routes:
    """The page's routes, which follow all others."""
    membership = MembershipStore(database)

    async def names() -> Mapping[int, str]:
        return {guild_id: found.name for guild_id, found in (await membership.descriptions()).items()}

    page = OperatorPage(
        OperatorPageService(database, rules, limits, remaining, clock),
        CostHistoryService(database, rules, clock),
        Access(token, clock),
        Cached(names, NAMES_FRESH_S).get,
    )
    return page.routes()
