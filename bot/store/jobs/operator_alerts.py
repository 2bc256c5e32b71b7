"""Has the operator told when money runs short, and when the gateway takes nothing.

Functions work inside the caller's transaction. What is told once stays untold for as long as the notice with the
same key is kept; the alerts are written where a threshold is passed, not where it was passed already.
"""

from datetime import datetime
from decimal import Decimal

from sqlalchemy.ext.asyncio import AsyncConnection

from bot.chat.messages.markdown import escaped, relative
from bot.domain.guilds import OperatorDefaults
from bot.domain.money import show_usd
from bot.domain.quotas import LimitName
from bot.store.guilds import guild_settings
from bot.store.money import ledger
from bot.store.outbox import notifications
from bot.store.schema import EVERYWHERE

NEARLY = Decimal("0.8")
"""The share of a budget from which on it is nearly used up."""

REASON_MAX = 500
"""How much of the gateway's reason is told, in characters."""


async def after_acceptance(
    connection: AsyncConnection, rules: OperatorDefaults, estimate: Decimal, now: datetime
) -> None:
    """Tells the operator that a budget over everything is nearly or wholly used up.

    Called once the reservation of a job is written; estimate: what was reserved for it. Used up means that
    another one like it would not be let in.
    """
    spent = await ledger.spent(connection, EVERYWHERE, now)
    budget = (await guild_settings.operator_state_of(connection)).budget.over(rules.budget)
    for period, of, used, limit in (
        ("today", f"day:{now:%Y-%m-%d}", spent.usd_today, budget.usd_per_day),
        ("this month", f"month:{now:%Y-%m}", spent.usd_month, budget.usd_per_month),
    ):
        if limit is None:
            continue
        shown = f"{show_usd(used)} of {show_usd(limit)}"
        if used + estimate > limit:
            text = f"🛑 The budget for {period} is used up ({shown}): nothing more is accepted. {_RAISE}"
            await notifications.post(connection, notifications.TO_OPERATOR, text, now, key=f"budget:{of}:100")
        elif used - estimate < limit * NEARLY <= used:
            text = f"⚠️ 80 % of the budget for {period} is used ({shown}). {_RAISE}"
            await notifications.post(connection, notifications.TO_OPERATOR, text, now, key=f"budget:{of}:80")


async def house_refused(connection: AsyncConnection, limit: LimitName, now: datetime) -> None:
    """Tells the operator that a budget over everything refused somebody, where it is not told yet.

    A cost that was higher than its estimate uses a budget up without an acceptance.
    """
    used_up = {
        LimitName.HOUSE_USD_DAY: ("today", f"day:{now:%Y-%m-%d}"),
        LimitName.HOUSE_USD_MONTH: ("this month", f"month:{now:%Y-%m}"),
    }
    if limit in used_up:
        period, of = used_up[limit]
        text = f"🛑 The budget for {period} is used up: a member was refused. {_RAISE}"
        await notifications.post(connection, notifications.TO_OPERATOR, text, now, key=f"budget:{of}:100")


async def gate_closed(connection: AsyncConnection, until: datetime, reason: str, now: datetime) -> None:
    """Tells the operator that the gateway takes no jobs. Called once for each time that it stays closed."""
    text = (
        f"🛑 The gateway takes no jobs: {escaped(reason, REASON_MAX)}\nAll are kept; it is tried again "
        f"{relative(until)}. A refused key or an empty account needs you, a busy or unreachable gateway does not."
    )
    await notifications.post(connection, notifications.TO_OPERATOR, text, now)


async def answer_lost(connection: AsyncConnection, job_id: str, reason: str, now: datetime) -> None:
    """Tells the operator all that is known of a submission whose answer was lost."""
    text = f"🔎 What is known of job `{job_id}`, whose answer was lost: {escaped(reason, REASON_MAX)}"
    await notifications.post(connection, notifications.TO_OPERATOR, text, now)


_RAISE = "`/operator budgets` raises it; `/operator servers` shows who uses how much."
