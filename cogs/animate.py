"""`/animate` and *Animate this image*: a picture and a prompt become a short video in the channel."""

from typing import Literal

import discord
from discord import app_commands
from discord.app_commands import Range
from discord.ext import commands

from bot.chat.authorization import is_elsewhere, requester
from bot.chat.context import Interaction, ServiceBot, services_of
from bot.chat.ordering import order
from bot.chat.permissions.channel_permissions import refuse_where_unpostable
from bot.chat.pictures import given_picture, pictures_in
from bot.chat.views.persistent_form import handle_submission
from bot.chat.views.picture_choice import PictureForm, PictureSelect, picture_choice, show_picture_form
from bot.domain.variations import VARIATIONS_MAX


class Animate(commands.Cog):
    """The main command, and the one on a message."""

    @app_commands.command(description="Turn a picture and a prompt into a 5-second video")
    @app_commands.guild_only()
    @app_commands.describe(
        prompt="What should happen in the video",
        image="The picture your video starts from: JPEG, PNG, WEBP, HEIC and more, up to 25 MB",
        link="Instead of image: the link to a picture on Discord",
        negative_prompt="What shouldn't be in it",
        resolution="Default: as in /videos settings, else the best this server allows",
        seed="A number that helps you get a similar video again",
        prompt_extend="Let the model add detail to your prompt (default: as in /videos settings)",
        watermark="Put a watermark in the corner (default: as in /videos settings)",
        variations="Make 2 to 4 different videos at once; each of them counts",
    )
    async def animate(
        self,
        interaction: Interaction,
        prompt: Range[str, 1, 800],
        image: discord.Attachment | None = None,
        link: Range[str, 1, 2000] | None = None,
        negative_prompt: Range[str, 1, 500] | None = None,
        resolution: Literal["480P", "720P"] | None = None,
        seed: Range[int, 0, 2_147_483_647] | None = None,
        prompt_extend: bool | None = None,  # noqa: FBT001 - a slash command's options
        watermark: bool | None = None,  # noqa: FBT001
        variations: Range[int, 2, VARIATIONS_MAX] | None = None,
    ) -> None:
        """Takes the order and answers privately; the rest happens in the channel."""
        await interaction.response.defer(ephemeral=True)
        await order(
            interaction,
            given_picture(services_of(interaction).discord_files, image, link),
            prompt=prompt,
            negative_prompt=negative_prompt,
            resolution=resolution,
            seed=seed,
            prompt_extend=prompt_extend,
            watermark=watermark,
            variations=variations or 1,
        )

    @commands.Cog.listener("on_interaction")
    async def take_form(self, interaction: Interaction) -> None:
        """Takes the order of a form; everything else is handled elsewhere."""
        await handle_submission(interaction, (PictureForm,))


@app_commands.guild_only()
async def animate_message(interaction: Interaction, message: discord.Message) -> None:
    """Asks for the prompt, and before that for the picture if the message has several."""
    requester(interaction)
    if not is_elsewhere(interaction):
        refuse_where_unpostable(interaction)
    services = services_of(interaction)
    pictures = pictures_in(message, services.discord_files)
    key = services.pictures.offer(interaction.user.id, pictures)
    if len(pictures) == 1:
        await show_picture_form(interaction, key, 0, pictures[0])
        return
    await interaction.response.defer(ephemeral=True)
    await interaction.edit_original_response(view=picture_choice(key, pictures))


async def setup(bot: ServiceBot) -> None:
    """Called by discord.py when the extension is loaded."""
    bot.add_dynamic_items(PictureSelect)
    menu = app_commands.ContextMenu(name="Animate this image", callback=animate_message)
    bot.tree.add_command(menu, override=True)
    await bot.add_cog(Animate())
