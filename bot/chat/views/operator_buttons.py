"""The button that sends an announcement. The text is in the message above it; nothing is kept in memory."""

import discord

from bot.chat.authorization import operator_of
from bot.chat.context import Interaction, services_of
from bot.chat.messages import operator_texts as texts
from bot.chat.messages.reason_texts import Said
from bot.chat.messages.server_names import OUTSIDE
from bot.chat.views.persistent_button import PersistentButton, row_of
from bot.domain.errors import NotPossible
from bot.domain.guilds import OUTSIDE_SERVERS


class AnnounceButton(PersistentButton, template="zoetrope-operator:announce"):
    """Confirms that the text in the message's embed is sent."""

    def __init__(self) -> None:
        super().__init__("Send it", "zoetrope-operator:announce", discord.ButtonStyle.danger)

    async def act(self, interaction: Interaction) -> None:
        """Sends it, if the person who clicks is still an operator."""
        await interaction.response.defer()
        service, operator = await operator_of(interaction)
        message = interaction.message
        text = message.embeds[0].description if message is not None and message.embeds else None
        if message is None or not text:
            raise NotPossible(Said("There's no announcement here to send. Use `/operator announce` again."))
        result = await service.announce(operator, text, key=str(message.id))
        answer = texts.announced(result, await names(interaction))
        await interaction.edit_original_response(content=answer, view=None)


def announcement(text: str) -> tuple[discord.Embed, discord.ui.View]:
    """The text as it will be sent, and the button that sends it."""
    return discord.Embed(description=text), row_of(AnnounceButton())


async def names(interaction: Interaction) -> dict[int, str]:
    """The names of the bot's servers by id, and what stands for them where direct messages are taken as one.

    For the operator: empty for anybody else.
    """
    services = services_of(interaction)
    outside = {OUTSIDE_SERVERS: OUTSIDE} if services.direct_orders else {}
    return outside if services.operator is None else outside | await services.operator.server_names()
