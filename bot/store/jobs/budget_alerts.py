"""Alerts the operator when a total budget runs short. Functions run in the caller's transaction.

An alert is posted once per period, as long as the notification with its key is kept.
"""

from datetime import datetime
from decimal import Decimal

from bot.domain.guilds import OperatorDefaults
from bot.domain.notifications import BudgetNearlyUsed, BudgetUsedUp
from bot.domain.quotas import BudgetPeriod, LimitName
from bot.store.engine import Connection
from bot.store.guilds import guild_settings
from bot.store.money import ledger
from bot.store.outbox import notifications
from bot.store.schema import EVERYWHERE

PERIODS = {LimitName.TOTAL_USD_PER_DAY: BudgetPeriod.DAY, LimitName.TOTAL_USD_PER_MONTH: BudgetPeriod.MONTH}
"""The operator's limits that alert when they refuse an order."""

NEARLY_PERCENT = 80
"""The share of a budget at which it counts as nearly used up."""


async def after_acceptance(
    connection: Connection, rules: OperatorDefaults, estimate: Decimal, now: datetime
) -> None:
    """Alerts the operator when a total budget is nearly or completely used up.

    Called after a job's reservation is written. estimate: the amount reserved. "Used up" means that another such
    job would be refused.
    """
    spent = await ledger.spent(connection, EVERYWHERE, now)
    budget = (await guild_settings.operator_state_of(connection)).budget.over(rules.budget)
    alert: BudgetUsedUp | BudgetNearlyUsed
    for period, used, limit in (
        (BudgetPeriod.DAY, spent.usd_today, budget.usd_per_day),
        (BudgetPeriod.MONTH, spent.usd_month, budget.usd_per_month),
    ):
        if limit is None:
            continue
        nearly = limit * NEARLY_PERCENT / 100
        if used + estimate > limit:
            alert, percent = BudgetUsedUp(period, f"{used:f}", f"{limit:f}"), 100
        elif used - estimate < nearly <= used:
            alert, percent = BudgetNearlyUsed(period, NEARLY_PERCENT, f"{used:f}", f"{limit:f}"), NEARLY_PERCENT
        else:
            continue
        await notifications.post_to_operator(connection, alert, now, key=_key(period, now, percent))


def _key(period: BudgetPeriod, now: datetime, percent: int) -> str:
    of = f"{now:%Y-%m-%d}" if period is BudgetPeriod.DAY else f"{now:%Y-%m}"
    return f"budget:{period}:{of}:{percent}"


async def budget_refused(connection: Connection, limit: LimitName, now: datetime) -> None:
    """Alerts the operator that a total budget refused an order, unless they were alerted already.

    Needed because `after_acceptance` misses a budget that is used up by a cost above its estimate.
    """
    if (period := PERIODS.get(limit)) is not None:
        key = _key(period, now, 100)
        await notifications.post_to_operator(connection, BudgetUsedUp(period), now, key=key)
