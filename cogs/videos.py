"""`/videos`: what members may see and do about their own videos and data. Always answered privately."""

import io
from collections.abc import Sequence
from typing import Any, cast

import discord
from discord import app_commands
from discord.app_commands import Range
from discord.ext import commands

from bot.chat.authorization import may_manage, requester
from bot.chat.autocomplete import a_sentence, matching, refuse_sentence
from bot.chat.context import Interaction, ServiceBot, services_of
from bot.chat.messages import member_texts, privacy_texts, video_list_texts
from bot.chat.messages.markdown import CHOICES_MAX
from bot.chat.repeated_orders import order_again
from bot.chat.views.extend_button import ExtendButton, ExtendForm, extend
from bot.chat.views.member_buttons import EraseButton, JobButton, cancel
from bot.chat.views.persistent_button import row_of
from bot.chat.views.persistent_form import handle_submission
from bot.chat.views.result_buttons import EditForm, ResultButton
from bot.chat.views.settings_panel import ResolutionSelect, SettingButton, panel
from bot.chat.views.variation_buttons import CancelAllButton
from bot.chat.views.variations_button import NumberButton, VariationsButton
from bot.chat.views.video_list import FilterSelect, PageButton, show_details, show_page
from bot.domain.jobs import Job
from bot.domain.limits import Allowance
from bot.domain.video_list import VideoFilter


@app_commands.guild_only()
class Videos(commands.GroupCog, group_name="videos", group_description="Your own videos"):
    """A member's own jobs, settings, quota and data."""

    @app_commands.command(description="How many videos you've used, and when your next one unlocks")
    async def quota(self, interaction: Interaction) -> None:
        """Shows the member's quota in this server."""
        await interaction.response.defer(ephemeral=True)
        service = services_of(interaction).jobs
        result = await service.allowance(requester(interaction, admin=await may_manage(interaction, fresh=False)))
        picture = await service.quota_picture(result)
        files = [] if picture is None else [_quota_file(result, picture)]
        await interaction.edit_original_response(content=member_texts.quota(result), attachments=files)

    @app_commands.command(name="list", description="Your videos: their status, and where to find them")
    async def list_jobs(self, interaction: Interaction) -> None:
        """Shows the member's jobs in this server, in pages."""
        await interaction.response.defer(ephemeral=True)
        await show_page(interaction)

    @app_commands.command(name="show", description="Everything about one of your videos")
    @app_commands.describe(video="Which one")
    async def show_job(self, interaction: Interaction, video: str) -> None:
        """Shows one of the member's jobs."""
        await interaction.response.defer(ephemeral=True)
        refuse_sentence(video, video_list_texts.NO_VIDEOS)
        await show_details(interaction, await services_of(interaction).jobs.details(video, requester(interaction)))

    @app_commands.command(name="cancel", description="Cancel a video that isn't finished")
    @app_commands.describe(video="Which one")
    async def cancel_job(self, interaction: Interaction, video: str) -> None:
        """Cancels one of the member's jobs; asks first where it is paid for already."""
        await interaction.response.defer(ephemeral=True)
        refuse_sentence(video, video_list_texts.NOTHING_TO_CANCEL)
        await cancel(interaction, video, even_if_paid=False)

    @show_job.autocomplete("video")
    async def own(self, interaction: Interaction, current: str) -> list[app_commands.Choice[str]]:
        """The member's newest jobs."""
        return await _own(interaction, current, VideoFilter.ALL, video_list_texts.NO_VIDEOS)

    @cancel_job.autocomplete("video")
    async def own_active(self, interaction: Interaction, current: str) -> list[app_commands.Choice[str]]:
        """The member's jobs that haven't ended and that they haven't cancelled yet."""
        return await _own(interaction, current, VideoFilter.IN_PROGRESS, video_list_texts.NOTHING_TO_CANCEL)

    @app_commands.command(description="Pings, direct messages, spoilers, and what /animate uses by default")
    async def settings(self, interaction: Interaction) -> None:
        """Shows the member's settings, with buttons that change them."""
        await interaction.response.defer(ephemeral=True)
        user_id = interaction.user.id
        settings = await services_of(interaction).settings.of(user_id)
        await interaction.edit_original_response(
            view=panel(settings, user_id, interaction.client.catalog.resolutions)
        )

    @app_commands.command(description="Make one of your videos again, with another seed")
    @app_commands.describe(video="Which one")
    async def again(self, interaction: Interaction, video: str) -> None:
        """Orders one of the member's videos again, to be posted in this channel."""
        await interaction.response.defer(ephemeral=True)
        refuse_sentence(video, video_list_texts.NOTHING_TO_REPEAT)
        await services_of(interaction).jobs.own_job(video, requester(interaction))
        await order_again(interaction, video, {}, interaction_id=interaction.id)

    @again.autocomplete("video")
    async def own_repeatable(self, interaction: Interaction, current: str) -> list[app_commands.Choice[str]]:
        """The member's jobs whose picture is still there."""
        who, service = requester(interaction), services_of(interaction).jobs
        jobs = await service.with_pictures(await service.recent(who.guild_id, who.user_id, limit=CHOICES_MAX))
        return _choices(jobs, current, video_list_texts.NOTHING_TO_REPEAT)

    @commands.Cog.listener()
    async def on_interaction(self, interaction: Interaction) -> None:
        """Called by discord.py for each interaction: handles the forms of buttons."""
        await handle_submission(interaction, (EditForm, ExtendForm))

    privacy = app_commands.Group(name="privacy", description="Your data in all servers")

    @privacy.command(name="show", description="What I keep about you, why, and for how long")
    async def show_privacy(self, interaction: Interaction) -> None:
        """Shows the retention policy."""
        text = privacy_texts.terms(services_of(interaction).privacy.retention_policy)
        await interaction.response.send_message(text, ephemeral=True)

    @privacy.command(name="export", description="Get a copy of everything I keep about you, as a file")
    async def export_data(self, interaction: Interaction) -> None:
        """Sends the member's data from all servers."""
        await interaction.response.defer(ephemeral=True)
        export = await services_of(interaction).privacy.export(interaction.user.id, interaction.filesize_limit)
        file = discord.File(io.BytesIO(export.data), export.filename)
        await interaction.edit_original_response(content=privacy_texts.exported(export), attachments=[file])

    @privacy.command(name="delete", description="Delete everything I keep about you (I'll ask first)")
    async def delete_data(self, interaction: Interaction) -> None:
        """Asks whether the member means it; the button deletes."""
        await interaction.response.defer(ephemeral=True)
        privacy = services_of(interaction).privacy
        text = privacy_texts.question(await privacy.preview_erasure(interaction.user.id), privacy.retention_policy)
        await interaction.edit_original_response(content=text, view=row_of(EraseButton(interaction.user.id)))


