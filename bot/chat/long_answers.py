"""Private answers that may be longer than a message: then the whole of it comes as a text file."""

import io
from typing import Any

import discord

from bot.chat.messages.markdown import room
from bot.chat.messages.member_texts import CONTENT_MAX


async def answer(
    interaction: discord.Interaction[Any], text: str, *, filename: str, whole: str | None = None
) -> None:
    """Answers a deferred interaction with `text`, or with as many of its lines as fit and a file.

    whole: what the file holds, where that is not `text`. Raises: what discord.py raises.
    """
    if room(text) <= CONTENT_MAX:
        await interaction.edit_original_response(content=text)
        return
    note = "\n… the rest is in the file."
    head = ""
    for line in text.splitlines(keepends=True):
        if room(head) + room(line) + room(note) > CONTENT_MAX:
            break
        head += line
    data = io.BytesIO((whole or text).encode())
    await interaction.edit_original_response(
        content=f"{head.rstrip()}{note}", attachments=[discord.File(data, filename)]
    )
