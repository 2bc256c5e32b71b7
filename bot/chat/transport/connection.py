"""Keeps the gateway connections through every temporary failure, and explains the permanent ones.

A connection that was open once is kept by `bot.chat.transport.shard_connections`; this module tries again where it
can't even be asked for.
"""

import asyncio
import logging
import random

import discord

from bot.chat.posting import DISCORD_FAILED
from bot.chat.transport.request_throttle import RequestThrottle
from bot.domain.errors import LoginRefused
from bot.domain.schedule import Backoff

log = logging.getLogger(__name__)

REFUSALS = 3
"""How often Discord must reject the token before the bot believes it."""

REVOKED = "Discord rejects DISCORD_TOKEN: the token was reset. Set it to the bot's new token, then restart."

_FATAL = {
    4004: REVOKED,
    4010: "Discord rejected this bot's shard (4010). Check the numbers of `zoetrope run --shards`.",
    4011: "One of this bot's shards has too many servers (4011). Start it again: without `--shards` it asks "
    "Discord how many it needs. With `--shards`, stop all processes and start them with more shards.",
    4012: "Discord's gateway no longer supports this version (4012). Update Zoetrope.",
    4013: "Discord does not know one of this bot's intents (4013). Update Zoetrope.",
    4014: "Discord denies this bot its intents (4014), though none of them need approval: check the bot's page in "
    "Discord's developer portal.",
}
"""What the operator can do about close codes after which reconnecting is useless (Discord's documentation,
"Gateway Close Event Codes")."""


async def stay_connected(client: discord.Client, backoff: Backoff = Backoff(first_s=2, cap_s=60)) -> None:
    """Keeps the gateway connection until the client is closed. Raises: LoginRefused if reconnecting is useless."""
    failures = 0
    while not client.is_closed():
        try:
            await client.connect(reconnect=True)
        except discord.ConnectionClosed as error:
            text = f"Discord closed the connection permanently ({error.code})."
            raise LoginRefused(_FATAL.get(error.code, text)) from error
        except Exception as error:  # noqa: BLE001 - whatever it is, the next attempt may work
            log.warning("Discord's gateway can't be asked for: %r", error)
            await asyncio.sleep(backoff.pause_s(failures, jitter=random.random()))  # noqa: S311 - no secret
            failures += 1


async def until_refused(
    client: discord.Client, throttle: RequestThrottle, backoff: Backoff = Backoff(1, 4)
) -> None:
    """Waits until Discord rejects the token for good. Ends only by raising LoginRefused.

    A single 401 may be Discord's mistake, so the token is checked again. Jobs don't fail; they wait for a restart.
    """
    while True:
        await throttle.unauthorized.wait()
        if client.user is None:  # not logged in yet; `log_in` asks again by itself
            throttle.unauthorized.clear()
            continue
        if await _is_refused(client, backoff):
            raise LoginRefused(REVOKED)
        log.warning("Discord rejected the token once, then accepted it")
        throttle.unauthorized.clear()


async def _is_refused(client: discord.Client, backoff: Backoff) -> bool:
    """Whether Discord keeps rejecting the token. Other failures say nothing about the token and are retried."""
    refusals = 0
    while True:
        try:
            await client.application_info()
        except (*DISCORD_FAILED, RuntimeError) as error:  # RuntimeError: login closed the session in between
            refusals += getattr(error, "status", None) == 401  # noqa: PLR2004 - HTTP's own number
        else:
            return False
        if refusals == REFUSALS:
            return True
        await asyncio.sleep(backoff.pause_s(refusals, jitter=random.random()))  # noqa: S311 - no secret
