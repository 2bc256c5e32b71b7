"""Posts, edits and finds the bot's public messages about jobs, and notifications, through Discord's REST API.

This needs no gateway connection and no interaction token, so it works long after one has expired; only orders
from where the bot isn't a member go through `bot.chat.interaction_answers`. Every message has a nonce, so sending
it again within a few minutes returns the first one (source: Discord's Create Message, `enforce_nonce`). A message
about a job also has a button with the job's id, by which it is found later.
"""

import asyncio
import re
from collections.abc import Collection
from datetime import datetime
from functools import partial
from pathlib import Path, PurePath

import discord

from bot.chat.interaction_answers import InteractionAnswers
from bot.chat.messages import alt_texts, member_texts
from bot.chat.messages.extension_texts import with_clip
from bot.chat.order_replies import OrderReplies
from bot.chat.posting import NO_PINGS, channel_of, find_by_button, own_messages, translated, unless_deleted
from bot.chat.upload_limits import DEFAULT_BYTES, UploadLimits
from bot.chat.views.member_buttons import ButtonKind
from bot.chat.views.persistent_button import job_custom_id
from bot.chat.views.result_buttons import note_row, result_row
from bot.domain.errors import TooLargeToPost, Undeliverable
from bot.domain.extensions import Clip
from bot.domain.guilds import OUTSIDE_SERVERS
from bot.domain.jobs import Job
from bot.domain.member_settings import MemberSettings, SettingsOf, settings_of_nobody
from bot.worker.stages.context import DirectMessage

_STEM_MAX = 100
"""The most of a picture's name that its video is called."""

NONCE_MAX = 25
"""Characters in a message's nonce (Discord's documentation of Create Message)."""

_Channel = discord.PartialMessageable | discord.DMChannel


