"""The status card as Discord shows it: a container with the picture, the text and the Cancel button.

A message of components (Discord's "Components V2"): only there, a picture stands beside a text. What must be
forwarded, saved or found by its text is an ordinary message instead.
"""

import io

import discord

from bot.chat.messages import alt_texts, member_texts, status_texts
from bot.chat.views.member_buttons import ButtonKind, JobButton
from bot.domain.jobs import Job
from bot.domain.status_cards import StatusCard

THUMBNAIL = "picture.jpg"


def card_view(job: Job, card: StatusCard) -> discord.ui.LayoutView:
    """The card. It holds nothing in memory: a click is routed by the button's custom id."""
    text = discord.ui.TextDisplay[discord.ui.LayoutView](status_texts.card_text(job, card))
    container = discord.ui.Container[discord.ui.LayoutView](accent_color=status_texts.color(card))
    if card.has_thumbnail:
        picture = discord.ui.Thumbnail[discord.ui.LayoutView](
            f"attachment://{THUMBNAIL}", description=alt_texts.of_picture(job), spoiler=job.is_spoiler
        )
        container.add_item(discord.ui.Section(text, accessory=picture))
    else:
        container.add_item(text)
    if not card.is_cancelled:
        container.add_item(discord.ui.ActionRow(JobButton(ButtonKind.CANCEL, job.id)))
    view = discord.ui.LayoutView(timeout=None)
    view.add_item(container)
    return view


def failure_view(job: Job) -> discord.ui.LayoutView:
    """The card of a job whose failure no other message could tell."""
    view = discord.ui.LayoutView(timeout=None)
    view.add_item(discord.ui.TextDisplay(member_texts.failure(job)))
    view.add_item(discord.ui.ActionRow(JobButton(ButtonKind.STATUS, job.id)))
    return view


def thumbnail_file(job: Job, thumbnail: bytes) -> discord.File:
    """The picture that a card shows."""
    return discord.File(io.BytesIO(thumbnail), THUMBNAIL, description=alt_texts.of_picture(job))
