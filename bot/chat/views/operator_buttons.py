"""The button that sends an announcement. The text is in the question above it: nothing is held in memory."""

import discord

from bot.chat.authorization import operator_of
from bot.chat.context import Interaction
from bot.chat.messages import operator_texts as texts
from bot.chat.messages.reason_texts import Said
from bot.chat.views.persistent_button import PersistentButton, row_of
from bot.domain.errors import NotPossible


class AnnounceButton(PersistentButton, template="zoetrope-operator:announce"):
    """Confirms that what is in the message's embed goes out."""

    def __init__(self) -> None:
        super().__init__("Send it", "zoetrope-operator:announce", discord.ButtonStyle.danger)

    async def act(self, interaction: Interaction) -> None:
        """Sends it, if the one who clicks is still an operator."""
        await interaction.response.defer()
        service, operator = await operator_of(interaction)
        message = interaction.message
        text = message.embeds[0].description if message is not None and message.embeds else None
        if message is None or not text:
            raise NotPossible(Said("There's nothing to send here. Use `/operator announce` again."))
        channels = system_channels(interaction.client)
        result = await service.announce(operator, text, channels, key=str(message.id))
        answer = texts.announced(result, names(interaction.client))
        await interaction.edit_original_response(content=answer, view=None)


def announcement(text: str) -> tuple[discord.Embed, discord.ui.View]:
    """The text as it will be sent, and the button that sends it."""
    return discord.Embed(description=text), row_of(AnnounceButton())


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