class Delivery:
    """The messenger of the worker's stages.

    client: logged in; connected to the gateway or not. settings_of: reads a member's settings. answers: the
    way where the bot isn't a member.
    """

    def __init__(
        self,
        client: discord.Client,
        replies: OrderReplies | None = None,
        upload_limits: UploadLimits | None = None,
        settings_of: SettingsOf = settings_of_nobody,
        answers: InteractionAnswers | None = None,
    ) -> None:
        self._client = client
        self._upload_limits = upload_limits or UploadLimits()
        self._replies = replies or OrderReplies()
        self._settings_of = settings_of
        self._answers = answers

    async def notify_failure(self, job: Job, *, check_existing: bool) -> None:
        """See `bot.worker.stages.Messenger`."""
        pings = _pings(job, await self._settings_of(job.user_id))
        with translated():
            channel = self._channel(job)
            if not (check_existing and await self._find_note(job, channel)):
                await self._send_note(job, channel, pings)

    async def send_failure(self, job: Job, *, check_existing: bool) -> None:
        """See `bot.worker.stages.Messenger`."""
        with translated():
            channel = await self._direct_channel(job)
            if not (check_existing and await self._find_note(job, channel)):
                await self._send_note(job, channel, NO_PINGS)

    async def answer_order(self, job: Job) -> bool:
        """See `bot.worker.stages.Messenger`."""
        text = member_texts.failure(job)
        if await self._replies.change(job.id, text):
            return True
        return not job.has_channel and self._answers is not None and await self._answers.tell(job.id, text)

    async def post_video(self, job: Job, video: Path, clip: Clip | None = None, *, pings: bool = True) -> int:
        """See `bot.worker.stages.Messenger`."""
        settings = await self._settings_of(job.user_id)
        text = with_clip(member_texts.video(job), clip)
        with translated():
            if not job.has_channel:
                if self._answers is None:
                    raise Undeliverable("the bot isn't where it was ordered")
                view = result_row(job.id, in_answer=True)
                return await self._answers.show_video(job.id, text, partial(video_file, job, video), view)
            channel = self._channel(job)
            return (await self._send_video(job, channel, text, video, job.id, settings, pings=pings)).id

    async def send_video(self, job: Job, video: Path, clip: Clip | None = None) -> DirectMessage:
        """See `bot.worker.stages.Messenger`."""
        settings = await self._settings_of(job.user_id)
        text = with_clip(member_texts.sent_video(job, chosen=settings.direct), clip)
        with translated():
            channel = await self._direct_channel(job)
            sent = await self._send_video(job, channel, text, video, _direct_nonce(job), settings)
            return DirectMessage(channel.id, sent.id)

    async def send_link(self, job: Job, expires_at: datetime) -> DirectMessage:
        """See `bot.worker.stages.Messenger`."""
        settings = await self._settings_of(job.user_id)
        text = member_texts.linked_video(job, expires_at, chosen=settings.direct)
        if text is None:
            raise Undeliverable("the video's link can't be shown in a message")
        with translated():
            channel = await self._direct_channel(job)
            sent = await self._send_video(job, channel, text, None, _direct_nonce(job), settings)
            return DirectMessage(channel.id, sent.id)

    async def find_sent_video(self, job: Job) -> DirectMessage | None:
        """See `bot.worker.stages.Messenger`."""
        with translated():
            channel = await self._direct_channel(job)
            wanted = {_button_id(job)}
            found = await find_by_button(self._client, channel, wanted, since=job.created_at)
            return None if found is None else DirectMessage(channel.id, found)

    async def find_video(self, job: Job) -> int | None:
        """See `bot.worker.stages.Messenger`."""
        if not job.has_channel:
            return None if self._answers is None else await self._answers.find_video(job.id, _button_id(job))
        with translated():
            since = _search_begins(job)
            return await self._find(job, {ButtonKind.VIDEO}, since=since, likely_at=job.state_changed_at)

    async def remove_video(self, job: Job) -> None:
        """See `bot.worker.stages.Messenger`."""
        if not (job.has_channel or job.result_channel_id):
            if self._answers is not None:
                await self._answers.remove_video(job.id, _button_id(job))
            return
        if job.result_message_id:
            channel = self._client.get_partial_messageable(job.result_channel_id or job.channel_id)
            with translated(), unless_deleted():
                await channel.get_partial_message(job.result_message_id).delete()

    async def upload_limit_bytes(self, job: Job) -> int:
        """See `bot.worker.stages.Messenger`. A server's boosts raise it."""
        if not job.has_channel:
            return DEFAULT_BYTES
        limit_bytes = self._upload_limits.stated(job.channel_id)
        if limit_bytes is None and job.guild_id == OUTSIDE_SERVERS:
            limit_bytes = DEFAULT_BYTES
        if limit_bytes is None:
            with translated():
                guild = self._client.get_guild(job.guild_id) or await self._client.fetch_guild(job.guild_id)
            limit_bytes = max(guild.filesize_limit, DEFAULT_BYTES)
        return self._upload_limits.limit(job.channel_id, limit_bytes)

    def _channel(self, job: Job) -> discord.PartialMessageable:
        return channel_of(self._client, job)

    async def _direct_channel(self, job: Job) -> discord.DMChannel:
        return await self._client.create_dm(discord.Object(job.user_id))

    async def _send_video(
        self,
        job: Job,
        channel: _Channel,
        text: str,
        video: Path | None,
        nonce: str,
        settings: MemberSettings,
        *,
        pings: bool = True,
    ) -> discord.Message:
        try:
            with translated():
                return await channel.send(
                    text,
                    files=[] if video is None else [video_file(job, video)],
                    nonce=nonce,
                    view=result_row(job.id, in_server=not isinstance(channel, discord.DMChannel)),
                    allowed_mentions=_pings(job, settings) if pings else NO_PINGS,
                    silent=not settings.pings and isinstance(channel, discord.DMChannel),
                )
        except TooLargeToPost as error:
            size_bytes = 0 if video is None else (await asyncio.to_thread(video.stat)).st_size
            smaller_bytes = self._upload_limits.refuse(channel.id, size_bytes)
            raise TooLargeToPost(str(error), limit_bytes=smaller_bytes) from error

    async def _send_note(self, job: Job, channel: _Channel, pings: discord.AllowedMentions) -> None:
        occasion = _occasion(job)
        await channel.send(
            member_texts.failure(job),
            nonce=f"{job.id}f{occasion:x}"[-NONCE_MAX:],
            view=note_row(job, occasion),
            allowed_mentions=pings,
        )

    async def _find_note(self, job: Job, channel: _Channel) -> int | None:
        wanted = {job_custom_id(ButtonKind.NOTE, job.id)}
        known_id = None if isinstance(channel, discord.DMChannel) else _any_message_id(job)
        return await find_by_button(
            self._client,
            channel,
            wanted,
            since=job.state_changed_at,
            known_id=known_id,
            component_id=_occasion(job),
        )

    async def _find(
        self,
        job: Job,
        kinds: Collection[ButtonKind],
        *,
        since: datetime | discord.Object,
        likely_at: datetime | None = None,
    ) -> int | None:
        """The bot's own message, posted since then, that has a button of these kinds for this job."""
        wanted = {job_custom_id(kind, job.id) for kind in kinds}
        known_id, channel = _any_message_id(job), self._channel(job)
        return await find_by_button(
            self._client, channel, wanted, since=since, likely_at=likely_at, known_id=known_id
        )


