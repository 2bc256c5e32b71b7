"""Sends notifications through Discord's REST API."""

from datetime import datetime

import discord

from bot.chat.posting import NO_PINGS, own_messages, translated


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
