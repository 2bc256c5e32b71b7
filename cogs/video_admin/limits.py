"""`/video-admin limits`: limits of the server, a role or a member."""

import discord
from discord import app_commands

from bot.chat.context import Interaction
from bot.chat.messages import admin_texts
from bot.chat.replies import answer_long
from bot.services.admin.limits import (
    EVERYTHING,
    OVERRIDE_PARTS,
    RUNNING_MAX,
    VIDEOS_MAX,
    VIDEOS_PER_DAY_MAX,
    LimitChanges,
    LimitPart,
)
from cogs.video_admin.group import begin, group

limits = app_commands.Group(name="limits", description="Limits of the server, a role or a member", parent=group)

VideoLimit = app_commands.Range[int, 0, VIDEOS_MAX]
Running = app_commands.Range[int, 0, RUNNING_MAX]
Span = app_commands.Range[str, 1, 60]
Amount = app_commands.Range[str, 1, 30]

_OPTIONS = {
    "videos": "Videos per rolling window",
    "running": "Videos at once, including queued ones",
    "pause": "Time between two orders, such as 30s or 10m; 0 for none",
    "clear": "A limit to remove here",
}


def _choices(*parts: str) -> list[app_commands.Choice[str]]:
    return [app_commands.Choice(name=part.replace("_", " "), value=part) for part in (EVERYTHING, *parts)]


@limits.command(name="server", description="Set limits for every member and for the whole server")
@app_commands.describe(
    **_OPTIONS,
    window="The rolling window, in whole hours, such as 24h or 7d",
    videos_per_day="Videos per day for the whole server",
    usd_per_day="USD per day for the whole server, such as 2.50",
    usd_per_month="USD per month for the whole server",
    exempt_admins="Whether people who manage the bot are exempt from member limits",
)
@app_commands.choices(clear=_choices(*LimitPart))
async def server(
    interaction: Interaction,
    videos: VideoLimit | None = None,
    running: Running | None = None,
    pause: Span | None = None,
    window: Span | None = None,
    videos_per_day: app_commands.Range[int, 0, VIDEOS_PER_DAY_MAX] | None = None,
    usd_per_day: Amount | None = None,
    usd_per_month: Amount | None = None,
    exempt_admins: bool | None = None,  # noqa: FBT001 - an option, which Discord sends by name
    clear: str | None = None,
) -> None:
    """Sets limits of the server; without options, shows them."""
    service, admin = await begin(interaction)
    changes = LimitChanges(
        videos, running, pause, window, videos_per_day, usd_per_day, usd_per_month, exempt_admins, clear
    )
    done = await service.limits.set_server(admin, changes)
    await interaction.edit_original_response(content=admin_texts.limits_set(done))


@limits.command(name="role", description="Set limits for everyone with a role; members get the best of theirs")
@app_commands.describe(role="The role", **_OPTIONS)
@app_commands.choices(clear=_choices(*OVERRIDE_PARTS))
async def role(
    interaction: Interaction,
    role: discord.Role,
    videos: VideoLimit | None = None,
    running: Running | None = None,
    pause: Span | None = None,
    clear: str | None = None,
) -> None:
    """Sets limits of a role; without options, shows them."""
    service, admin = await begin(interaction)
    changes = LimitChanges(videos, running, pause, clear=clear)
    done = await service.limits.set_role(admin, role.id, changes)
    await interaction.edit_original_response(content=admin_texts.limits_set(done))


@limits.command(name="member", description="Set limits for one member, which override those of their roles")
@app_commands.describe(member="Works by id too, for someone who left", **_OPTIONS)
@app_commands.choices(clear=_choices(*OVERRIDE_PARTS))
async def member(
    interaction: Interaction,
    member: discord.User,
    videos: VideoLimit | None = None,
    running: Running | None = None,
    pause: Span | None = None,
    clear: str | None = None,
) -> None:
    """Sets limits of a member, even one who left; without options, shows them."""
    service, admin = await begin(interaction)
    changes = LimitChanges(videos, running, pause, clear=clear)
    done = await service.limits.set_member(admin, member.id, changes)
    await interaction.edit_original_response(content=admin_texts.limits_set(done))


@limits.command(name="show", description="All limits, or those of one member and where they come from")
@app_commands.describe(member="Show what applies to this member; works by id too, for someone who left")
async def show(interaction: Interaction, member: discord.User | None = None) -> None:
    """Shows all limits of the server, or those that apply to one member, even one who left."""
    service, admin = await begin(interaction)
    if member is None:
        await answer_long(
            interaction, admin_texts.all_limits(await service.limits.all(admin)), filename="limits.txt"
        )
        return
    roles, manages = _membership(member)
    found = await service.limits.of_member(admin, member.id, roles, manages=manages)
    await interaction.edit_original_response(content=admin_texts.member_limits(member.id, found))


def _membership(user: discord.User | discord.Member) -> tuple[list[int], bool]:
    """The roles of a member, and whether they may manage the server; none and False for one who left."""
    if isinstance(user, discord.User):
        return [], False
    permissions = user.resolved_permissions or user.guild_permissions
    return [role.id for role in user.roles if not role.is_default()], permissions.manage_guild
