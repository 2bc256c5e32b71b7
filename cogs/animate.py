"""`/animate` and *Animate this image*: a picture and a prompt become a short video in the channel."""

from collections.abc import Iterator
from inspect import Parameter, Signature
from typing import Any

import discord
from discord import app_commands
from discord.app_commands import Choice, Range
from discord.ext import commands

from bot.chat.authorization import is_elsewhere, requester
from bot.chat.context import Interaction, ServiceBot, services_of
from bot.chat.messages import model_texts
from bot.chat.ordering import order
from bot.chat.permissions.channel_permissions import refuse_where_unpostable
from bot.chat.pictures import given_picture, pictures_in
from bot.chat.views.persistent_form import handle_submission
from bot.chat.views.picture_choice import (
    PictureForm,
    PictureSelect,
    picture_choice,
    show_picture_form,
)
from bot.domain.models import Catalog
from bot.domain.orders import SEED_MAX
from bot.domain.variations import VARIATIONS_MAX

_DESCRIPTIONS = {
    "prompt": "What should happen in the video",
    "image": "The picture your video starts from: JPEG, PNG, WEBP, HEIC and more, up to 25 MB",
    "link": "Instead of image: the link to a picture on Discord",
    "negative_prompt": "What shouldn't be in it",
    "model": "Default: the first one that this server allows",
    "resolution": "Default: as in /videos settings, else the best this server allows",
    "duration": "How long the video is; not every model makes every length",
    "seed": "A number that helps you get a similar video again",
    "prompt_extend": "Let the model add detail to your prompt (default: as in /videos settings)",
    "watermark": "Put a watermark in the corner (default: as in /videos settings)",
    "variations": "Make 2 to 4 different videos at once; each of them counts",
}


def animate_command(catalog: Catalog) -> app_commands.Command[Any, ..., None]:
    """The main command, with the options that the models have."""

    async def animate(
        interaction: Interaction, *, image: discord.Attachment | None, link: str | None, **options: Any
    ) -> None:
        await interaction.response.defer(ephemeral=True)
        await order(
            interaction,
            given_picture(services_of(interaction).discord_files, image, link),
            variations=options.pop("variations") or 1,
            duration_s=options.pop("duration", None),
            **options,
        )

    # discord.py makes a command's options of its callback's signature, and passes them by name.
    parameters = [Parameter("interaction", Parameter.POSITIONAL_OR_KEYWORD), *_options(catalog)]
    animate.__signature__ = Signature(parameters)  # type: ignore[attr-defined]  # a function takes any attribute
    command = app_commands.Command[Any, ..., None](
        name="animate", description=model_texts.command_description(catalog), callback=animate
    )
    names = {option.name for option in parameters[1:]}
    app_commands.describe(**{name: text for name, text in _DESCRIPTIONS.items() if name in names})(command)
    app_commands.choices(resolution=[Choice(name=one, value=one.value) for one in catalog.resolutions])(command)
    if "model" in names:
        models = [Choice(name=model_texts.choice(model), value=model.name) for model in catalog.models]
        app_commands.choices(model=models)(command)
    if "duration" in names:
        durations = [Choice(name=model_texts.seconds(each), value=each) for each in catalog.durations_s]
        app_commands.choices(duration=durations)(command)
    return app_commands.guild_only()(command)


def _options(catalog: Catalog) -> Iterator[Parameter]:
    def option(name: str, kind: Any, *default: None) -> Parameter:
        either = {"annotation": kind | None, "default": None} if default else {"annotation": kind}
        return Parameter(name, Parameter.KEYWORD_ONLY, **either)

    yield option("prompt", Range[str, 1, catalog.prompt_max])
    yield option("image", discord.Attachment, None)
    yield option("link", Range[str, 1, 2000], None)
    yield option("negative_prompt", Range[str, 1, catalog.negative_prompt_max], None)
    if catalog.has_choice:
        yield option("model", str, None)
    yield option("resolution", str, None)
    if catalog.has_durations:
        yield option("duration", int, None)
    yield option("seed", Range[int, 0, SEED_MAX], None)
    yield option("prompt_extend", bool, None)
    yield option("watermark", bool, None)
    yield option("variations", Range[int, 2, VARIATIONS_MAX], None)


class AnimateForms(commands.Cog):
    """Takes the orders of forms."""

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
    bot.tree.add_command(animate_command(bot.catalog), override=True)
    await bot.add_cog(AnimateForms())
