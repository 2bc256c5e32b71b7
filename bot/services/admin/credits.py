"""Credits that admins give: extra videos for a member, used once their window is full."""

from dataclasses import dataclass
from datetime import datetime

from bot.domain.audit_log import Action, AuditedChange, TargetKind, seconds
from bot.domain.durations import parse_duration
from bot.domain.errors import UserError
from bot.services.admin.audited import Admin, AdminProblem, AdminRefused, AuditedService, AuditedTransaction
from bot.store.money import credit_grants
from bot.store.money.credit_grants import Attribution

CREDITS_MAX = 10_000
REASON_MAX = 200


@dataclass(frozen=True, slots=True)
class CreditChange:
    """A member's usable credits before and after. expires_at: of the granted ones; None for never."""

    user_id: int
    before: int
    after: int
    expires_at: datetime | None = None


class CreditService(AuditedService):
    """Grants and revokes credits; the ledger records why."""

    async def grant(
        self, admin: Admin, user_id: int, number: int, *, expires: str | None = None, reason: str | None = None
    ) -> CreditChange:
        """Gives a member `number` credits. expires: a duration such as "30d". Raises: UserError."""
        _check(number)
        span = None if expires is None else parse_duration(expires)
        if span is not None and not span:
            raise UserError(AdminRefused(AdminProblem.CREDITS_EXPIRE_AT_ONCE))
        async with self._transaction(admin) as tx:
            before = await credit_grants.usable(tx.connection, admin.guild_id, user_id, tx.now)
            expires_at = None if span is None else tx.now + span
            giver = Attribution(admin.user_id, tx.now, reason or "granted")
            await credit_grants.grant(tx.connection, admin.guild_id, user_id, number, giver, expires_at=expires_at)
            return await _changed(tx, Action.CREDITS_GRANTED, user_id, before, reason, expires_at)

    async def revoke(
        self, admin: Admin, user_id: int, number: int | None, *, reason: str | None = None
    ) -> CreditChange:
        """Takes credits back, all of them if `number` is None, but never one that a running job uses.

        Raises: UserError if the member has none.
        """
        if number is not None:
            _check(number)
        async with self._transaction(admin) as tx:
            before = await credit_grants.usable(tx.connection, admin.guild_id, user_id, tx.now)
            if not before:
                raise UserError(AdminRefused(AdminProblem.NO_CREDITS))
            giver = Attribution(admin.user_id, tx.now, reason or "revoked")
            await credit_grants.revoke(tx.connection, admin.guild_id, user_id, number, giver)
            return await _changed(tx, Action.CREDITS_REVOKED, user_id, before, reason, None)


async def _changed(
    tx: AuditedTransaction,
    action: Action,
    user_id: int,
    before: int,
    reason: str | None,
    expires_at: datetime | None,
) -> CreditChange:
    after = await credit_grants.usable(tx.connection, tx.admin.guild_id, user_id, tx.now)
    values = {"credits": after, "expires_at": seconds(expires_at), "reason": reason}
    await tx.record(AuditedChange(action, TargetKind.MEMBER, str(user_id), {"credits": before}, values))
    return CreditChange(user_id, before, after, expires_at)


def _check(number: int) -> None:
    if not 1 <= number <= CREDITS_MAX:
        raise UserError(AdminRefused(AdminProblem.CREDITS_OUT_OF_BOUNDS, CREDITS_MAX))
