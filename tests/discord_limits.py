"""What Discord takes of a message, a form and a file: its documented limits, checked on what discord.py sends.

SimCord checks the structure and most limits. It counts code points, where Discord's clients count UTF-16 units:
here, texts are counted by the stricter of the two. And it overlooks what a form's fields are filled with.

Sources: Discord's documentation of components, of Create Message, of embeds and of application commands.
"""

import re
from typing import Any

import discord
from simcord.components import (
    COMPONENTS_V2_FLAG,
    validate_components,
    validate_embeds,
    validate_modal,
    walk_components,
)

from bot.chat.messages.markdown import discord_length

CONTENT_MAX = 2000
V2_TEXT_MAX = 4000
TITLE_MAX = 45
ENTERED_MAX = 4000
FILE_NAME_MAX = 260
ALT_TEXT_MAX = 1024
EMBED_TEXT_MAX = 6000

BUTTON, SELECT, TEXT_INPUT, TEXT_DISPLAY, THUMBNAIL, GALLERY, LABEL = 2, 3, 4, 10, 11, 12, 18

TEXT_MAX = {
    (BUTTON, "label"): 80,
    (BUTTON, "custom_id"): 100,
    (BUTTON, "url"): 512,
    (SELECT, "placeholder"): 150,
    (SELECT, "custom_id"): 100,
    (TEXT_INPUT, "placeholder"): 100,
    (TEXT_INPUT, "custom_id"): 100,
    (THUMBNAIL, "description"): ALT_TEXT_MAX,
    (LABEL, "label"): 45,
    (LABEL, "description"): 100,
}
OPTION_MAX = {"label": 100, "value": 100, "description": 100}


def check_view(view: discord.ui.LayoutView | discord.ui.View) -> None:
    """Fails if Discord would refuse a message with these components."""
    components = view.to_components()
    is_v2 = isinstance(view, discord.ui.LayoutView)
    validate_components(components, flags=COMPONENTS_V2_FLAG if is_v2 else 0)
    _check_texts(components)
    texts = [part["content"] for part in walk_components(components) if part["type"] == TEXT_DISPLAY]
    assert sum(map(discord_length, texts)) <= V2_TEXT_MAX


def check_form(form: discord.ui.Modal) -> None:
    """Fails if Discord would refuse this form."""
    sent = form.to_dict()
    validate_modal(sent)
    assert discord_length(sent["title"]) <= TITLE_MAX
    _check_texts(sent["components"])
    for part in walk_components(sent["components"]):
        if part["type"] == TEXT_INPUT:
            entered = discord_length(part.get("value") or "")
            assert entered <= (part.get("max_length") or ENTERED_MAX) <= ENTERED_MAX
            assert entered == 0 or entered >= (part.get("min_length") or 0)


def check_content(text: str) -> None:
    """Fails if Discord would refuse this as an ordinary message's text."""
    assert 1 <= discord_length(text) <= CONTENT_MAX


def check_embed(embed: discord.Embed) -> None:
    """Fails if Discord would refuse this embed."""
    validate_embeds([embed.to_dict()])
    texts = [
        embed.title,
        embed.description,
        *(text for field in embed.fields for text in (field.name, field.value)),
    ]
    assert sum(discord_length(text or "") for text in texts) <= EMBED_TEXT_MAX


def check_file(file: discord.File) -> None:
    """Fails if Discord would refuse this file, or change its name: then a card could not refer to it."""
    assert re.fullmatch(r"[A-Za-z0-9._-]+", file.filename)
    assert len(file.filename) <= FILE_NAME_MAX
    assert discord_length(file.description or "") <= ALT_TEXT_MAX


def _check_texts(components: Any) -> None:
    for part in walk_components(components):
        for (kind, name), most in TEXT_MAX.items():
            if part["type"] == kind:
                assert discord_length(part.get(name) or "") <= most, f"{name} of a component of type {kind}"
        for option in part.get("options", ()):
            for name, most in OPTION_MAX.items():
                assert discord_length(option.get(name) or "") <= most, f"{name} of an option"
        for item in part.get("items", ()):
            assert discord_length(item.get("description") or "") <= ALT_TEXT_MAX
