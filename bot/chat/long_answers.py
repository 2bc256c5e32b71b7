"""Private answers that may be longer than a message: then the whole of it comes as a text file."""

import io
from typing import Any

import discord

from bot.chat.messages.markdown import CONTENT_MAX, joined_within, room


async def answer(
    interaction: discord.Interaction[Any], text: str, *, filename: str, whole: str | None = None
) -> None:
    """Answers a deferred interaction with `text`, or with as many of its lines as fit and a file.

    whole: what the file holds, where that is not `text`. Raises: what discord.py raises.
    """
    if room(text) <= CONTENT_MAX:
        await interaction.edit_original_response(content=text)
        return
    head = joined_within(text.split("\n"), CONTENT_MAX, rest="… the rest is in the file.")
    data = io.BytesIO((whole or text).encode())
    await interaction.edit_original_response(content=head, attachments=[discord.File(data, filename)])
