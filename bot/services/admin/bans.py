"""What admins look after: members who may order nothing."""

from dataclasses import dataclass
from datetime import timedelta

from bot.chat.messages.markdown import mention, one_line
from bot.domain.errors import NotPossible
from bot.domain.guilds import Ban, Change
from bot.services.admin.audited import Acts, Admin
from bot.store.guilds import bans, violations


@dataclass(frozen=True, slots=True)
class Banned:
    """A ban, in the place of what stood before. under_way: the member's jobs that had not ended then."""

    change: Change
    ban: Ban
    under_way: int


class Bans(Acts):
    """Bans by admins, and the pauses that blocked prompts bring: both are lifted alike."""

    async def ban(self, admin: Admin, user_id: int, reason: str, lasting: timedelta | None) -> Banned:
        """Lets the member order nothing any more; `lasting` None: for good. Replaces a ban that stands.

        What the member has ordered goes on: it is up to the admin to cancel it.
        """
        if lasting is not None and lasting <= timedelta(0):
            raise NotPossible("A ban lasts longer than no time at all. Leave `expires` out for one without end.")
        async with self._act(admin) as act:
            before = await bans.active_ban(act.connection, admin.guild_id, user_id, act.now)
            until = None if lasting is None else act.now + lasting
            ban = Ban(admin.guild_id, user_id, one_line(reason), act.now, until, admin.user_id)
            await bans.put(act.connection, ban)
            change = await act.record(f"ban of {mention(user_id)}", _state(before), _state(ban))
            return Banned(change, ban, await bans.count_active_jobs(act.connection, admin.guild_id, user_id))

    async def unban(self, admin: Admin, user_id: int) -> Change:
        """Lets the member order again, with no blocked prompts to their name.

        Raises: NotPossible where no ban stands.
        """
        async with self._act(admin) as act:
            before = await bans.active_ban(act.connection, admin.guild_id, user_id, act.now)
            if before is None:
                raise NotPossible("That member is not banned from the bot here. `/video-admin bans` lists who is.")
            await bans.remove(act.connection, admin.guild_id, user_id)
            await violations.forget(act.connection, admin.guild_id, user_id)
            return await act.record(f"ban of {mention(user_id)}", _state(before), None)

    async def standing(self, admin: Admin) -> list[Ban]:
        """The bans that hold in the server, the latest first."""
        async with self._database.read() as connection:
            return await bans.active_bans(connection, admin.guild_id, self._clock())


def _state(ban: Ban | None) -> str | None:
    if ban is None:
        return None
    until = "for good" if ban.expires_at is None else f"until {ban.expires_at:%Y-%m-%d %H:%M} UTC"
    return f"{until}: {ban.reason}"
