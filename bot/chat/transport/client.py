"""The Discord clients: the bot with its commands and their guards, and one that only posts."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import discord
from discord import app_commands
from discord.ext import commands

from bot.chat.authorization import ADMIN_COMMAND, OPERATOR_COMMAND, admin_of, operator_of
from bot.chat.autocomplete import offer_nothing
from bot.chat.context import Interaction, ServiceBot, services_of
from bot.chat.permissions import option_validation
from bot.chat.permissions.channel_permissions import invite_link
from bot.chat.posting import DISCORD_FAILED, UNREADABLE, is_missing
from bot.chat.replies import answer_error
from bot.chat.transport.connection import REFUSALS
from bot.chat.transport.request_throttle import RequestThrottle
from bot.chat.transport.sharded_client import ShardedClient
from bot.domain.errors import LoginRefused, UserError
from bot.domain.schedule import Backoff
from bot.domain.shards import ShardRange

log = logging.getLogger(__name__)

RATE_LIMIT_S = 60.0
"""The longest rate limit that discord.py waits for in a request; a longer one raises, and the job waits."""

Client = discord.Client
"""All that is needed to post."""

EXTENSIONS = ("cogs.animate", "cogs.videos", "cogs.help", "cogs.video_admin", "cogs.operator")
"""Loaded by name. Each also registers the buttons under its messages."""

GUARDED: Mapping[str, Callable[[Interaction], Awaitable[object]]] = {
    ADMIN_COMMAND: admin_of,
    OPERATOR_COMMAND: operator_of,
}
"""The commands that aren't for everybody, with the check of each, which raises UserError."""


class Tree(app_commands.CommandTree[ServiceBot]):
    """Checks each command before it runs, and answers its errors."""

    def __init__(self, client: ServiceBot) -> None:
        # A user install would bring the commands into servers that never invited the bot.
        super().__init__(
            client,
            allowed_contexts=app_commands.AppCommandContext(guild=True, dm_channel=False, private_channel=False),
            allowed_installs=app_commands.AppInstallationType(guild=True, user=False),
        )

    async def interaction_check(self, interaction: Interaction, /) -> bool:
        """Called by discord.py before each command and autocomplete; answers a refusal itself."""
        if not await services_of(interaction).limiter.allows(interaction):
            return False
        name = None if interaction.data is None else interaction.data.get("name")
        guard = GUARDED.get(str(name))
        try:
            services_of(interaction).interactions.begin(interaction)
            option_validation.check(interaction)
            if guard is not None:
                await guard(interaction)
        except UserError as error:
            if interaction.type is discord.InteractionType.autocomplete:
                await offer_nothing(interaction)
            else:
                await answer_error(interaction, error)
            return False
        return True

    async def on_error(self, interaction: Interaction, error: app_commands.AppCommandError, /) -> None:
        """Called by discord.py with the error of a command."""
        await answer_error(interaction, error)


def offer_in_direct_messages(tree: app_commands.CommandTree[Any]) -> None:
    """Offers the members' commands outside servers too, and to who installs the bot as their own app.

    Those of admins and the operator stay in servers that have the bot.
    """
    for command in tree.get_commands():
        if command.name not in GUARDED:
            command.guild_only = False
            command.allowed_contexts = app_commands.AppCommandContext(
                guild=True, dm_channel=True, private_channel=True
            )
            command.allowed_installs = app_commands.AppInstallationType(guild=True, user=True)


