"""Checks the Discord side for `zoetrope doctor`: the token, the invite link, the permissions in each server."""

from collections.abc import AsyncIterator, Iterable

import discord

from bot.chat.permissions.channel_permissions import PERMISSIONS, missing_permissions
from bot.chat.posting import DISCORD_FAILED
from bot.domain.errors import DeliveryDelayed, LoginRefused

_TO_POST = {"View Channel", "Send Messages", "Send Messages in Threads"}
"""What the bot needs where it only posts text."""


def invite_link(application_id: int) -> str:
    """The link that adds the bot to a server with the permissions it needs and no more."""
    return discord.utils.oauth_url(
        application_id, permissions=PERMISSIONS, scopes=("bot", "applications.commands")
    )


class Inspection:
    """A client that only reads: it neither connects to the gateway nor syncs commands."""

    def __init__(self) -> None:
        self._client = discord.Client(intents=discord.Intents.none())

    async def log_in(self, token: str) -> str:
        """Logs in; returns who the bot is and how to invite it.

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

    async def why_no_operator(self, guild_id: int, user_ids: Iterable[int]) -> list[str]:
        """What keeps `/operator` from working in that server, one sentence for each problem."""
        try:
            guild = await self._client.fetch_guild(guild_id)
        except (discord.NotFound, discord.Forbidden):
            return [f"the bot is not in the server {guild_id} of OPERATOR_GUILD_ID; invite it there."]
        except DISCORD_FAILED as error:
            return [f"the server {guild_id} of OPERATOR_GUILD_ID can't be looked up: {error}"]
        problems = []
        for user_id in user_ids:
            try:
                await guild.fetch_member(user_id)
            except discord.NotFound:
                problems.append(f"the user {user_id} of OPERATOR_USER_IDS is no member of {guild.name}.")
            except DISCORD_FAILED as error:
                problems.append(f"the user {user_id} of OPERATOR_USER_IDS can't be looked up: {error}")
        return problems

    async def why_unpostable(self, channel_id: int) -> str | None:
        """Why the bot can't post in the operator's log channel; None where it can."""
        me = self._client.user
        try:
            listed = await self._client.fetch_channel(channel_id)
            if me is None or not isinstance(listed, discord.abc.GuildChannel):
                return f"the channel {channel_id} of OPERATOR_LOG_CHANNEL_ID is no channel of a server."
            guild = await self._client.fetch_guild(listed.guild.id)
            channel, member = await guild.fetch_channel(channel_id), await guild.fetch_member(me.id)
            granted = channel.permissions_for(member)
        except (discord.NotFound, discord.Forbidden, discord.InvalidData):
            return f"the bot can't see the channel {channel_id} of OPERATOR_LOG_CHANNEL_ID."
        except DISCORD_FAILED as error:
            return f"the channel {channel_id} of OPERATOR_LOG_CHANNEL_ID can't be looked up: {error}"
        lacking = [name for name in missing_permissions(granted, thread=False) if name in _TO_POST]
        if not lacking:
            return None
        return f"the bot lacks {', '.join(lacking)} in #{listed.name}, the channel of OPERATOR_LOG_CHANNEL_ID."

    async def _servers(self) -> AsyncIterator[discord.Guild]:
        try:
            async for listed in self._client.fetch_guilds(limit=None):
                yield listed
        except DISCORD_FAILED as error:
            raise DeliveryDelayed(f"Discord can't be reached: {error}") from error

    async def close(self) -> None:
        """Logs out."""
        await self._client.close()
