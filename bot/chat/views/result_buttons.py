"""The buttons under a finished video: make it again, edit it, see how it was made, delete it.

Custom ids are `zoetrope:<kind>:<job id>`, so they work for years and after every restart; rights are asked at each
click. Deleting is a `JobButton`, by which a video is also found again after a crash. A form's custom id also has
the id of the click that showed it: submitting it twice orders once.
"""

import asyncio
import re
from collections.abc import Mapping
from enum import StrEnum

import discord

from bot.chat.authorization import buyer, is_elsewhere, may_see_cost, requester
from bot.chat.context import Interaction, services_of
from bot.chat.messages import result_texts
from bot.chat.messages.markdown import discord_length
from bot.chat.messages.reason_texts import Said
from bot.chat.quotes import quote_for_form
from bot.chat.repeated_orders import order_again
from bot.chat.views.extend_button import ExtendButton
from bot.chat.views.member_buttons import ButtonKind, JobButton, view
from bot.chat.views.persistent_button import PersistentButton, job_custom_id, row_of
from bot.chat.views.persistent_form import PersistentForm, show_form
from bot.chat.views.variations_button import VariationsButton
from bot.domain.errors import NotPossible, OrderRefused, Problem, StoreError
from bot.domain.jobs import Job
from bot.domain.models import WAN22_FLASH, Model
from bot.domain.orders import SEED_MAX, model_of
from bot.domain.repeats import OrderChanges, is_worth_another_try

_SEED_LENGTH = len(str(SEED_MAX))


class ResultKind(StrEnum):
    """What a button under a video does, besides deleting it."""

    AGAIN = "again"
    EDIT = "edit"
    INFO = "info"


_LABELS = {ResultKind.AGAIN: "Again", ResultKind.EDIT: "Edit", ResultKind.INFO: "Info"}


def result_row(job_id: str, *, in_server: bool = True, in_answer: bool = False) -> discord.ui.View:
    """All buttons under a video. A row has five at most; discord.py begins the next by itself.

    in_server: a video in a direct message can't be extended. in_answer: where the bot isn't a member, only what
    needs no second question: nothing but the message itself shows who sees the video.
    """
    again, edit, info = (ResultButton(kind, job_id) for kind in ResultKind)
    if in_answer:
        return row_of(again, edit, info, JobButton(ButtonKind.VIDEO, job_id))
    extend = [ExtendButton(job_id)] if in_server else []
    return row_of(again, edit, VariationsButton(job_id), *extend, info, JobButton(ButtonKind.VIDEO, job_id))


def note_row(job: Job, component_id: int) -> discord.ui.View:
    """The buttons under a note about a failure. component_id: that of the one by which the note is found."""
    note = view(ButtonKind.NOTE, job.id, component_id)
    if is_worth_another_try(job):
        note.add_item(ResultButton(ResultKind.AGAIN, job.id, label="Try again"))
    return note


class ResultButton(
    PersistentButton,
    template=r"zoetrope:(?P<kind>again|edit|info):(?P<job>[A-Za-z0-9_-]{1,20})",
):
    """One of the buttons that are for everybody who sees the video."""

    works_in_direct_messages = True

    def __init__(self, kind: str, job: str, *, label: str | None = None) -> None:
        self.kind, self.job_id = ResultKind(kind), job
        style = discord.ButtonStyle.secondary
        super().__init__(label or _LABELS[self.kind], job_custom_id(self.kind, job), style)

    async def act(self, interaction: Interaction) -> None:
        """Orders the video again, shows the form or the details."""
        match self.kind:
            case ResultKind.AGAIN:
                await interaction.response.defer(ephemeral=True, thinking=True)
                await order_again(interaction, self.job_id, {}, interaction_id=interaction.id)
            case ResultKind.EDIT:
                until_s = asyncio.get_running_loop().time() + services_of(interaction).form_times.lookup_s
                job = await _repeatable_in_time(interaction, self.job_id, until_s)
                buying = buyer(interaction, self.job_id)
                quote = await quote_for_form(interaction, buying, job.order, until_s=until_s)
                model = model_of(interaction.client.catalog, job.order.model)
                await show_form(interaction, edit_form(job, interaction.id, model), quote)
            case ResultKind.INFO:
                await interaction.response.defer(ephemeral=True, thinking=True)
                job = await _seen_job(interaction, self.job_id)
                is_own = job.user_id == interaction.user.id
                embed = result_texts.details(
                    job,
                    is_own=is_own,
                    with_cost=await may_see_cost(interaction),
                    catalog=interaction.client.catalog,
                )
                await interaction.edit_original_response(embed=embed)


