"""What admins look after: extra videos for members, used when their window is full."""

from dataclasses import dataclass
from datetime import datetime

from bot.domain.audit_log import Action, AuditedChange, TargetKind, seconds
from bot.domain.durations import parse_duration
from bot.domain.errors import Reason, UserError
from bot.services.admin.audited import Act, Acts, Admin
from bot.store.money import credit_grants
from bot.store.money.credit_grants import Attribution

CREDITS_MAX = 10_000
REASON_MAX = 200


@dataclass(frozen=True, slots=True)
class CreditsOutOfBounds(Reason):
    """So many credits can't be given or taken at a time. most: the largest number that can."""

    most: int


@dataclass(frozen=True, slots=True)
class CreditsExpireAtOnce(Reason):
    """The credits would be worth nothing."""


@dataclass(frozen=True, slots=True)
class NoCreditsLeft(Reason):
    """The member has no credits that could be taken back."""

    user_id: int


@dataclass(frozen=True, slots=True)
class CreditChange:
    """What a member could use before, and after. expires_at: of what was granted; None for never."""

    user_id: int
    before: int
    after: int
    expires_at: datetime | None = None


class Credits(Acts):
    """Grants and revokes extra videos; the ledger says why each is there."""

    async def grant(
        self, admin: Admin, user_id: int, number: int, *, expires: str | None = None, reason: str | None = None
    ) -> CreditChange:
        """Gives a member of the server `number` extra videos. expires: a span, "30d". Raises: UserError."""
        _check(number)
        span = None if expires is None else parse_duration(expires)
        if span is not None and not span:
            raise UserError(CreditsExpireAtOnce())
        async with self._act(admin) as act:
            before = await credit_grants.usable(act.connection, admin.guild_id, user_id, act.now)
            expires_at = None if span is None else act.now + span
            giver = Attribution(admin.user_id, act.now, reason or "granted")
            await credit_grants.grant(
                act.connection, admin.guild_id, user_id, number, giver, expires_at=expires_at
            )
            return await _changed(act, Action.CREDITS_GRANTED, user_id, before, reason, expires_at)

    async def revoke(
        self, admin: Admin, user_id: int, number: int | None, *, reason: str | None = None
    ) -> CreditChange:
        """Takes extra videos back, all of them where `number` is None; never what a running job holds.

        Raises: UserError where the member has none.
        """
        if number is not None:
            _check(number)
        async with self._act(admin) as act:
            before = await credit_grants.usable(act.connection, admin.guild_id, user_id, act.now)
            if not before:
                raise UserError(NoCreditsLeft(user_id))
            giver = Attribution(admin.user_id, act.now, reason or "revoked")
            await credit_grants.revoke(act.connection, admin.guild_id, user_id, number, giver)
            return await _changed(act, Action.CREDITS_REVOKED, user_id, before, reason, None)


async def _changed(
    act: Act, action: Action, user_id: int, before: int, reason: str | None, expires_at: datetime | None
) -> CreditChange:
    after = await credit_grants.usable(act.connection, act.admin.guild_id, user_id, act.now)
    values = {"credits": after, "expires_at": seconds(expires_at), "reason": reason}
    await act.record(AuditedChange(action, TargetKind.MEMBER, str(user_id), {"credits": before}, values))
    return CreditChange(user_id, before, after, expires_at)


def _check(number: int) -> None:
    if not 1 <= number <= CREDITS_MAX:
        raise UserError(CreditsOutOfBounds(CREDITS_MAX))
