"""Actors for the admin tests: an admin, a plain member, and commands that bypass Discord's own permission check.

Use it as `from tests.cogs.admins import admin, plain, ask, bypass_client_check, text_of`.
"""

from typing import Any

import discord
from simcord import ChannelHandle, GuildHandle, InteractionResult, MemberActor
from simcord import interactions as simcord_interactions
from simcord.enums import AppCommandType, InteractionType

from tests.cogs.conftest import CogHarness


def admin(harness: CogHarness, name: str = "admin", *, guild: GuildHandle | None = None) -> MemberActor:
    """A member with a role that has *Manage Server*; in the first server unless said otherwise."""
    guild = guild or harness.offline.guild
    role = guild.create_role(f"Managers {name}", permissions=discord.Permissions(manage_guild=True))
    return guild.add_member(harness.offline._env.create_user(name), roles=[role])


def plain(harness: CogHarness, name: str = "plain", *, guild: GuildHandle | None = None) -> MemberActor:
    """A member without any permissions of their own."""
    return (guild or harness.offline.guild).add_member(harness.offline._env.create_user(name))


def another_guild(harness: CogHarness, name: str = "Elsewhere") -> tuple[GuildHandle, ChannelHandle]:
    """A second server with the bot in it, and a text channel of it."""
    guild = harness.offline._env.create_guild(name)
    return guild, guild.create_text_channel("elsewhere")


def text_of(result: InteractionResult) -> str:
    """The whole reply to a command or click: its contents and the texts of its embeds."""
    lines = []
    for message in (result.response, *result.followups):
        if message is None:
            continue
        lines.append(message.content)
        for embed in message.embeds:
            lines += [embed.title or "", embed.description or "", embed.footer.text or ""]
            lines += [f"{field.name}\n{field.value}" for field in embed.fields]
    return "\n".join(line for line in lines if line)


async def ask(harness: CogHarness, who: MemberActor, command: str, /, **options: Any) -> str:
    """`who` sends a slash command in the first channel; returns the reply, which must be ephemeral."""
    result = await who.slash(harness.offline.channel, command, **options)
    assert result.response is not None, "no answer"
    assert result.ephemeral, "the answer is public"
    return text_of(result)


async def bypass_client_check(
    who: MemberActor, channel: ChannelHandle, command: str, /, **options: Any
) -> InteractionResult:
    """Sends a slash command that Discord's client would not offer to `who`; only the bot's own check applies."""
    leaf, data = _command(who, command)
    values, resolved = simcord_interactions.build_options(who, command, leaf, options, channel_id=channel.id)
    return await _dispatch(who, channel, command, values, data, InteractionType.APPLICATION_COMMAND, resolved)


async def choices_bypassing_client_check(
    who: MemberActor, channel: ChannelHandle, command: str, option: str, value: str = ""
) -> list[dict[str, Any]] | None:
    """The bot's choices for a member whom Discord's client would not offer the command; None: no response."""
    leaf, data = _command(who, command)
    kind = next(declared["type"] for declared in leaf["options"] if declared["name"] == option)
    typed = [{"name": option, "type": kind, "value": value, "focused": True}]
    result = await _dispatch(
        who, channel, command, typed, data, InteractionType.APPLICATION_COMMAND_AUTOCOMPLETE, {}
    )
    return result.autocomplete_choices


def _command(who: MemberActor, command: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The subcommand's declaration, and its root command's."""
    root, *path = command.split()
    found = who._env.backend.find_command(root, who.guild.id, type=AppCommandType.CHAT_INPUT)
    assert found is not None, f"no command /{root}"
    leaf, _ = simcord_interactions.walk_to_subcommand(found, path)
    return leaf, found


async def _dispatch(
    who: MemberActor,
    channel: ChannelHandle,
    command: str,
    values: list[dict[str, Any]],
    root: dict[str, Any],
    kind: InteractionType,
    resolved: dict[str, Any],
) -> InteractionResult:
    nested = simcord_interactions.nest_options(root, command.split()[1:], values)
    data = {"id": root["id"], "name": root["name"], "type": AppCommandType.CHAT_INPUT, "options": nested}
    if resolved:
        data["resolved"] = resolved
    if root.get("guild_id"):  # a command of that server alone; without, discord.py looks among the global ones
        data["guild_id"] = root["guild_id"]
    env = who._env
    env._begin_operation("slash")
    try:
        return await who._dispatch_interaction(kind, channel, data)
    finally:
        env._end_operation()
