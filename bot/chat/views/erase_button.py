"""The button that deletes a member's data. All it knows stands in its custom id, so it works after a restart.

The custom id is `zoetrope:erase:<user id>`, and nobody else's click does anything.
"""

import re
from typing import TYPE_CHECKING, Any, Self

import discord

from bot.chat.error_replies import answer_error
from bot.chat.messages import privacy_texts
from bot.chat.messages.reason_texts import Said
from bot.chat.views.button_errors import answering
from bot.domain.errors import NotPossible

if TYPE_CHECKING:
    from bot.chat.transport.client import ZoetropeBot


class EraseButton(
    discord.ui.DynamicItem[discord.ui.Button[Any]], template=r"zoetrope:erase:(?P<user>[0-9]{1,20})"
):
    """Says yes to the question whether a member's data is to be deleted."""

    def __init__(self, user_id: int) -> None:
        super().__init__(
            discord.ui.Button(
                label="Delete my data", style=discord.ButtonStyle.danger, custom_id=f"zoetrope:erase:{user_id}"
            )
        )
        self.user_id = user_id

    @classmethod
    async def from_custom_id(
        cls, interaction: discord.Interaction[Any], item: discord.ui.Item[Any], match: re.Match[str], /
    ) -> Self:
        """The button that was clicked."""
        del interaction, item
        return cls(int(match["user"]))

    @answering
    async def callback(self, interaction: discord.Interaction["ZoetropeBot"]) -> None:
        """Deletes, if it is the member's own click; answers in place of the question."""
        theirs = interaction.user.id == self.user_id
        await interaction.response.defer(ephemeral=True, thinking=not theirs)
        if not theirs:
            await answer_error(interaction, NotPossible(Said(privacy_texts.NOT_YOURS)))
            return
        result = await interaction.client.privacy.erase(self.user_id)
        await interaction.edit_original_response(content=privacy_texts.erased(result), view=None)


def erase_view(user_id: int) -> discord.ui.View:
    """The one button under the question."""
    row = discord.ui.View(timeout=None)
    row.add_item(EraseButton(user_id))
    return row
