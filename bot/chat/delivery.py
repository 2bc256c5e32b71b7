"""Posts, edits and finds the bot's public messages about jobs, by the bot's own REST calls.

No interaction token is needed, so it works long after one has died, and without a gateway connection. Every
message carries a nonce made of the job's id, so that sending it again within some minutes gives the message
that is there (source: Discord's Create Message, `enforce_nonce`), and a button with the job's id, by which it is
found again later.
"""

import contextlib
from collections.abc import Collection, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import discord

from bot.chat import texts
from bot.chat.buttons import STATUS_KINDS, ButtonKind, custom_id, status_view, view
from bot.chat.failures import DISCORD_FAILED
from bot.errors import DeliveryDelayed, DeliveryForbidden, TooLargeToPost, Undeliverable
from bot.jobs import Job

_UNKNOWN_CHANNEL, _UNKNOWN_GUILD, _UNKNOWN_MESSAGE = 10003, 10004, 10008
_FILE_TOO_LARGE = 40005
_PASSING = frozenset({50083, 160005, 30046})
"""Refusals that may pass: the thread is archived or locked, too many edits of an old message."""
_CLOCK_SKEW = timedelta(minutes=15)
"""How far this machine's clock may be ahead of Discord's. Costs a page of history, on a second try only."""
_NO_PINGS = discord.AllowedMentions.none()


class Delivery:
    """The steps' messenger. `client`: logged in; connected to the gateway or not."""

    def __init__(self, client: discord.Client) -> None:
        self._client = client

    async def show_status(self, job: Job, *, look_first: bool) -> int:
        """See `bot.steps.Messenger`."""
        with _translated():
            channel = self._channel(job)
            message_id = job.status_message_id
            if message_id is None and look_first:
                message_id = await self._find(job, STATUS_KINDS, since=job.created_at)
            if message_id is not None:
                with contextlib.suppress(_Gone):
                    return await self._edit(channel, message_id, job)
            sent = await self._send_status(channel, job, "s")
            if sent.content == texts.status(job):
                return sent.id
            # The nonce gave an earlier message back, as it was: posted by a step that was overtaken, or deleted.
            try:
                return await self._edit(channel, sent.id, job)
            except _Gone:
                return (await self._send_status(channel, job, "n")).id

    async def update_status(self, job: Job) -> None:
        """See `bot.steps.Messenger`."""
        if job.status_message_id is not None:
            with _translated(), contextlib.suppress(_Gone):
                await self._edit(self._channel(job), job.status_message_id, job)

    async def tell_failure(self, job: Job, *, look_first: bool) -> None:
        """See `bot.steps.Messenger`."""
        with _translated():
            if look_first and await self._find(job, {ButtonKind.NOTE}, since=job.state_since):
                return
            await self._channel(job).send(
                texts.failure(job),
                nonce=f"{job.id}-f",
                view=view(ButtonKind.NOTE, job.id),
                allowed_mentions=_pings(job),
            )

    async def post_video(self, job: Job, video: Path) -> int:
        """See `bot.steps.Messenger`."""
        with _translated():
            sent = await self._channel(job).send(
                texts.video(job),
                file=discord.File(video, filename=f"zoetrope-{job.id}.mp4"),
                nonce=job.id,
                view=view(ButtonKind.VIDEO, job.id),
                allowed_mentions=_pings(job),
            )
            return sent.id

    async def find_video(self, job: Job) -> int | None:
        """See `bot.steps.Messenger`."""
        with _translated():
            return await self._find(job, {ButtonKind.VIDEO}, since=job.state_since)

    async def upload_limit_bytes(self, job: Job) -> int:
        """See `bot.steps.Messenger`. A server's boosts raise it."""
        with _translated():
            guild = self._client.get_guild(job.guild_id) or await self._client.fetch_guild(job.guild_id)
            return guild.filesize_limit

    def _channel(self, job: Job) -> discord.PartialMessageable:
        return self._client.get_partial_messageable(job.channel_id, guild_id=job.guild_id)

    async def _send_status(self, channel: discord.PartialMessageable, job: Job, suffix: str) -> discord.Message:
        return await channel.send(
            texts.status(job),
            nonce=f"{job.id}-{suffix}",
            view=status_view(job),
            allowed_mentions=_NO_PINGS,
            silent=True,
        )

    async def _edit(self, channel: discord.PartialMessageable, message_id: int, job: Job) -> int:
        try:
            edited = await channel.get_partial_message(message_id).edit(
                content=texts.status(job), view=status_view(job), allowed_mentions=_NO_PINGS
            )
        except discord.NotFound as error:
            if error.code == _UNKNOWN_MESSAGE:
                raise _Gone from error
            raise
        return edited.id

    async def _find(self, job: Job, kinds: Collection[ButtonKind], *, since: datetime) -> int | None:
        """The bot's own message, made after `since`, under which a button of these kinds for this job stands."""
        wanted = {custom_id(kind, job.id) for kind in kinds}
        me = self._client.user
        channel, readable = self._channel(job), False
        async for message in channel.history(limit=None, after=since - _CLOCK_SKEW, oldest_first=True):
            readable = True
            if me is not None and message.author.id == me.id and wanted & set(_custom_ids(message)):
                return message.id
        if not readable and job.status_message_id is not None:
            # Without the right to read the history Discord lists nothing (source: its Get Channel Messages);
            # asking for one message says so.
            with contextlib.suppress(discord.NotFound):
                await channel.fetch_message(job.status_message_id)
        return None


class _Gone(Exception):
    """Somebody deleted the status message; a new one is posted."""


def _custom_ids(message: discord.Message) -> Iterator[str]:
    for row in message.components:
        for item in getattr(row, "children", ()):
            if isinstance(item, discord.Button) and item.custom_id is not None:
                yield item.custom_id


def _pings(job: Job) -> discord.AllowedMentions:
    """Only the requester, whatever else stands in the text."""
    requester = discord.Object(job.user_id)
    return discord.AllowedMentions(everyone=False, roles=False, replied_user=False, users=[requester])


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """Discord's failures as this project's: what to do next is in the class."""
    try:
        yield
    except discord.Forbidden as error:
        raise DeliveryForbidden(error.text or "no permission") from error
    except discord.NotFound as error:
        if error.code in {_UNKNOWN_CHANNEL, _UNKNOWN_GUILD}:
            raise Undeliverable(error.text or "it is gone") from error
        raise DeliveryDelayed(str(error)) from error
    except discord.HTTPException as error:
        if error.status == 413 or error.code == _FILE_TOO_LARGE:  # noqa: PLR2004 - HTTP's own number
            limit_bytes = discord.utils.DEFAULT_FILE_SIZE_LIMIT_BYTES
            raise TooLargeToPost(str(error), limit_bytes=limit_bytes) from error
        if error.status == 400 and error.code and error.code not in _PASSING:  # noqa: PLR2004 - HTTP's own number
            raise Undeliverable(f"Discord refuses the message: {error.text}") from error
        raise DeliveryDelayed(str(error)) from error
    except DISCORD_FAILED as error:
        raise DeliveryDelayed(f"{type(error).__name__}: {error}") from error
