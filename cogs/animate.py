"""`/animate`: a picture and a prompt become a short video in the channel."""

from typing import Literal

import discord
from discord import app_commands
from discord.app_commands import Range
from discord.ext import commands

from bot.chat.authorization import may_manage, requester
from bot.chat.context import Interaction, ServiceBot, services_of
from bot.chat.messages import member_texts
from bot.chat.permissions.channel_permissions import refuse_where_unpostable
from bot.chat.permissions.option_validation import read_picture
from bot.domain.orders import picture_labels
from bot.domain.variations import VARIATIONS_MAX


class Animate(commands.Cog):
    """The main command."""

    @app_commands.command(description="Turn a picture and a prompt into a 5-second video")
    @app_commands.guild_only()
    @app_commands.describe(
        image="The picture your video starts from: JPEG, PNG, WEBP, HEIC and more, up to 25 MB",
        prompt="What should happen in the video",
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
        image: discord.Attachment,
        prompt: Range[str, 1, 800],
        negative_prompt: Range[str, 1, 500] | None = None,
        resolution: Literal["480P", "720P"] | None = None,
        seed: Range[int, 0, 2_147_483_647] | None = None,
        prompt_extend: bool | None = None,  # noqa: FBT001 - a slash command's options
        watermark: bool | None = None,  # noqa: FBT001
        variations: Range[int, 2, VARIATIONS_MAX] | None = None,
    ) -> None:
        """Takes the order and answers privately; the rest happens in the channel."""
        await interaction.response.defer(ephemeral=True)
        refuse_where_unpostable(interaction)
        services = services_of(interaction)
        with services.limiter.picture(interaction.user.id):
            result = await services.jobs.accept(
                requester(interaction, admin=await may_manage(interaction, fresh=False)),
                lambda: read_picture(image),
                picture=picture_labels(image.filename, image.description, spoiler=image.flags.spoiler),
                variations=1 if variations is None else variations,
                prompt=prompt,
                negative_prompt=negative_prompt,
                resolution=resolution,
                seed=seed,
                prompt_extend=prompt_extend,
                watermark=watermark,
            )
        services.upload_limits.state(result.job.channel_id, interaction.filesize_limit)
        async with services.replies.answering(result.job.id, interaction, [job.id for job in result.others]):
            await interaction.edit_original_response(content=member_texts.accepted(result))


async def setup(bot: ServiceBot) -> None:
    """Called by discord.py when the extension is loaded."""
    await bot.add_cog(Animate())