async def _repeatable_in_time(interaction: Interaction, job_id: str, until_s: float) -> Job:
    """The job that a form is about. Raises: NotPossible, also if it isn't known by `until_s` (the loop's time)."""
    jobs = services_of(interaction).jobs
    try:
        async with asyncio.timeout_at(until_s):
            job = await _seen_job(interaction, job_id)
            if not await jobs.with_pictures([job]):
                raise NotPossible(Problem.PICTURE_NOT_KEPT)
            return job
    except (TimeoutError, StoreError):
        raise NotPossible(Said(result_texts.SLOW)) from None


async def _seen_job(interaction: Interaction, job_id: str) -> Job:
    """The job, if the member may see its video: in its channel, or as its own. Raises: NotPossible."""
    jobs = services_of(interaction).jobs
    if interaction.guild_id is not None or is_elsewhere(interaction):
        return await jobs.visible(job_id, requester(interaction))
    job = await jobs.find(job_id)
    if job is None or job.user_id != interaction.user.id:
        raise NotPossible(Problem.VIDEO_NOT_KNOWN)
    return job


def edit_form(job: Job, click_id: int, model: Model = WAN22_FLASH) -> discord.ui.Modal:
    """The form with what the video was made from, by the same model."""
    order = job.order
    form = discord.ui.Modal(title=result_texts.FORM_TITLE, custom_id=f"zoetrope:edit:{job.id}:{click_id}")
    long = discord.TextStyle.paragraph
    prompt = _text("prompt", order.prompt, model.prompt_max, style=long)
    unwanted = _text(
        "negative_prompt", order.negative_prompt or "", model.negative_prompt_max, style=long, required=False
    )
    seed_text = "" if order.seed is None else str(order.seed)
    seed = _text("seed", seed_text, _SEED_LENGTH, style=discord.TextStyle.short, required=False)
    resolution: discord.ui.Select[discord.ui.Modal] = discord.ui.Select(
        custom_id="resolution",
        options=[
            discord.SelectOption(label=it, value=it, default=it is order.resolution) for it in model.resolutions
        ],
    )
    form.add_item(discord.ui.Label(text="Prompt", component=prompt))
    form.add_item(discord.ui.Label(text="What shouldn't be in it", component=unwanted))
    form.add_item(discord.ui.Label(text="Resolution", component=resolution))
    form.add_item(discord.ui.Label(text="Seed", description=result_texts.SEED_HINT, component=seed))
    return form


def _text(
    custom_id: str, value: str, maximum: int, *, style: discord.TextStyle, required: bool = True
) -> discord.ui.TextInput[discord.ui.Modal]:
    # Discord may count an emoji as two characters, and would refuse a form whose own text is too long.
    longest = max(maximum, discord_length(value))
    return discord.ui.TextInput(
        custom_id=custom_id, style=style, default=value or None, required=required, max_length=longest
    )


class EditForm(PersistentForm):
    """The submitted form."""

    template = re.compile(r"zoetrope:edit:(?P<job>[A-Za-z0-9_-]{1,20}):(?P<click>[0-9]{1,20})")

    def __init__(self, job: str, click: str) -> None:
        self.job_id, self.click_id = job, int(click)

    async def act(self, interaction: Interaction, fields: Mapping[str, str]) -> None:
        """Orders the video as it was edited."""
        await interaction.response.defer(ephemeral=True, thinking=True)
        await order_again(interaction, self.job_id, _changes(fields), interaction_id=self.click_id)


def _changes(fields: Mapping[str, str]) -> OrderChanges:
    """What was entered. Without a seed, another one is drawn. Raises: OrderRefused."""
    changes = OrderChanges(
        prompt=fields.get("prompt", ""),
        negative_prompt=fields.get("negative_prompt") or None,
        resolution=fields.get("resolution", ""),
    )
    seed = fields.get("seed", "").strip()
    if not seed:
        return changes
    if not (seed.isascii() and seed.isdigit() and len(seed) <= _SEED_LENGTH):
        raise OrderRefused(Problem.SEED_OUT_OF_RANGE)
    changes["seed"] = int(seed)
    return changes
