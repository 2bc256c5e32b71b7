"""The one place where what went wrong becomes a reply."""

import logging
import secrets
from typing import Any

import discord
from discord import app_commands

from bot.chat.messages import member_texts
from bot.chat.messages.reason_texts import text_of_error
from bot.chat.transport.discord_errors import DISCORD_FAILED
from bot.domain.errors import UserError

log = logging.getLogger(__name__)


async def answer_error(interaction: discord.Interaction[Any], error: Exception) -> None:
    """Answers a failed interaction, ephemeral: the text of a `UserError`, else a short honest line."""
    cause = error.original if isinstance(error, app_commands.CommandInvokeError) else error
    if isinstance(cause, UserError):
        text = text_of_error(cause)
    elif isinstance(cause, app_commands.CheckFailure | app_commands.TransformerError):
        text = str(cause)
    elif isinstance(cause, DISCORD_FAILED):
        # The work itself may well be done: never ask for it again, it could be paid twice.
        log.warning("an answer to an interaction failed: %s", cause)
        text = member_texts.UNSURE
    else:
        reference = secrets.token_hex(4)
        log.error("interaction failed, reference %s", reference, exc_info=cause)
        text = member_texts.BROKEN.format(reference=reference)
    try:
        if interaction.response.is_done():
            await interaction.edit_original_response(content=text, view=None)
        else:
            await interaction.response.send_message(text, ephemeral=True)
    except DISCORD_FAILED as failed:
        log.info("the answer to an interaction is lost: %s", failed)