class ZoetropeBot(ShardedClient, ServiceBot):
    """The bot. Its `services` are set before it starts."""

    operator_sync_pauses_s: Sequence[float] = (1.0, 4.0)
    """Before each further attempt to offer `/operator`."""

    def __init__(self, throttle: RequestThrottle | None = None, *, shards: ShardRange | None = None) -> None:
        """shards: those of this process; None connects as many as Discord recommends."""
        # Guilds only: no members, no presence, no message content. Slash commands and buttons need no intent.
        super().__init__(
            command_prefix=commands.when_mentioned,
            help_command=None,
            intents=discord.Intents(guilds=True),
            allowed_mentions=discord.AllowedMentions.none(),
            tree_cls=Tree,
            max_messages=None,
            max_ratelimit_timeout=RATE_LIMIT_S,
            chunk_guilds_at_startup=False,
            member_cache_flags=discord.MemberCacheFlags.none(),
            shards=shards,
            throttle=throttle,
        )

    async def setup_hook(self) -> None:
        """Called by discord.py before it connects to the gateway: loads the commands, syncs them with Discord."""
        for extension in EXTENSIONS:
            if extension not in self.extensions:  # another attempt after Discord failed halfway
                await self.load_extension(extension)
        if self.services.direct_orders:
            offer_in_direct_messages(self.tree)
        synced = await self._sync()
        self.services.command_permissions.command_ids = {command.name: command.id for command in synced}
        await self._sync_operator_commands()
        if self.application_id is not None:  # known as soon as the bot is logged in
            log.info("invite link: %s", invite_link(self.application_id))

    async def _sync(self, guild: discord.Object | None = None) -> list[app_commands.AppCommand]:
        """Registers the commands with Discord. Raises: ValueError if the response doesn't list them."""
        synced = await self.tree.sync(guild=guild)
        if len(synced) != len(self.tree.get_commands(guild=guild)):
            raise ValueError(f"Discord lists {len(synced)} commands after the sync")
        return synced

    async def _sync_operator_commands(self) -> None:
        """Offers `/operator` in the operator's server. If that fails, the bot still works without it."""
        operator = self.services.operator
        if operator is None:
            return
        for pause_s in (*self.operator_sync_pauses_s, None):
            try:
                synced = await self._sync(discord.Object(operator.guild_id))
            except (*DISCORD_FAILED, *UNREADABLE) as error:
                if pause_s is not None:
                    await asyncio.sleep(pause_s)
                elif is_missing(error):
                    log.error(
                        "`/operator` is not available: the bot is not in the server %d of OPERATOR_GUILD_ID. "
                        "Invite it there, then restart it.",
                        operator.guild_id,
                    )
                else:
                    log.warning("`/operator` is not available; restart the bot to try again: %r", error)
            else:
                ids = {command.name: command.id for command in synced}
                self.services.command_permissions.command_ids |= ids
                return

    async def on_message(self, message: discord.Message, /) -> None:
        """Does nothing: `commands.Bot` would parse messages as commands."""


class RestClient(discord.Client):
    """A client that never connects to the gateway, for a process that only runs the worker."""

    def __init__(self, throttle: RequestThrottle | None = None) -> None:
        self.throttle = throttle or RequestThrottle()
        super().__init__(
            intents=discord.Intents.none(),
            allowed_mentions=discord.AllowedMentions.none(),
            max_ratelimit_timeout=RATE_LIMIT_S,
            http_trace=self.throttle.trace(),
        )


async def log_in(client: discord.Client, token: str, backoff: Backoff = Backoff(first_s=2, cap_s=60)) -> None:
    """Logs in to Discord's REST API; retries while Discord can't be reached or its answers make no sense.

    Raises: LoginRefused if Discord rejects the token `REFUSALS` times; once may be its mistake.
    """
    failures = refusals = 0
    while True:
        pause_s = backoff.pause_s(failures, jitter=random.random())  # noqa: S311 - spreads load, no secret
        try:
            await client.login(token)
        except discord.LoginFailure as error:
            refusals += 1
            if refusals == REFUSALS:
                raise LoginRefused("Discord rejects DISCORD_TOKEN. Copy the bot's token again.") from error
            log.warning("Discord rejects DISCORD_TOKEN; asking again in %.0f s", pause_s)
        except DISCORD_FAILED as error:
            log.warning("Discord can't be reached; trying again in %.0f s: %s", pause_s, error)
        except UNREADABLE as error:
            log.warning("Discord's response can't be read; trying again in %.0f s", pause_s, exc_info=error)
        else:
            return
        await client.http.close()
        # Closed with its session; discord.py would otherwise use it for the next session too.
        client.http.connector = discord.utils.MISSING
        await asyncio.sleep(pause_s)
        failures += 1
