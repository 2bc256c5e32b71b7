"""`/animate`: a picture and a prompt become a short video in the channel."""

from typing import Literal

import discord
from discord import app_commands
from discord.app_commands import Range
from discord.ext import commands

from bot.chat.messages import member_texts
from bot.chat.permissions.channel_checks import read_picture, refuse_where_unpostable, requester
from bot.chat.permissions.command_permissions import may_manage
from bot.chat.transport.client import ZoetropeBot


class Animate(commands.Cog):
    """The main command."""

    @app_commands.command(description="Turn a picture and a prompt into a 5-second video")
    @app_commands.guild_only()
    @app_commands.describe(
        image="The picture your video starts from: JPEG, PNG, WEBP, HEIC and more, up to 25 MB",
        prompt="What should happen in the video",
        negative_prompt="What shouldn't be in it",
        resolution="Default: the best this server allows",
        seed="A number that helps you get a similar video again",
        prompt_extend="Let the model add detail to your prompt (default: on)",
        watermark="Put a watermark in the corner (default: off)",
    )
    async def animate(
        self,
        interaction: discord.Interaction[ZoetropeBot],
        image: discord.Attachment,
        prompt: Range[str, 1, 800],
        negative_prompt: Range[str, 1, 500] | None = None,
        resolution: Literal["480P", "720P"] | None = None,
        seed: Range[int, 0, 2_147_483_647] | None = None,
        prompt_extend: bool = True,  # noqa: FBT001, FBT002 - a slash command's options
        watermark: bool = False,  # noqa: FBT001, FBT002
    ) -> None:
        """Takes the order and answers privately; the rest happens in the channel."""
        await interaction.response.defer(ephemeral=True)
        refuse_where_unpostable(interaction)
        with interaction.client.pace.picture(interaction.user.id):
            result = await interaction.client.service.accept(
                requester(interaction, admin=await may_manage(interaction, fresh=False)),
                lambda: read_picture(image),
                prompt=prompt,
                negative_prompt=negative_prompt,
                resolution=resolution,
                seed=seed,
                prompt_extend=prompt_extend,
                watermark=watermark,
            )
        await interaction.edit_original_response(content=member_texts.accepted(result))


async def setup(bot: ZoetropeBot) -> None:
    """Called by discord.py when the extension is loaded."""
    await bot.add_cog(Animate())
