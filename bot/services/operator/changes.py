"""The operator's changes of budgets as the audit log keeps them: values, and whether each is the default."""

from typing import Any

from bot.domain.audit_log import Action, AuditedChange, usd
from bot.domain.guilds import Budget


def budget_change(before: Budget, after: Budget, default: Budget) -> AuditedChange:
    """What changed in a budget. default: what applies where a value is not set."""
    was, now = (
        {
            "usd_per_day": _value(usd(own.usd_per_day), usd(default.usd_per_day)),
            "usd_per_month": _value(usd(own.usd_per_month), usd(default.usd_per_month)),
        }
        for own in (before, after)
    )
    return AuditedChange(Action.BUDGET_SET, before=was, after=now)


def queue_change(before: int | None, after: int | None, default: int) -> AuditedChange:
    """What changed in the maximum length of the queue. default: what applies where none is set."""
    was, now = ({"videos": _value(own, default)} for own in (before, after))
    return AuditedChange(Action.QUEUE_MAX_SET, before=was, after=now)


def _value(own: str | int | None, default: str | int | None) -> dict[str, Any]:
    return {"value": default, "default": True} if own is None else {"value": own}