def video_file(job: Job, video: Path) -> discord.File:
    """The video, called like the member's picture: a spoiler if that is one."""
    stem = re.sub(r"[^A-Za-z0-9._-]+", "_", PurePath(job.picture_name or "").stem).lstrip(".")[:_STEM_MAX]
    is_named = re.search("[A-Za-z0-9]", stem) is not None
    name = stem if is_named else f"zoetrope-{job.id}"
    return discord.File(video, filename=f"{name}.mp4", description=alt_texts.of_video(job))


def _any_message_id(job: Job) -> int:
    """Where no message is known, any id will do: Discord checks the permission before the message."""
    return job.status_message_id or job.channel_id


def _button_id(job: Job) -> str:
    """The button by which the video's message is known."""
    return job_custom_id(ButtonKind.VIDEO, job.id)


def _direct_nonce(job: Job) -> str:
    """Not the channel's nonce: Discord looks for one by its author, and may return a message that is gone."""
    return f"{job.id}-d"


def _occasion(job: Job) -> int:
    """Tells a job's failures from each other: one that was resumed may fail again, which its member is told too.

    Fits a component's id, 31 bits (source: Discord's documentation of components).
    """
    return int(job.state_changed_at.timestamp()) & 0x7FFFFFFF


def _search_begins(job: Job) -> datetime | discord.Object:
    """Where a search for the job's video begins: at its status card, by Discord's own clock, if that is known.

    An earlier delivery of a resumed job may have posted it, and the status card may be newer than that.
    """
    if not job.charged:
        return job.created_at
    if job.status_message_id is not None:
        return discord.Object(job.status_message_id)
    return min(job.submitted_at or job.state_changed_at, job.state_changed_at)


def _pings(job: Job, settings: MemberSettings) -> discord.AllowedMentions:
    """Pings only the requester, whatever else is in the text; nobody if they don't want that."""
    if not settings.pings:
        return NO_PINGS
    requester = discord.Object(job.user_id)
    return discord.AllowedMentions(everyone=False, roles=False, replied_user=False, users=[requester])


class DiscordNotificationSender:
    """Sends the notifier's messages. `client`: logged in; connected to the gateway or not."""

    def __init__(self, client: discord.Client) -> None:
        self._client = client

    async def send(self, channel_id: int, text: str, *, nonce: str) -> None:
        """See `bot.worker.notifier.NotificationSender`."""
        with translated():
            await self._channel(channel_id).send(
                text, nonce=nonce, allowed_mentions=NO_PINGS, suppress_embeds=True
            )

    async def already_sent(self, channel_id: int, text: str, *, since: datetime) -> bool:
        """See `bot.worker.notifier.NotificationSender`. Where the history can't be read, it counts as not sent."""
        with translated():
            async for message in own_messages(self._client, self._channel(channel_id), since=since):
                if message.content.strip() == text.strip():  # Discord trims what it takes
                    return True
        return False

    def _channel(self, channel_id: int) -> discord.PartialMessageable:
        return self._client.get_partial_messageable(channel_id)
