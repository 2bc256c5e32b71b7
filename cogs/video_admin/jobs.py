"""`/video-admin jobs`: shows what is queued and running in the server; cancels and retries jobs."""

from discord import app_commands

from bot.chat.authorization import admin_of
from bot.chat.autocomplete import matching, names_of
from bot.chat.context import Interaction, services_of
from bot.chat.messages import job_overview_texts
from bot.chat.views.admin_buttons import cancel
from bot.domain.jobs import Job
from cogs.video_admin.group import begin, group

jobs = app_commands.Group(name="jobs", description="Videos in progress in this server", parent=group)


@jobs.command(description="Queued and running videos, whose they are and since when, and recent failures")
async def show(interaction: Interaction) -> None:
    """Shows the server's jobs."""
    service, admin = await begin(interaction)
    overview = await service.jobs.overview(admin)
    await interaction.edit_original_response(content=job_overview_texts.job_overview(overview))


@jobs.command(name="cancel", description="Cancel a member's video; asks first if it's already paid for")
@app_commands.describe(video="Which one")
async def cancel_job(interaction: Interaction, video: str) -> None:
    """Cancels one of the server's jobs."""
    await interaction.response.defer(ephemeral=True)
    await cancel(interaction, video, even_if_paid=False)


@jobs.command(name="retry", description="Retry a member's video that failed or is waiting after a failure")
@app_commands.describe(video="Which one")
async def retry_job(interaction: Interaction, video: str) -> None:
    """Retries one of the server's jobs."""
    service, admin = await begin(interaction)
    job = await service.jobs.retry(admin, video)
    await interaction.edit_original_response(content=job_overview_texts.retried(job))


@cancel_job.autocomplete("video")
async def cancellable(interaction: Interaction, current: str) -> list[app_commands.Choice[str]]:
    """The server's jobs that can be cancelled."""
    found = await services_of(interaction).admins.jobs.cancellable(await admin_of(interaction))
    return await _choices(interaction, found, current)


@retry_job.autocomplete("video")
async def retryable(interaction: Interaction, current: str) -> list[app_commands.Choice[str]]:
    """The server's jobs that can be retried."""
    found = await services_of(interaction).admins.jobs.retryable(await admin_of(interaction))
    return await _choices(interaction, found, current)


async def _choices(interaction: Interaction, found: list[Job], current: str) -> list[app_commands.Choice[str]]:
    """Those whose stage, member, time or prompt contains the typed text, or whose id or member's id it is."""
    ids = {job.user_id for job in found}
    names = {} if interaction.guild is None else await names_of(interaction.guild, ids)
    by_id = [job for job in found if current.strip() in {job.id, str(job.user_id)}]
    shown = [(job_overview_texts.choice(job, names.get(job.user_id)), job.id) for job in by_id or found]
    return matching(shown, "" if by_id else current)
