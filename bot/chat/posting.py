"""What everything that posts through Discord's REST API shares: its failures, and finding a message again."""

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
"""What discord.py raises when Discord refuses, is down or can't be reached: its own errors, and aiohttp's, which
`HTTPClient.request` and `Attachment.read` don't catch."""
_UNREADABLE = (KeyError, TypeError, ValueError, AttributeError, RuntimeError)
"""What discord.py raises over a response that isn't Discord's, such as a proxy's page, and aiohttp over a client
that was closed in the middle of a request."""

UNKNOWN_MESSAGE = 10008
NO_PINGS = discord.AllowedMentions.none()

_UNKNOWN_CHANNEL, _UNKNOWN_GUILD = 10003, 10004
_FILE_TOO_LARGE = 40005
_PASSING = frozenset({50083, 160005, 30046})
"""Refusals that may be over later: the thread is archived or locked, an old message was edited too often."""
_CLOCK_SKEW = timedelta(hours=2)
"""How far this machine's clock may be ahead of Discord's without a message being posted twice. Costs pages of
history, on a second try only."""


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Turns Discord's failures into this project's errors, whose classes say what to do next."""
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
        if error.status == 400 and error.code and error.code not in _PASSING:  # noqa: PLR2004 - HTTP's own number
            raise Undeliverable(_said(error)) from error
        raise DeliveryDelayed(str(error)) from error
    except DISCORD_FAILED as error:
        raise DeliveryDelayed(f"{type(error).__name__}: {error}") from error
    except _UNREADABLE as error:
        log.warning("Discord sent a response that can't be read", exc_info=error)
        raise DeliveryDelayed("Discord answered what I can't read") from error


def _said(error: discord.HTTPException) -> str:
    """Discord's own words, which members read. A proxy in between may quote the request, with the token."""
    return without_tokens(error.text)


async def own_messages(
    client: discord.Client, channel: discord.PartialMessageable, *, since: datetime, known_id: int | None = None
) -> AsyncIterator[discord.Message]:
    """The bot's own messages in the channel, made after `since`, oldest first.

    known_id: a message that may be there. Without the permission to read the history Discord lists nothing (see
    its Get Channel Messages); fetching one message then raises discord.Forbidden.
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
