"""What all code that posts through Discord's REST API shares: its errors, and finding the bot's own messages."""

import contextlib
import logging
from collections.abc import AsyncIterator, Collection, Iterator
from datetime import datetime, timedelta
from itertools import chain

import aiohttp
import discord

from bot.domain.errors import DeliveryDelayed, DeliveryForbidden, TooLargeToPost, Undeliverable
from bot.operations.redaction import without_tokens

log = logging.getLogger(__name__)

DISCORD_FAILED = (discord.HTTPException, discord.RateLimited, aiohttp.ClientError, OSError, TimeoutError)
"""What discord.py raises if Discord refuses, is down or can't be reached: its own errors, and those of aiohttp
that `HTTPClient.request` and `Attachment.read` don't catch."""
_UNREADABLE = (KeyError, TypeError, ValueError, AttributeError, RuntimeError)
"""What discord.py raises for a response that isn't Discord's, such as a proxy's page, and aiohttp for a client
that was closed during a request."""

UNKNOWN_MESSAGE = 10008
NO_PINGS = discord.AllowedMentions.none()

_UNKNOWN_CHANNEL, _UNKNOWN_GUILD = 10003, 10004
_FILE_TOO_LARGE = 40005
_TEMPORARY = frozenset({50083, 160005, 30046})
"""Refusals that may end: the thread is archived or locked, or an old message was edited too often."""
_CLOCK_SKEW = timedelta(hours=2)
"""How far this machine's clock may be ahead of Discord's without a message being posted twice. Costs some pages of
history, but only on a second attempt."""


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Turns Discord's errors into this project's, whose classes say what to do next."""
    try:
        yield
    except discord.Forbidden as error:
        raise DeliveryForbidden(_said(error)) from error
    except discord.NotFound as error:
        if error.code in {_UNKNOWN_CHANNEL, _UNKNOWN_GUILD}:
            raise Undeliverable(_said(error)) from error
        raise DeliveryDelayed(str(error)) from error
    except discord.HTTPException as error:
        if error.status == 413 or error.code == _FILE_TOO_LARGE:  # noqa: PLR2004 - HTTP's own number
            limit_bytes = discord.utils.DEFAULT_FILE_SIZE_LIMIT_BYTES
            raise TooLargeToPost(str(error), limit_bytes=limit_bytes) from error
        if error.status == 400 and error.code and error.code not in _TEMPORARY:  # noqa: PLR2004 - HTTP's own number
            raise Undeliverable(_said(error)) from error
        raise DeliveryDelayed(str(error)) from error
    except DISCORD_FAILED as error:
        raise DeliveryDelayed(f"{type(error).__name__}: {error}") from error
    except _UNREADABLE as error:
        log.warning("Discord's response can't be read", exc_info=error)
        raise DeliveryDelayed("Discord's response can't be read") from error


def _said(error: discord.HTTPException) -> str:
    """Discord's own words, which members read. A proxy may quote the request, including the token."""
    return without_tokens(error.text)


async def own_messages(
    client: discord.Client, channel: discord.PartialMessageable, *, since: datetime, known_id: int | None = None
) -> AsyncIterator[discord.Message]:
    """The bot's own messages in the channel that were posted after `since`, oldest first.

    known_id: any message id. Without the permission to read the history, Discord lists nothing (see its Get
    Channel Messages); fetching a message by id then raises discord.Forbidden.
    """
    me, readable = client.user, False
    async for message in channel.history(limit=None, after=since - _CLOCK_SKEW, oldest_first=True):
        readable = True
        if me is not None and message.author.id == me.id:
            yield message
    if not readable and known_id is not None:
        with contextlib.suppress(discord.NotFound):
            await channel.fetch_message(known_id)


async def find_by_button(
    client: discord.Client,
    channel: discord.PartialMessageable,
    custom_ids: Collection[str],
    *,
    since: datetime,
    known_id: int | None = None,
) -> int | None:
    """The id of the bot's own message that has a button with one of these custom ids; see `own_messages`."""
    async for message in own_messages(client, channel, since=since, known_id=known_id):
        items = chain.from_iterable(getattr(row, "children", ()) for row in message.components)
        if any(isinstance(item, discord.Button) and item.custom_id in custom_ids for item in items):
            return message.id
    return None
