"""What all code that posts through Discord's REST API shares: its errors, and finding the bot's own messages."""

import contextlib
import logging
from collections.abc import AsyncIterator, Collection, Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any

import aiohttp
import discord
from discord.utils import time_snowflake

from bot.domain.errors import (
    DeliveryDelayed,
    DeliveryError,
    DeliveryForbidden,
    ThreadLocked,
    TooLargeToPost,
    Undeliverable,
)
from bot.domain.jobs import Job
from bot.operations.redaction import without_tokens

log = logging.getLogger(__name__)

DISCORD_FAILED = (discord.HTTPException, discord.RateLimited, aiohttp.ClientError, OSError, TimeoutError)
"""What discord.py raises if Discord refuses, is down or can't be reached: its own errors, and those of aiohttp
that `HTTPClient.request` and `Attachment.read` don't catch."""
UNREADABLE = (KeyError, TypeError, ValueError, AttributeError, RuntimeError)
"""What discord.py raises for a response that isn't Discord's, such as a proxy's page, and aiohttp for a client
that was closed during a request."""

UNKNOWN_MESSAGE = 10008
NO_PINGS = discord.AllowedMentions.none()

_NOWHERE = frozenset({10003, 10004, 10013})
"""The channel, the server or the user that a message was for is gone."""
_FILE_TOO_LARGE = 40005
_LOCKED = frozenset({50083, 160005})
"""The thread is archived or locked: a moderator has to open it."""
_TEMPORARY = frozenset({20016, 20022, 20028, 20029, 30046, 40003, 40004, 40006, 40062, 40333, 130000})
"""Refusals that pass by themselves: slow mode (which spares bots so far), limits on writing, on editing (20022: in
announcement channels) and on direct messages, what Discord has turned off for a while, and its overload
(source: Discord's documentation of JSON error codes; 40333, "internal network error", comes from Cloudflare)."""
_CLOCK_SKEW = timedelta(hours=2)
"""How far this machine's clock may be ahead of Discord's without a message being posted twice."""

_USUAL_CLOCK_SKEW = timedelta(minutes=1)
"""How far it usually is ahead at most."""

SEARCH_MAX = 1_000
"""How many messages a search reads in each of three places: the newest, those from when ours was probably posted,
and the oldest. So it finds what was just posted, and what a process posted right before it died, however long ago
that was and however much was said before."""


def channel_of(client: discord.Client, job: Job) -> discord.PartialMessageable:
    """The channel where the job was ordered. Raises: Undeliverable where the bot isn't."""
    if not job.has_channel:
        raise Undeliverable("the bot isn't where it was ordered")
    return client.get_partial_messageable(job.channel_id)


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Turns Discord's errors into this project's, whose classes say what to do next."""
    try:
        yield
    except discord.HTTPException as error:
        raise _meaning_of(error) from error
    except DISCORD_FAILED as error:
        raise DeliveryDelayed(f"{type(error).__name__}: {error}") from error
    except UNREADABLE as error:
        log.warning("Discord's response can't be read", exc_info=error)
        raise DeliveryDelayed("Discord's response can't be read") from error


def _meaning_of(error: discord.HTTPException) -> DeliveryError:
    """What a refusal means. One without an error code isn't Discord's decision, but somebody's in between."""
    said = said_by(error)
    if error.status == 413 or error.code == _FILE_TOO_LARGE:  # noqa: PLR2004 - HTTP's own number
        return TooLargeToPost(said, limit_bytes=0)
    if error.code in _LOCKED:
        return ThreadLocked(said)
    if is_temporary(error):
        return DeliveryDelayed(said)
    if isinstance(error, discord.Forbidden):
        return DeliveryForbidden(said)
    if error.status == 400 or error.code in _NOWHERE:  # noqa: PLR2004 - HTTP's own number
        return Undeliverable(said)
    return DeliveryDelayed(said)


def is_temporary(error: discord.HTTPException) -> bool:
    """Whether a refusal passes by itself, or isn't Discord's own decision."""
    return not error.code or error.code in _TEMPORARY


def is_missing(error: Exception) -> bool:
    """Whether Discord says that something doesn't exist, or that the bot has no access to it."""
    return isinstance(error, discord.NotFound | discord.Forbidden) and not is_temporary(error)


@contextlib.contextmanager
def unless_deleted() -> Iterator[None]:
    """Ends the block where Discord says that the message is gone. Another 404 may be a proxy's."""
    try:
        yield
    except discord.NotFound as error:
        if error.code != UNKNOWN_MESSAGE:
            raise


def said_by(error: Exception) -> str:
    """Discord's own words, which people read, or that there are none: anything else may be a proxy's web page.

    A proxy may also quote the request, including the token.
    """
    if not isinstance(error, discord.HTTPException):
        return str(error)
    if error.code:
        return without_tokens(error.text)
    return f"HTTP {error.status} without one of Discord's error codes"


def components_within(components: Iterable[Any]) -> Iterator[Any]:
    """The components, and all that are inside of them."""
    for component in components:
        yield component
        yield from components_within(getattr(component, "children", ()))


def shown_text(components: Iterable[Any]) -> str:
    """The text in a message of components."""
    return "\n".join(one.content for one in components_within(components) if hasattr(one, "content"))


async def own_messages(
    client: discord.Client,
    channel: discord.abc.Messageable,
    *,
    since: datetime | discord.abc.Snowflake,
    likely_at: datetime | None = None,
    known_id: int | None = None,
) -> AsyncIterator[discord.Message]:
    """The bot's own messages in the channel since a time or from a message on, the newest first.

    Where there are more than `SEARCH_MAX` messages, those from `likely_at` (None: from `since`, if it is a time)
    come next and the oldest last; others are left out. known_id: any message id. Without the permission to read
    the history, Discord lists nothing (see its Get Channel Messages); fetching a message by id then raises
    discord.Forbidden.
    """
    me = client.user
    if isinstance(since, datetime):
        start, likely_at = discord.Object(time_snowflake(since - _CLOCK_SKEW)), likely_at or since
    else:
        start = discord.Object(since.id - 1)
    likely = start if likely_at is None else discord.Object(time_snowflake(likely_at - _USUAL_CLOCK_SKEW))
    places = [(start, False), (likely, True), (start, True)]
    if likely.id <= start.id:
        del places[1]
    is_empty = True
    for after, oldest_first in places:
        read = 0
        async for message in channel.history(limit=SEARCH_MAX, after=after, oldest_first=oldest_first):
            is_empty, read = False, read + 1
            if me is not None and message.author.id == me.id:
                yield message
        if read < SEARCH_MAX and after is start:
            break
    if is_empty and known_id is not None:
        with unless_deleted():
            await channel.fetch_message(known_id)


async def find_by_button(
    client: discord.Client,
    channel: discord.abc.Messageable,
    custom_ids: Collection[str],
    *,
    since: datetime | discord.abc.Snowflake,
    likely_at: datetime | None = None,
    known_id: int | None = None,
    component_id: int | None = None,
) -> int | None:
    """The id of the bot's own message that has a button with one of these custom ids; see `own_messages`.

    component_id: the button's own id, which tells apart messages of one kind about one job; None for any.
    """
    async for message in own_messages(client, channel, since=since, likely_at=likely_at, known_id=known_id):
        for item in components_within(message.components):
            is_wanted = isinstance(item, discord.Button) and item.custom_id in custom_ids
            if is_wanted and component_id in {None, item.id}:
                return message.id
    return None