def _extend_command(prompt_max: int) -> app_commands.Command[Any, ..., None]:
    """The command that lets a video go on. prompt_max: characters of the longest prompt that a model reads."""

    @app_commands.command(name="extend", description="Let one of your videos go on from its last picture")
    @app_commands.describe(video="Which one", prompt="What happens next")
    async def extend_video(
        interaction: Interaction,
        video: str,
        prompt: Range[str, 1, prompt_max],
    ) -> None:
        await interaction.response.defer(ephemeral=True)
        refuse_sentence(video, video_list_texts.NOTHING_TO_EXTEND)
        await extend(interaction, video, prompt, interaction_id=interaction.id)

    @extend_video.autocomplete("video")
    async def own_finished(interaction: Interaction, current: str) -> list[app_commands.Choice[str]]:
        who = requester(interaction)
        jobs = await services_of(interaction).jobs.newest(
            who.guild_id, who.user_id, VideoFilter.READY, CHOICES_MAX
        )
        posted = [job for job in jobs if job.result_message_id]
        return _choices(posted, current, video_list_texts.NOTHING_TO_EXTEND)

    return extend_video


async def _own(
    interaction: Interaction, current: str, shows: VideoFilter, if_none: str
) -> list[app_commands.Choice[str]]:
    """Those of the member's newest jobs that match, or a sentence that says that there are none."""
    who = requester(interaction)
    jobs = await services_of(interaction).jobs.newest(who.guild_id, who.user_id, shows, CHOICES_MAX)
    return _choices(jobs, current, if_none)


def _choices(jobs: Sequence[Job], current: str, if_none: str) -> list[app_commands.Choice[str]]:
    """Those of the jobs that match, or a sentence that says that there are none."""
    found = matching([(video_list_texts.choice(job), job.id) for job in jobs], current)
    return found or a_sentence(video_list_texts.NO_MATCH if jobs else if_none)


def _quota_file(allowance: Allowance, picture: bytes) -> discord.File:
    return discord.File(io.BytesIO(picture), "quota.png", description=member_texts.quota_described(allowance))


async def setup(bot: ServiceBot) -> None:
    """Called by discord.py when the extension is loaded."""
    bot.add_dynamic_items(JobButton, ResultButton, ExtendButton, VariationsButton, NumberButton)
    bot.add_dynamic_items(CancelAllButton, EraseButton)
    bot.add_dynamic_items(PageButton, FilterSelect, SettingButton, ResolutionSelect)
    cog = Videos()
    group = cast("app_commands.Group", cog.app_command)  # a group cog has one
    group.add_command(_extend_command(bot.catalog.prompt_max))
    await bot.add_cog(cog)
