"""The button that sends an announcement. The text stands in the question above it: nothing is held in memory."""

import re
from typing import TYPE_CHECKING, Any, Self

import discord

from bot.chat.messages import operator_texts as texts
from bot.chat.messages.reason_texts import Said
from bot.chat.permissions.operator_permissions import desk_of, operator_of
from bot.chat.views.button_errors import answering
from bot.domain.errors import NotPossible

if TYPE_CHECKING:
    from bot.chat.transport.client import ZoetropeBot


class AnnounceButton(discord.ui.DynamicItem[discord.ui.Button[Any]], template="zoetrope-operator:announce"):
    """Sends what stands in the message's embed. It works after a restart, too."""

    def __init__(self) -> None:
        style = discord.ButtonStyle.danger
        super().__init__(discord.ui.Button(label="Send it", style=style, custom_id="zoetrope-operator:announce"))

    @classmethod
    async def from_custom_id(
        cls, interaction: discord.Interaction[Any], item: discord.ui.Item[Any], match: re.Match[str], /
    ) -> Self:
        """The button that was clicked."""
        del interaction, item, match
        return cls()

    @answering
    async def callback(self, interaction: discord.Interaction["ZoetropeBot"]) -> None:
        """Sends it, if the one who clicks is still an operator."""
        await interaction.response.defer()
        await _send(interaction)


async def _send(interaction: discord.Interaction["ZoetropeBot"]) -> None:
    operator, desk = await operator_of(interaction), desk_of(interaction)
    message = interaction.message
    text = message.embeds[0].description if message is not None and message.embeds else None
    if message is None or not text:
        raise NotPossible(Said("There's nothing to send here. Use `/operator announce` again."))
    channels = system_channels(interaction.client)
    result = await desk.announce(operator, text, channels, key=str(message.id))
    answer = texts.announced(result, names(interaction.client))
    await interaction.edit_original_response(content=answer, view=None)


def announcement(text: str) -> tuple[discord.Embed, discord.ui.View]:
    """The text as it will be sent, and the button that sends it."""
    row = discord.ui.View(timeout=None)
    row.add_item(AnnounceButton())
    return discord.Embed(description=text), row


def names(client: discord.Client) -> dict[int, str]:
    """The names of the servers where the bot is."""
    return {guild.id: guild.name for guild in client.guilds}


def system_channels(client: discord.Client) -> dict[int, int | None]:
    """For each server where the bot is, its system channel, if the bot may post there."""
    return {guild.id: _system_channel(guild) for guild in client.guilds}


def _system_channel(guild: discord.Guild) -> int | None:
    channel = guild.system_channel
    if channel is None:
        return None
    may = channel.permissions_for(guild.me)
    return channel.id if may.view_channel and may.send_messages else None
