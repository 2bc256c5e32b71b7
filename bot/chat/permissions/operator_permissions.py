"""Who is the operator: certain users in one certain server, and nobody else anywhere.

Asked before each `/operator` command and autocomplete, and again at each click.
"""

import logging
from typing import TYPE_CHECKING, Any

import discord

from bot.chat.messages.reason_texts import Said
from bot.chat.posting import DISCORD_FAILED
from bot.domain.errors import NotPossible
from bot.services.operator.audit import Operator
from bot.services.operator.service import OperatorService

if TYPE_CHECKING:
    from bot.chat.transport.client import ZoetropeBot

log = logging.getLogger(__name__)

OPERATOR_COMMAND = "operator"
"""The name of the command that all the operator's commands are under."""


async def operator_of(interaction: discord.Interaction[Any]) -> Operator:
    """The operator who acts. Raises: NotPossible for anybody else, and for the operator in another server."""
    desk_of(interaction)
    return Operator(interaction.user.id)


def desk_of(interaction: discord.Interaction[Any]) -> OperatorService:
    """What the operator may ask of the machine, for an operator only. Raises: NotPossible, as above."""
    desk: OperatorService | None = interaction.client.operator
    if desk is None or interaction.guild_id != desk.guild_id or interaction.user.id not in desk.user_ids:
        raise NotPossible(Said("That's for the bot's operator, in their own server."))
    return desk


async def offer_to_operator(bot: "ZoetropeBot") -> None:
    """Tells Discord about `/operator`, for the operator's server alone. Without it, the bot works all the same."""
    if bot.operator is None:
        return
    try:
        await bot.tree.sync(guild=discord.Object(bot.operator.guild_id))
    except (discord.Forbidden, discord.NotFound):
        log.error(
            "`/operator` is not offered: the bot is not in the server %d of OPERATOR_GUILD_ID. Invite it there, "
            "then start it again.",
            bot.operator.guild_id,
        )
    except DISCORD_FAILED as error:
        log.warning("`/operator` could not be offered, start again to have it: %s", error)
