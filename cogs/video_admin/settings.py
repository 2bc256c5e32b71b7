"""`/video-admin settings`, `pause` and `resume`: the server as a whole."""

from bot.chat.context import Interaction
from bot.chat.messages import admin_texts
from bot.chat.messages.audit_texts import answer
from bot.chat.views.admin_buttons import show_settings
from cogs.video_admin.group import begin, group


@group.command(
    name="settings", description="All settings for videos in this server, and the commands that change them"
)
async def settings(interaction: Interaction) -> None:
    """Shows all that is set, with buttons for pause and resume."""
    _, admin = await begin(interaction)
    await show_settings(interaction, admin)


@group.command(name="pause", description="Stop taking new videos; queued and running ones are still finished")
async def pause(interaction: Interaction) -> None:
    """Pauses the bot in this server."""
    service, admin = await begin(interaction)
    entry = await service.settings.set_paused(admin, paused=True)
    await interaction.edit_original_response(content=admin_texts.paused(entry))


@group.command(name="resume", description="Take new videos again")
async def resume(interaction: Interaction) -> None:
    """Ends the pause."""
    service, admin = await begin(interaction)
    entry = await service.settings.set_paused(admin, paused=False)
    await interaction.edit_original_response(content=answer(entry))
