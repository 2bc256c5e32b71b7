"""Keeps the gateway connection, through everything that passes; says plainly what does not.

discord.py resumes and reconnects by itself, but not where its very first connection fails or what came can't be
read: then it ends with an error of its own, and the next try is made here. `bot.chat.transport.request_throttle`
keeps tries apart.
"""

import asyncio
import contextlib
import logging
import random

import discord

from bot.chat.transport.posting import DISCORD_FAILED
from bot.chat.transport.request_throttle import RequestThrottle
from bot.domain.errors import LoginRefused
from bot.domain.schedule import Backoff

log = logging.getLogger(__name__)

NO_MORE = "Discord does not take DISCORD_TOKEN any more: it was reset. Copy the bot's new token, then start again."

_FOR_GOOD = {
    4004: NO_MORE,
    4010: "Discord refused this bot's shard (4010). Update Zoetrope.",
    4011: "This bot is in more servers than one connection may serve (4011). Remove it from some.",
    4012: "Discord's gateway does not know this version any more (4012). Update Zoetrope.",
    4013: "Discord does not know an intent of this bot (4013). Update Zoetrope.",
    4014: "Discord does not let this bot have its intents (4014), though it asks for none that need approval: "
    "look at the bot's page in Discord's developer portal.",
}
"""What an operator can do about the close codes after which Discord takes no connection (its documentation,
"Gateway Close Event Codes")."""


async def stay_connected(client: discord.Client, backoff: Backoff = Backoff(first_s=2, cap_s=60)) -> None:
    """Keeps the gateway connection until the client is closed.

    Raises: LoginRefused where Discord ends it for good.
    """
    failures = 0
    while not client.is_closed():
        try:
            await client.connect(reconnect=True)
        except discord.PrivilegedIntentsRequired as error:
            raise LoginRefused(_FOR_GOOD[4014]) from error
        except discord.ConnectionClosed as error:
            text = f"Discord closed the connection for good ({error.code})."
            raise LoginRefused(_FOR_GOOD.get(error.code, text)) from error
        except Exception as error:  # noqa: BLE001 - whatever came: the worker needs no gateway, the next may be well
            log.warning("the gateway connection broke off: %r", error)
            # None until the first one stood, whatever the annotation says; its heartbeats would go on.
            websocket: object = client.ws
            if isinstance(websocket, discord.gateway.DiscordWebSocket):
                with contextlib.suppress(*DISCORD_FAILED, RuntimeError):
                    await websocket.close(code=4000)
            await asyncio.sleep(backoff.pause_s(failures, chance=random.random()))  # noqa: S311 - no secret
            failures += 1


async def until_refused(
    client: discord.Client, manners: RequestThrottle, backoff: Backoff = Backoff(1, 4)
) -> None:
    """Ends only where the token is dead: each request is refused then, and nothing but a new token helps.

    A single refusal may be a fault of Discord's, so it is asked again. No job fails by it: they wait for the next
    start. Raises: LoginRefused.
    """
    while True:
        await manners.unauthorized.wait()
        if await _is_refused(client, backoff):
            raise LoginRefused(NO_MORE)
        log.warning("Discord refused the token once, and then took it")
        manners.unauthorized.clear()


_ASKED = 3


async def _is_refused(client: discord.Client, backoff: Backoff) -> bool:
    """Whether Discord keeps refusing the token. No other failure of Discord's says anything about that."""
    refusals = 0
    while True:
        try:
            await client.application_info()
        except (*DISCORD_FAILED, RuntimeError) as error:  # the latter of a session that the start closed again
            refusals += getattr(error, "status", None) == 401  # noqa: PLR2004 - HTTP's own number
        else:
            return False
        if refusals == _ASKED:
            return True
        await asyncio.sleep(backoff.pause_s(refusals, chance=random.random()))  # noqa: S311 - no secret
