"""Collects what a member can do here and now, for `/help`."""

from collections.abc import Iterator, Mapping
from typing import Any

import discord
from discord import app_commands, ui

from bot.chat.authorization import (
    ADMIN_COMMAND,
    OPERATOR_COMMAND,
    is_elsewhere,
    may_manage,
    operator_of,
    requester,
)
from bot.chat.context import Interaction, services_of
from bot.chat.messages.help_texts import Command, Help, HelpLine, help_text
from bot.chat.permissions.channel_permissions import refuse_where_unpostable
from bot.chat.replies import without_hidden_channels
from bot.domain.errors import NotPossible, Reason

_ORDER = "animate"
_NOT_LISTED = {ADMIN_COMMAND, OPERATOR_COMMAND, "help"}
_FOR_ADMINS = ("video-admin settings", "video-admin limits show", "video-admin jobs show", "video-admin usage")
_FOR_OPERATOR = ("operator servers", "operator budgets", "operator costs")
"""Where to begin: from there on, their answers name the other commands."""


async def help_view(interaction: Interaction) -> ui.LayoutView:
    """Everything that the member can do here, and whether they can order a video."""
    admin = await may_manage(interaction, fresh=False)
    outlook = await services_of(interaction).jobs.outlook(requester(interaction, admin=admin))
    refusal = _channel_refusal(interaction) or outlook.refusal
    ids = services_of(interaction).command_permissions.command_ids
    shown = Help(
        order=_command(_ORDER, ids),
        allowance=outlook.allowance,
        refusal=None if refusal is None else without_hidden_channels(interaction, refusal),
        service_closed=outlook.service_closed,
        for_members=list(_lines(interaction.client.tree, ids)),
        for_admins=[_command(name, ids) for name in _FOR_ADMINS] if admin else (),
        for_operator=[_command(name, ids) for name in _FOR_OPERATOR] if await _operates(interaction) else (),
    )
    color = discord.Color.green() if refusal is None else discord.Color.orange()
    view = ui.LayoutView(timeout=None)
    view.add_item(ui.Container(ui.TextDisplay(help_text(shown)), accent_color=color))
    return view


def _channel_refusal(interaction: Interaction) -> Reason | None:
    if is_elsewhere(interaction):
        return None  # it only answers there
    try:
        refuse_where_unpostable(interaction)
    except NotPossible as refused:
        return refused.reason
    return None


async def _operates(interaction: Interaction) -> bool:
    try:
        await operator_of(interaction)
    except NotPossible:
        return False
    return True


def _lines(tree: app_commands.CommandTree[Any], ids: Mapping[str, int]) -> Iterator[HelpLine]:
    """The commands for everybody, as they are declared. Those of a group inside of another share a line."""
    for root in tree.get_commands(type=discord.AppCommandType.chat_input):
        if root.name in _NOT_LISTED:
            continue
        for command in root.commands if isinstance(root, app_commands.Group) else [root]:
            parts = command.commands if isinstance(command, app_commands.Group) else [command]
            names = tuple(_command(part.qualified_name, ids) for part in parts)
            yield HelpLine(names, command.description)


def _command(name: str, ids: Mapping[str, int]) -> Command:
    return Command(name, ids.get(name.split(" ", maxsplit=1)[0]))
