"""A member's own videos: a private list in pages, and one of them with everything about it.

Messages of components (Discord's "Components V2"): only there, a picture stands beside a text.
"""

import io

import discord
from discord import ui

from bot.chat.authorization import requester
from bot.chat.context import Interaction, services_of
from bot.chat.messages import alt_texts
from bot.chat.messages import video_list_texts as texts
from bot.chat.messages.reason_texts import Said
from bot.chat.views.member_buttons import ButtonKind, JobButton
from bot.chat.views.persistent_button import PersistentButton, PersistentSelect, refuse_unless_offered
from bot.domain.errors import NotPossible
from bot.domain.jobs import ENDED, Job
from bot.domain.video_list import VideoFilter, VideoPage
from bot.services.video_reader import VideoDetails

_LABELS = {"previous": "◀ Previous", "next": "Next ▶"}


class PageButton(
    PersistentButton,
    template=r"zoetrope:list:(?P<way>previous|next):(?P<shows>all|progress|ready|failed):"
    r"(?P<number>[0-9]{1,9}):(?P<user>[0-9]{1,20})",
):
    """Shows another page, whose number is in the custom id."""

    works_in_direct_messages = True

    def __init__(
        self, way: str, shows: str, number: str | int, user: str | int, *, disabled: bool = False
    ) -> None:
        self.shows, self.number, self.user_id = VideoFilter(shows), int(number), int(user)
        custom_id = f"zoetrope:list:{way}:{shows}:{number}:{user}"
        super().__init__(_LABELS[way], custom_id, discord.ButtonStyle.secondary, disabled=disabled)

    async def act(self, interaction: Interaction) -> None:
        """Shows the page instead of this one."""
        await _turn_to(interaction, self.user_id, self.shows, self.number)


class FilterSelect(PersistentSelect, template=r"zoetrope:list:filter:(?P<user>[0-9]{1,20})"):
    """Chooses which videos are listed."""

    works_in_direct_messages = True

    def __init__(self, user: str | int, current: VideoFilter = VideoFilter.ALL) -> None:
        self.user_id = int(user)
        options = [
            discord.SelectOption(label=label, value=shows.value, default=shows is current)
            for shows, label in texts.FILTERS.items()
        ]
        super().__init__(f"zoetrope:list:filter:{user}", options)

    async def act(self, interaction: Interaction) -> None:
        """Shows the first page of these."""
        await _turn_to(interaction, self.user_id, VideoFilter(self.chosen), 0)


async def _turn_to(interaction: Interaction, user_id: int, shows: VideoFilter, number: int) -> None:
    refuse_unless_offered(interaction)
    await interaction.response.defer()
    if interaction.user.id != user_id:
        raise NotPossible(Said(texts.NOT_YOURS))
    await show_page(interaction, shows, number)


async def show_page(interaction: Interaction, shows: VideoFilter = VideoFilter.ALL, number: int = 0) -> None:
    """Answers a deferred interaction, or replaces the page that was clicked, with a page of their videos."""
    who = requester(interaction)
    page = await services_of(interaction).jobs.page(who.guild_id, who.user_id, shows, number)
    files = [_picture(job, page.thumbnails[job.id]) for job in page.jobs if job.id in page.thumbnails]
    await interaction.edit_original_response(view=page_view(page, who.user_id), attachments=files)


def page_view(page: VideoPage, user_id: int) -> ui.LayoutView:
    """The page. It holds nothing in memory: a click is routed by the custom id."""
    container = ui.Container[ui.LayoutView](
        ui.TextDisplay(texts.heading(page)), accent_color=discord.Color.blurple()
    )
    for job, text in zip(page.jobs, texts.entries(page), strict=True):
        container.add_item(ui.Separator())
        container.add_item(_beside_picture(job, text, has_picture=job.id in page.thumbnails))
    container.add_item(ui.Separator())
    container.add_item(ui.ActionRow(FilterSelect(user_id, page.shows)))
    if page.count > 1:
        back, on = max(page.number - 1, 0), page.number + 1
        container.add_item(
            ui.ActionRow(
                PageButton("previous", page.shows, back, user_id, disabled=page.number == 0),
                PageButton("next", page.shows, on, user_id, disabled=on == page.count),
            )
        )
    return _layout(container)


async def show_details(interaction: Interaction, video: VideoDetails) -> None:
    """Answers a deferred interaction with everything about a video."""
    files = [] if video.thumbnail is None else [_picture(video.job, video.thumbnail)]
    await interaction.edit_original_response(view=details_view(video), attachments=files)


def details_view(video: VideoDetails) -> ui.LayoutView:
    """The video's text and picture, a button to its message, and one that cancels it while that is possible."""
    job = video.job
    text = _beside_picture(job, texts.details(video), has_picture=video.thumbnail is not None)
    container = ui.Container[ui.LayoutView](text, accent_color=discord.Color.blurple())
    row = ui.ActionRow[ui.LayoutView]()
    if (address := texts.address_of(job)) is not None:
        row.add_item(ui.Button(label="Go to it", url=address))
    if job.state not in ENDED and not job.cancel_requested:
        row.add_item(JobButton(ButtonKind.CANCEL, job.id))
    if row.children:
        container.add_item(row)
    return _layout(container)


def _beside_picture(job: Job, text: str, *, has_picture: bool) -> ui.Item[ui.LayoutView]:
    shown = ui.TextDisplay[ui.LayoutView](text)
    if not has_picture:
        return shown
    picture = ui.Thumbnail[ui.LayoutView](
        f"attachment://{_file_name(job)}", description=alt_texts.of_picture(job), spoiler=job.is_spoiler
    )
    return ui.Section(shown, accessory=picture)


def _picture(job: Job, thumbnail: bytes) -> discord.File:
    return discord.File(io.BytesIO(thumbnail), _file_name(job), description=alt_texts.of_picture(job))


def _file_name(job: Job) -> str:
    """A name that no other picture of the message has, and that Discord leaves as it is."""
    return f"picture{job.id.encode().hex()}.jpg"


def _layout(container: ui.Container[ui.LayoutView]) -> ui.LayoutView:
    view = ui.LayoutView(timeout=None)
    view.add_item(container)
    return view
