"""What videos cost over the last days, with its chart: for `/operator costs` and for the operator's page."""

import asyncio
import logging
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from functools import cached_property

from bot.domain.cost_history import CostDay
from bot.domain.guilds import OperatorDefaults
from bot.domain.ledger import utc_day
from bot.media import charts
from bot.operations.clock import Clock
from bot.store.engine import Database
from bot.store.guilds import guild_settings
from bot.store.money.cost_history import daily_costs

log = logging.getLogger(__name__)

DAYS = 30
"""How many days are shown, the last of which is today (UTC)."""


@dataclass(frozen=True, slots=True)
class CostHistory:
    """The days, oldest first. usd_per_day: the budget of a day for all videos; None if there is none."""

    days: tuple[CostDay, ...]
    usd_per_day: Decimal | None


class CostHistoryService:
    """Reads the days and has them drawn, one chart at a time: it takes a core for a moment."""

    def __init__(self, database: Database, rules: OperatorDefaults, clock: Clock) -> None:
        self._database = database
        self._rules = rules
        self._clock = clock

    @cached_property
    def _drawing(self) -> asyncio.Lock:
        return asyncio.Lock()

    async def history(self) -> CostHistory:
        """The last days."""
        today = utc_day(self._clock())
        async with self._database.read() as connection:
            state = await guild_settings.operator_state_of(connection)
            days = await daily_costs(connection, today - timedelta(days=DAYS - 1), today)
        return CostHistory(days, state.budget.over(self._rules.budget).usd_per_day)

    async def chart(self, history: CostHistory) -> bytes | None:
        """A PNG of the days; None if it can't be drawn, for which the figures don't wait."""
        async with self._drawing:
            try:
                return await charts.draw_costs(history.days, history.usd_per_day)
            except OSError as error:  # also a timeout
                log.warning("the chart of costs could not be drawn: %r", error)
                return None
