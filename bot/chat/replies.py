"""Private replies to interactions: about errors, and those that may be longer than a message."""

import io
import logging
import secrets
from dataclasses import replace
from typing import Any

import discord
from discord import app_commands

from bot.chat.messages import member_texts
from bot.chat.messages.markdown import CONTENT_MAX, discord_length, joined_within
from bot.chat.messages.reason_texts import refused_order, text_of
from bot.chat.messages.refusal_texts import OutsideServers
from bot.chat.posting import DISCORD_FAILED
from bot.domain.errors import OrderRefused, PictureRefused, QuotaRefused, Reason, RuleRefused, UserError
from bot.domain.policy import ChannelNotAllowed
from bot.domain.quotas import LimitReached

log = logging.getLogger(__name__)

_REFUSED_ORDERS = (OrderRefused, PictureRefused, QuotaRefused, RuleRefused)
"""What is raised only while a video is ordered."""


async def answer_error(interaction: discord.Interaction[Any], error: Exception) -> None:
    """Answers a failed interaction privately: with the text of a `UserError`, else with a short line."""
    cause = error.original if isinstance(error, app_commands.CommandInvokeError) else error
    if isinstance(cause, UserError):
        reason = as_shown(interaction, cause.reason)
        text = refused_order(reason) if isinstance(cause, _REFUSED_ORDERS) else text_of(reason)
    elif isinstance(cause, app_commands.CheckFailure | app_commands.TransformerError):
        text = str(cause)
    elif isinstance(cause, DISCORD_FAILED):
        # The work itself may be done. Never suggest repeating it: it could be paid for twice.
        log.warning("a reply to an interaction failed: %s", cause)
        text = member_texts.UNSURE
    else:
        reference = secrets.token_hex(4)
        log.error("interaction failed, reference %s", reference, exc_info=cause)
        text = member_texts.BROKEN.format(reference=reference)
    try:
        if not interaction.response.is_done():
            await interaction.response.send_message(text, ephemeral=True)
        elif _keeps_message(interaction):
            await interaction.followup.send(text, ephemeral=True)
        else:
            await interaction.edit_original_response(content=text, view=None)
    except DISCORD_FAILED as failed:
        log.info("an error reply to an interaction couldn't be sent: %s", failed)


def _keeps_message(interaction: discord.Interaction[Any]) -> bool:
    """Whether the answer would replace what must stay: the message that was clicked, for everybody who sees it.

    A message of components can't become one with a text either.
    """
    replaces = interaction.response.type is discord.InteractionResponseType.deferred_message_update
    if not replaces or interaction.message is None:
        return False
    flags = interaction.message.flags
    return flags.components_v2 or not flags.ephemeral


def as_shown(interaction: discord.Interaction[Any], reason: Reason) -> Reason:
    """The reason as this member may read it, where they are."""
    reason = without_hidden_channels(interaction, reason)
    return OutsideServers(reason) if _is_outside(interaction, reason) else reason


def _is_outside(interaction: discord.Interaction[Any], reason: Reason) -> bool:
    """Whether the refusal isn't a server's: in direct messages, or where the bot isn't."""
    if interaction.guild_id is None:
        return True
    return isinstance(reason, LimitReached) and interaction.client.get_guild(interaction.guild_id) is None


def without_hidden_channels(interaction: discord.Interaction[Any], reason: Reason) -> Reason:
    """The same reason, naming only channels that the member can see: others would be no help, and are private."""
    if not isinstance(reason, ChannelNotAllowed):
        return reason
    guild, member = interaction.guild, interaction.user
    if guild is None or not isinstance(member, discord.Member):
        return replace(reason, allowed_ids=())
    channels = ((id_, guild.get_channel_or_thread(id_)) for id_ in reason.allowed_ids)
    visible = (id_ for id_, channel in channels if channel and channel.permissions_for(member).view_channel)
    return replace(reason, allowed_ids=tuple(visible))


async def answer_long(
    interaction: discord.Interaction[Any], text: str, *, filename: str, whole: str | None = None
) -> None:
    """Answers a deferred interaction with `text`, or with as many of its lines as fit and a file.

    whole: the content of the file, if that isn't `text`.
    """
    if discord_length(text) <= CONTENT_MAX:
        await interaction.edit_original_response(content=text)
        return
    head = joined_within(text.split("\n"), CONTENT_MAX, rest="… the rest is in the file.")
    data = io.BytesIO((whole or text).encode())
    await interaction.edit_original_response(content=head, attachments=[discord.File(data, filename)])
