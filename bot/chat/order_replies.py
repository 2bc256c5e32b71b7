"""The private answers to recent orders, which can still be changed if the channel doesn't take how one ended.

Kept in memory: Discord lets an answer be changed for fifteen minutes only (source: its documentation of
interaction tokens). After a restart, and where another process runs the worker, a member gets a direct message, or
what `bot.chat.interaction_answers` can still say.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import discord

from bot.chat.messages.markdown import CONTENT_MAX, joined_within
from bot.chat.posting import DISCORD_FAILED

log = logging.getLogger(__name__)

LIFETIME_S = 15 * 60.0
"""How long an answer can be changed. discord.py's `is_expired` goes by the system clock, which may be wrong."""


@dataclass(frozen=True, slots=True)
class _Reply:
    interaction: discord.Interaction[Any]
    expires_at_s: float
    is_written: asyncio.Event = field(default_factory=asyncio.Event)
    texts: dict[str, str] = field(default_factory=dict)


class OrderReplies:
    """The answers by job; variations share one. clock: monotonic, in seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._replies: dict[str, _Reply] = {}

    @asynccontextmanager
    async def answering(
        self, job_id: str, interaction: discord.Interaction[Any], others: Iterable[str] = ()
    ) -> AsyncIterator[None]:
        """The block answers this order for the first time. A change waits for its end, not to be overwritten.

        others: the jobs of its other variations.
        """
        now_s = self._clock()
        for old_id in [job_id for job_id, reply in self._replies.items() if reply.expires_at_s <= now_s]:
            del self._replies[old_id]
        reply = _Reply(interaction, now_s + LIFETIME_S)
        self._replies |= dict.fromkeys([job_id, *others], reply)
        try:
            yield
        finally:
            reply.is_written.set()

    async def until_written(self, job_id: str) -> None:
        """Returns once this process has written its first answer to the job's order, if it does."""
        reply = self._replies.get(job_id)
        if reply is not None:
            await reply.is_written.wait()

    async def change(self, job_id: str, text: str) -> bool:
        """Replaces the answer by `text`; False if it can't be changed any more, or not now.

        What was said about variations with the same answer stays, as far as it fits.
        """
        reply = self._replies.get(job_id)
        if reply is None or reply.expires_at_s <= self._clock():
            return False
        await reply.is_written.wait()
        reply.texts[job_id] = text
        content = joined_within(dict.fromkeys(reply.texts.values()), CONTENT_MAX)
        try:
            await reply.interaction.edit_original_response(content=content, view=None)
        except DISCORD_FAILED as error:
            log.info("job %s: the answer to its order couldn't be changed: %s", job_id, error)
            reply.texts.pop(job_id, None)
            return False
        return True
