"""Reads videos that the bot has posted, for those that go on from them."""

import asyncio
from pathlib import Path

import discord

from bot.chat.posting import UNKNOWN_MESSAGE, translated
from bot.domain.errors import DeliveryDelayed, Undeliverable
from bot.domain.jobs import Job

_FETCH_S = 60.0
_MAX_BYTES = 100 << 20
"""The largest file that a boosted server takes (source: Discord's help, File Attachments FAQ)."""


class DiscordVideos:
    """The videos in the bot's messages. `client`: logged in; connected to the gateway or not."""

    def __init__(self, client: discord.Client) -> None:
        self._client = client
        self._turns = asyncio.Semaphore(1)  # discord.py holds a whole file in memory

    async def fetch(self, job: Job, to: Path) -> bool:
        """See `bot.providers.delivered_videos.PostedVideos`."""
        assert job.result_message_id is not None  # noqa: S101 - of a delivered job
        channel = self._client.get_partial_messageable(job.result_channel_id or job.channel_id)
        with translated():
            async with asyncio.timeout(_FETCH_S), self._turns:
                try:
                    message = await channel.fetch_message(job.result_message_id)
                except discord.NotFound as error:
                    if error.code != UNKNOWN_MESSAGE:
                        raise
                    raise Undeliverable("its message was deleted") from error
                video = next((one for one in message.attachments if one.filename.endswith(".mp4")), None)
                if video is None or video.size > _MAX_BYTES:
                    return False
                data = await video.read()
            if len(data) != video.size:
                raise DeliveryDelayed("the file isn't whole")  # or it is a proxy's page
            await asyncio.to_thread(to.write_bytes, data)
        return True
