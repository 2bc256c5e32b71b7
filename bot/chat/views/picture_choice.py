"""Orders a video from a message's picture: a choice of pictures if there are several, then a form for the prompt.

Custom ids hold the key of what was offered (`bot.chat.offered_pictures`): `zoetrope:pick:<key>` of the choice,
`zoetrope:animate:<key>:<place>` of the form.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Self

import discord
from discord import ui

from bot.chat.authorization import manages, refuse_where_disabled, requester
from bot.chat.context import Interaction, services_of
from bot.chat.messages import model_texts
from bot.chat.messages import picture_choice_texts as texts
from bot.chat.messages.markdown import fitting, one_line
from bot.chat.ordering import order
from bot.chat.pictures import Picture
from bot.chat.quotes import quote_for_form
from bot.chat.views.persistent_button import answered
from bot.chat.views.persistent_form import PersistentForm, show_form
from bot.domain.jobs import SPOILER
from bot.domain.models import DEFAULT_CATALOG, Catalog
from bot.domain.policy import Requester

_PROMPT, _RESOLUTION, _MODEL, _DURATION = "prompt", "resolution", "model", "duration"
_TITLE_MAX = 45
_NAME_MAX = 100
_ALT_TEXT_MAX = 256
"""Discord's limits: of a form's title, an option's label, a gallery item's description."""


class PictureSelect(ui.DynamicItem[ui.Select[Any]], template=r"zoetrope:pick:(?P<key>[A-Za-z0-9_-]{1,20})"):
    """The choice of one of several pictures."""

    def __init__(self, key: str, pictures: Sequence[Picture] = ()) -> None:
        self.key = key
        options = [
            discord.SelectOption(label=_name(picture, place, _NAME_MAX), value=str(place))
            for place, picture in enumerate(pictures)
        ]
        super().__init__(ui.Select(custom_id=f"zoetrope:pick:{key}", placeholder=texts.CHOOSE, options=options))

    @classmethod
    async def from_custom_id(
        cls, interaction: discord.Interaction[Any], item: ui.Item[Any], match: re.Match[str], /
    ) -> Self:
        """The choice that was made."""
        del interaction, item
        return cls(match["key"])

    async def callback(self, interaction: discord.Interaction[Any]) -> None:
        """Called by discord.py once a picture is chosen."""
        await answered(interaction, self._open_form, direct_too=True)

    async def _open_form(self, interaction: Interaction) -> None:
        data: Any = interaction.data or {}
        chosen = data.get("values")
        value = chosen[0] if isinstance(chosen, list) and chosen else ""
        place = int(value) if isinstance(value, str) and value.isascii() and value.isdecimal() else -1
        picture = services_of(interaction).pictures.find(self.key, place, interaction.user.id)
        await show_picture_form(interaction, self.key, place, picture)


def picture_choice(key: str, pictures: Sequence[Picture]) -> ui.LayoutView:
    """The pictures, and the choice of one of them. It holds nothing in memory."""
    view = ui.LayoutView(timeout=None)
    view.add_item(ui.TextDisplay(texts.QUESTION))
    shown = [picture for picture in pictures if picture.is_displayable]
    if shown:
        gallery = ui.MediaGallery[ui.LayoutView]()
        for picture in shown:
            alt_text = picture.labels.alt_text or ""
            gallery.add_item(
                media=picture.url, description=alt_text[:_ALT_TEXT_MAX] or None, spoiler=_is_spoiler(picture)
            )
        view.add_item(gallery)
    view.add_item(ui.ActionRow(PictureSelect(key, pictures)))
    return view


async def show_picture_form(interaction: Interaction, key: str, place: int, picture: Picture) -> None:
    """Shows the form for the rest of an order, with what it takes if that is found out in time."""
    quote = await quote_for_form(interaction, _buyer(interaction), order=None)
    await show_form(interaction, picture_form(key, place, picture, interaction.client.catalog), quote)


async def _buyer(interaction: Interaction) -> Requester:
    return requester(interaction, admin=await manages(interaction))


def picture_form(key: str, place: int, picture: Picture, catalog: Catalog = DEFAULT_CATALOG) -> ui.Modal:
    """The form for the rest of an order. What it is answered with comes to `PictureForm`."""
    title = fitting(texts.form_title(_name(picture, place, _NAME_MAX)), _TITLE_MAX, str)
    form = ui.Modal(title=title, custom_id=f"zoetrope:animate:{key}:{place}")
    prompt = ui.TextInput[ui.Modal](
        custom_id=_PROMPT,
        style=discord.TextStyle.paragraph,
        max_length=catalog.prompt_max,
        placeholder=texts.PROMPT_EXAMPLE,
    )
    form.add_item(ui.Label(text=texts.PROMPT_LABEL, component=prompt))
    if catalog.has_choice:
        models = {model.name: model_texts.choice(model) for model in catalog.models}
        form.add_item(_select(_MODEL, model_texts.MODEL_LABEL, model_texts.MODEL_DEFAULT, models))
    resolutions = {one.value: one.value for one in reversed(catalog.resolutions)}
    form.add_item(_select(_RESOLUTION, texts.RESOLUTION_LABEL, texts.RESOLUTION_DEFAULT, resolutions))
    if catalog.has_durations:
        durations = {str(each): model_texts.seconds(each) for each in catalog.durations_s}
        form.add_item(_select(_DURATION, model_texts.DURATION_LABEL, model_texts.DURATION_DEFAULT, durations))
    return form


def _select(custom_id: str, label: str, if_none: str, names: Mapping[str, str]) -> ui.Label[ui.Modal]:
    """A choice that may be left open. names: what each value is called."""
    select = ui.Select[ui.Modal](
        custom_id=custom_id,
        required=False,
        min_values=0,
        placeholder=if_none,
        options=[discord.SelectOption(label=name, value=value) for value, name in names.items()],
    )
    return ui.Label(text=label, component=select)


class PictureForm(PersistentForm):
    """Takes what was filled in, and orders the video."""

    template = re.compile(r"zoetrope:animate:(?P<key>[A-Za-z0-9_-]{1,20}):(?P<place>[0-9]{1,2})")
    is_under_own_message = False

    def __init__(self, key: str, place: str) -> None:
        self._key, self._place = key, int(place)

    async def act(self, interaction: Interaction, fields: Mapping[str, str]) -> None:
        """Orders a video of the picture."""
        picture = services_of(interaction).pictures.find(self._key, self._place, interaction.user.id)
        await interaction.response.defer(ephemeral=True, thinking=True)
        await refuse_where_disabled(interaction, requester(interaction))
        duration = fields.get(_DURATION, "")
        await order(
            interaction,
            picture,
            prompt=fields.get(_PROMPT, ""),
            resolution=fields.get(_RESOLUTION),
            model=fields.get(_MODEL),
            duration_s=int(duration) if duration.isascii() and duration.isdecimal() else None,
        )


def _is_spoiler(picture: Picture) -> bool:
    return (picture.labels.name or "").startswith(SPOILER)


def _name(picture: Picture, place: int, maximum: int) -> str:
    """What a picture is called, in plain text."""
    name = one_line((picture.labels.name or "").removeprefix(SPOILER)) or texts.unnamed(place)
    return fitting(name, maximum, str)
