"""Looks at the Discord side for `zoetrope doctor`: the token, the invite link, what each server grants."""

from collections.abc import AsyncIterator

import discord

from bot.chat.checks import PERMISSIONS, missing_permissions
from bot.chat.failures import DISCORD_FAILED
from bot.errors import DeliveryDelayed, LoginRefused


def invite_link(application_id: int) -> str:
    """The address by which an admin adds the bot to a server, with the permissions it needs and no more."""
    return discord.utils.oauth_url(
        application_id, permissions=PERMISSIONS, scopes=("bot", "applications.commands")
    )


class Inspection:
    """A client that is logged in for looking only: it neither connects nor syncs commands."""

    def __init__(self) -> None:
        self._client = discord.Client(intents=discord.Intents.none())

    async def log_in(self, token: str) -> str:
        """Logs in; who the bot is and how to invite it.

        Raises: LoginRefused, DeliveryDelayed where Discord can't be reached.
        """
        try:
            await self._client.login(token)
            application = await self._client.application_info()
        except discord.LoginFailure as error:
            raise LoginRefused("Discord does not take DISCORD_TOKEN: copy the bot's token anew.") from error
        except DISCORD_FAILED as error:
            raise DeliveryDelayed(f"Discord can't be reached: {error}") from error
        return f"logged in as {self._client.user}. Invite link: {invite_link(application.id)}"

    async def lacking(self) -> AsyncIterator[tuple[str, list[str]]]:
        """Each server's name and the permissions that the bot lacks there (channels may still differ).

        Raises: DeliveryDelayed where Discord can't be reached.
        """
        me = self._client.user
        async for listed in self._servers():
            try:
                guild = await self._client.fetch_guild(listed.id)
                member = await guild.fetch_member(me.id) if me is not None else None
            except DISCORD_FAILED as error:
                yield listed.name, [f"nothing that could be looked up ({error})"]
                continue
            granted = member.guild_permissions if member is not None else discord.Permissions.none()
            yield guild.name, missing_permissions(granted, thread=False)

    async def _servers(self) -> AsyncIterator[discord.Guild]:
        try:
            async for listed in self._client.fetch_guilds(limit=None):
                yield listed
        except DISCORD_FAILED as error:
            raise DeliveryDelayed(f"Discord can't be reached: {error}") from error

    async def close(self) -> None:
        """Logs out."""
        await self._client.close()
