"""Checks Discord for `zoetrope doctor`: the token, permissions, the operator's server and channel."""

from collections.abc import AsyncIterator, Iterable

import discord

from bot.chat.permissions.channel_permissions import invite_link, missing_permissions
from bot.chat.posting import DISCORD_FAILED, UNREADABLE, is_missing, said_by
from bot.chat.transport.shard_connections import gateway_plan
from bot.domain.errors import DeliveryDelayed, LoginRefused

SERVERS_MAX = 100
"""How many servers are looked up, with two requests each."""

_NEEDED_FOR_TEXT = {"View Channel", "Send Messages", "Send Messages in Threads"}
"""The permissions that the bot needs where it only posts text."""


class DiscordChecks:
    """Read-only checks over the REST API: no gateway connection, no command sync."""

    def __init__(self) -> None:
        self._client = discord.Client(intents=discord.Intents.none())

    async def log_in(self, token: str) -> str:
        """Logs in; returns the bot's name and invite link in words. Raises: LoginRefused, DeliveryDelayed."""
        try:
            await self._client.login(token)
            application = await self._client.application_info()
        except discord.LoginFailure as error:
            raise LoginRefused("Discord rejects DISCORD_TOKEN. Copy the bot's token again.") from error
        except DISCORD_FAILED as error:
            raise DeliveryDelayed(f"Discord can't be reached: {said_by(error)}") from error
        except UNREADABLE as error:
            raise DeliveryDelayed("Discord's response can't be read") from error
        return f"logged in as {self._client.user}. Invite link: {invite_link(application.id)}"

    async def shards(self) -> str:
        """In how many servers the bot is, and how many shards Discord recommends. Raises: DeliveryDelayed."""
        try:
            application = await self._client.application_info()
            plan = await gateway_plan(self._client)
        except (*DISCORD_FAILED, discord.GatewayNotFound) as error:
            raise DeliveryDelayed(f"Discord can't be reached: {said_by(error)}") from error
        except UNREADABLE as error:
            raise DeliveryDelayed("Discord's response can't be read") from error
        servers = application.approximate_guild_count
        shards = "1 shard" if plan.shards == 1 else f"{plan.shards} shards"
        return (
            f"in about {servers} servers, for which Discord recommends {shards}. "
            f"{plan.sessions_left} connections can be started today."
        )

    async def servers(self) -> AsyncIterator[tuple[str, str | None]]:
        """Each server's name, and what is wrong with the bot's permissions there, if anything; of `SERVERS_MAX`.

        Raises: DeliveryDelayed if Discord can't be reached.
        """
        me = self._client.user
        try:
            found = [guild async for guild in self._client.fetch_guilds(limit=SERVERS_MAX)]
        except DISCORD_FAILED as error:
            raise DeliveryDelayed(f"Discord can't be reached: {said_by(error)}") from error
        for listed in found:
            try:
                guild = await self._client.fetch_guild(listed.id)
                member = await guild.fetch_member(me.id) if me is not None else None
            except DISCORD_FAILED as error:
                yield listed.name, f"can't be looked up: {said_by(error)}"
                continue
            granted = member.guild_permissions if member is not None else discord.Permissions.none()
            missing = ", ".join(missing_permissions(granted, thread=False))
            problem = f"the bot lacks {missing}. Grant this to its role, or invite it again."
            yield guild.name, problem if missing else None

    async def operator_problems(self, guild_id: int, user_ids: Iterable[int]) -> list[str]:
        """What keeps `/operator` from working in that server, one sentence per problem."""
        try:
            guild = await self._client.fetch_guild(guild_id)
        except DISCORD_FAILED as error:
            if is_missing(error):
                return [f"the bot is not in server {guild_id} (OPERATOR_GUILD_ID). Invite it there."]
            return [f"server {guild_id} (OPERATOR_GUILD_ID) can't be looked up: {said_by(error)}"]
        problems = []
        for user_id in user_ids:
            try:
                await guild.fetch_member(user_id)
            except DISCORD_FAILED as error:
                is_stranger = isinstance(error, discord.NotFound) and is_missing(error)
                problem = (
                    f"is not a member of {guild.name}." if is_stranger else f"can't be looked up: {said_by(error)}"
                )
                problems.append(f"user {user_id} (OPERATOR_USER_IDS) {problem}")
        return problems

    async def log_channel_problem(self, channel_id: int) -> str | None:
        """Why the bot can't post in the operator's log channel; None if it can."""
        me, name = self._client.user, f"channel {channel_id} (OPERATOR_LOG_CHANNEL_ID)"
        try:
            listed = await self._client.fetch_channel(channel_id)
            if me is None or not isinstance(listed, discord.abc.GuildChannel):
                return f"{name} is not a channel of a server."
            guild = await self._client.fetch_guild(listed.guild.id)
            channel, member = await guild.fetch_channel(channel_id), await guild.fetch_member(me.id)
            granted = channel.permissions_for(member)
        except discord.InvalidData:
            return f"the bot can't see {name}."
        except DISCORD_FAILED as error:
            return (
                f"the bot can't see {name}."
                if is_missing(error)
                else f"{name} can't be looked up: {said_by(error)}"
            )
        missing = [name for name in missing_permissions(granted, thread=False) if name in _NEEDED_FOR_TEXT]
        lacks = f"the bot lacks {', '.join(missing)} in #{listed.name} (OPERATOR_LOG_CHANNEL_ID)."
        return lacks if missing else None

    async def close(self) -> None:
        """Closes the HTTP session."""
        await self._client.close()
