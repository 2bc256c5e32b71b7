"""The status card as Discord shows it: a container with the picture, the text and the Cancel button.

A message of components (Discord's "Components V2"): only there, a picture stands beside a text. What must be
forwarded, saved or found by its text is an ordinary message instead.
"""

import io
from typing import Any

import discord
from discord import ui

from bot.chat.messages import alt_texts, member_texts, status_texts, variation_texts
from bot.chat.views.member_buttons import ButtonKind, JobButton
from bot.chat.views.variation_buttons import cancel_buttons
from bot.domain.jobs import Job
from bot.domain.status_cards import AnyCard, VariationsCard

THUMBNAIL = "picture.jpg"


def card_view(job: Job, card: AnyCard) -> ui.LayoutView:
    """The card. It holds nothing in memory: a click is routed by the button's custom id."""
    more: list[ui.Item[Any]] = []
    if isinstance(card, VariationsCard):
        said, color = variation_texts.card_heading(card), variation_texts.card_color(card)
        # Under the picture, as their lines are long and a phone is narrow.
        more = [ui.TextDisplay(variation_texts.card_text(card))]
        buttons: list[ui.Item[Any]] = list(cancel_buttons(card))
    else:
        said, color = status_texts.card_text(job, card), status_texts.color(card)
        buttons = [] if card.is_cancelled else [JobButton(ButtonKind.CANCEL, job.id)]
    text = ui.TextDisplay[ui.LayoutView](said)
    container = ui.Container[ui.LayoutView](accent_color=color)
    if card.has_thumbnail:
        picture = ui.Thumbnail[ui.LayoutView](
            f"attachment://{THUMBNAIL}", description=alt_texts.of_picture(job), spoiler=job.is_spoiler
        )
        container.add_item(ui.Section(text, accessory=picture))
    else:
        container.add_item(text)
    for item in more:
        container.add_item(item)
    if buttons:
        container.add_item(ui.ActionRow(*buttons))
    view = ui.LayoutView(timeout=None)
    view.add_item(container)
    return view


def failure_view(job: Job) -> ui.LayoutView:
    """The card of a job whose failure no other message could tell."""
    view = ui.LayoutView(timeout=None)
    view.add_item(ui.TextDisplay(member_texts.failure(job)))
    view.add_item(ui.ActionRow(JobButton(ButtonKind.STATUS, job.id)))
    return view


def thumbnail_file(job: Job, thumbnail: bytes) -> discord.File:
    """The picture that a card shows."""
    return discord.File(io.BytesIO(thumbnail), THUMBNAIL, description=alt_texts.of_picture(job))
