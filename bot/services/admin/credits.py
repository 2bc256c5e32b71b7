"""What admins look after: extra videos for members, used when their window is full."""

from dataclasses import dataclass
from datetime import datetime

from bot.chat.messages.markdown import one_line
from bot.domain.durations import parse_span
from bot.domain.errors import UserError
from bot.services.admin.audited import Act, Acts, Admin
from bot.store.money import credit_grants
from bot.store.money.credit_grants import Attribution

CREDITS_MAX = 10_000
REASON_MAX = 200


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
        span = None if expires is None else parse_span(expires)
        if span is not None and not span:
            raise UserError("Credits that expire at once are of no use. Nothing was granted.")
        async with self._act(admin) as act:
            before = await credit_grants.usable(act.connection, admin.guild_id, user_id, act.now)
            expires_at = None if span is None else act.now + span
            giver = Attribution(admin.user_id, act.now, _reason(reason, "granted by an admin"))
            await credit_grants.grant(
                act.connection, admin.guild_id, user_id, number, giver, expires_at=expires_at
            )
            told = "" if expires_at is None else f"; {number} of them until {expires_at:%Y-%m-%d %H:%M} UTC"
            return await _changed(act, user_id, before, f"{told}{_because(reason)}", expires_at)

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
                raise UserError(
                    f"<@{user_id}> has no credits that could be taken back. Those that a video in the making "
                    "holds come back only if it fails."
                )
            giver = Attribution(admin.user_id, act.now, _reason(reason, "revoked by an admin"))
            await credit_grants.revoke(act.connection, admin.guild_id, user_id, number, giver)
            return await _changed(act, user_id, before, _because(reason), None)


async def _changed(act: Act, user_id: int, before: int, more: str, expires_at: datetime | None) -> CreditChange:
    after = await credit_grants.usable(act.connection, act.admin.guild_id, user_id, act.now)
    await act.record(f"credits of <@{user_id}>", str(before), f"{after}{more}")
    return CreditChange(user_id, before, after, expires_at)


def _check(number: int) -> None:
    if not 1 <= number <= CREDITS_MAX:
        raise UserError(f"Credits are given and taken from 1 to {CREDITS_MAX} at a time. Nothing was changed.")


def _reason(reason: str | None, otherwise: str) -> str:
    return _shown(reason) or otherwise


def _because(reason: str | None) -> str:
    shown = _shown(reason)
    return f" ({shown})" if shown else ""


def _shown(reason: str | None) -> str:
    return one_line(reason or "")[:REASON_MAX]
