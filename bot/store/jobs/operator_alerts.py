"""Alerts the operator when a budget runs short and when the gateway rejects everything.

Functions run in the caller's transaction. An alert with a key is posted once while the notification is kept; the
others are written when a threshold is crossed.
"""

from datetime import datetime
from decimal import Decimal

from sqlalchemy.ext.asyncio import AsyncConnection

from bot.domain.guilds import OperatorDefaults
from bot.domain.notifications import AnswerLost, BudgetNearlyUsed, BudgetUsedUp, GateClosed
from bot.domain.quotas import BudgetPeriod, LimitName
from bot.store.guilds import guild_settings
from bot.store.money import ledger
from bot.store.outbox import notifications
from bot.store.schema import EVERYWHERE

NEARLY_PERCENT = 80
"""The share of a budget at which it counts as nearly used up."""


async def after_acceptance(
    connection: AsyncConnection, rules: OperatorDefaults, estimate: Decimal, now: datetime
) -> None:
    """Alerts the operator when a total budget is nearly or completely used up.

    Called after a job's reservation is written. estimate: the amount reserved. "Used up" means that another such
    job would be refused.
    """
    spent = await ledger.spent(connection, EVERYWHERE, now)
    budget = (await guild_settings.operator_state_of(connection)).budget.over(rules.budget)
    for period, used, limit in (
        (BudgetPeriod.DAY, spent.usd_today, budget.usd_per_day),
        (BudgetPeriod.MONTH, spent.usd_month, budget.usd_per_month),
    ):
        if limit is None:
            continue
        nearly = limit * NEARLY_PERCENT / 100
        if used + estimate > limit:
            alert = BudgetUsedUp(period, f"{used:f}", f"{limit:f}")
            await notifications.post(connection, notifications.TO_OPERATOR, alert, now, key=_key(period, now, 100))
        elif used - estimate < nearly <= used:
            near = BudgetNearlyUsed(period, NEARLY_PERCENT, f"{used:f}", f"{limit:f}")
            await notifications.post(
                connection, notifications.TO_OPERATOR, near, now, key=_key(period, now, NEARLY_PERCENT)
            )


def _key(period: BudgetPeriod, now: datetime, percent: int) -> str:
    of = f"{now:%Y-%m-%d}" if period is BudgetPeriod.DAY else f"{now:%Y-%m}"
    return f"budget:{period}:{of}:{percent}"


async def house_refused(connection: AsyncConnection, limit: LimitName, now: datetime) -> None:
    """Alerts the operator that a total budget refused an order, unless they were alerted already.

    A cost above its estimate can use up a budget without an admission.
    """
    used_up = {LimitName.TOTAL_USD_PER_DAY: BudgetPeriod.DAY, LimitName.TOTAL_USD_PER_MONTH: BudgetPeriod.MONTH}
    if limit in used_up:
        period = used_up[limit]
        key = _key(period, now, 100)
        await notifications.post(connection, notifications.TO_OPERATOR, BudgetUsedUp(period), now, key=key)


async def gate_closed(connection: AsyncConnection, until: datetime, reason: str, now: datetime) -> None:
    """Alerts the operator that the gateway rejects submissions. Called once per outage."""
    alert = GateClosed(int(until.timestamp()), reason)
    await notifications.post(connection, notifications.TO_OPERATOR, alert, now)


async def answer_lost(connection: AsyncConnection, job_id: str, reason: str, now: datetime) -> None:
    """Tells the operator what is known about a submission whose response was lost."""
    await notifications.post(connection, notifications.TO_OPERATOR, AnswerLost(job_id, reason), now)
