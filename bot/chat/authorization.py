"""Who is acting, and what they may do: as a member, as an admin of the server, or as the operator.

Checked before each guarded command and its autocomplete, and again at each click, because the buttons of a message
stay when permissions change.
"""

import asyncio

import discord

from bot.chat.context import Interaction, services_of
from bot.chat.messages.reason_texts import Said
from bot.chat.permissions.command_permissions import Overrides, decide
from bot.chat.permissions.option_validation import OUTSIDE
from bot.domain.errors import NotPossible
from bot.domain.policy import Requester
from bot.services.admin.audited import Admin
from bot.services.operator.service import Operator, OperatorService

ADMIN_COMMAND = "video-admin"
"""The command whose integration settings say who can manage the bot."""
OPERATOR_COMMAND = "operator"

_FOR_ADMINS = (
    "Only people who manage this server can do that: you need *Manage Server*, or an admin has to allow you to "
    f"use `/{ADMIN_COMMAND}` in Server Settings → Integrations."
)

_VERDICT = "may_manage"

_CLICKS = frozenset({discord.InteractionType.component, discord.InteractionType.modal_submit})
"""Anyone who sees the message can click; commands are guarded by Discord as well."""


def requester(interaction: Interaction, *, admin: bool = False) -> Requester:
    """Who is asking, and where. admin: whether they may manage the bot here, see `may_manage`.

    Raises: NotPossible outside a server's channel, and in a server that isn't known yet.
    """
    if interaction.guild_id is None or interaction.channel_id is None:
        raise NotPossible(Said(OUTSIDE))
    refuse_where_unknown(interaction)
    roles = getattr(interaction.user, "roles", ())
    channel = interaction.channel
    # A thread knows its category only through its parent, which may not be cached.
    above = channel.parent if isinstance(channel, discord.Thread) else channel
    parents = (getattr(channel, "parent_id", None), getattr(above, "category_id", None))
    return Requester(
        guild_id=interaction.guild_id,
        channel_id=interaction.channel_id,
        user_id=interaction.user.id,
        roles=frozenset(role.id for role in roles if role.id != interaction.guild_id),
        admin=admin,
        channel_ids=frozenset(
            channel_id for channel_id in (interaction.channel_id, *parents) if channel_id is not None
        ),
        age_restricted=bool(getattr(channel, "is_nsfw", lambda: False)()),
    )


def refuse_where_unknown(interaction: Interaction) -> None:
    """Refuses what depends on a member's roles in a server that isn't cached yet. Raises: NotPossible.

    discord.py drops the member's roles then, so a denied role would be missed. `interaction.guild` doesn't show
    this: discord.py builds it from the interaction if the server isn't cached.
    """
    guild = None if interaction.guild_id is None else interaction.client.get_guild(interaction.guild_id)
    if guild is None or guild.unavailable:
        raise NotPossible(
            Said("I'm just starting up and don't know this server yet. Please try again in a moment.")
        )


async def may_manage(interaction: Interaction, *, fresh: bool = True) -> bool:
    """Whether the member may manage the bot in this server right now.

    fresh: ask Discord; if little depends on it, an answer from some seconds ago will do. If Discord never reported
    the settings, *Manage Server* alone decides about a command, which Discord guards as well.
    Raises: NotPossible for a click in that case, and if the member's roles aren't known.
    """
    if interaction.guild_id is None:
        return False
    if (known := interaction.extras.get(_VERDICT)) is not None:  # one answer for the whole interaction
        return bool(known)
    verdict = interaction.permissions.administrator or await _by_settings(
        interaction, interaction.guild_id, fresh=fresh
    )
    interaction.extras[_VERDICT] = verdict
    return verdict


async def _by_settings(interaction: Interaction, guild_id: int, *, fresh: bool) -> bool:
    refuse_where_unknown(interaction)
    command_permissions = services_of(interaction).command_permissions
    command_id = command_permissions.command_ids.get(ADMIN_COMMAND)
    of_command: Overrides | None = None
    of_app: Overrides | None = None
    if command_id is not None:
        of_command, of_app = await asyncio.gather(
            command_permissions.of(guild_id, command_id, fresh=fresh),
            command_permissions.of(guild_id, interaction.application_id, fresh=fresh),
        )
    if interaction.type in _CLICKS and (of_command is None or of_app is None):
        raise NotPossible(Said("I can't check your permissions right now. Please click again in a moment."))
    roles = frozenset(role.id for role in getattr(interaction.user, "roles", ()))
    return decide(
        interaction.permissions,
        guild_id=guild_id,
        user_id=interaction.user.id,
        roles=roles,
        of_command=of_command or (),
        of_app=of_app or (),
    )


async def admin_of(interaction: Interaction) -> Admin:
    """The admin who is acting. Raises: NotPossible for anybody who may not manage the bot here."""
    fresh = interaction.type is not discord.InteractionType.autocomplete
    if interaction.guild_id is None or not await may_manage(interaction, fresh=fresh):
        raise NotPossible(Said(_FOR_ADMINS))
    return Admin(interaction.guild_id, interaction.user.id)


async def operator_of(interaction: Interaction) -> tuple[OperatorService, Operator]:
    """The operator's service, and who is acting as the operator.

    Raises: NotPossible for anybody else, and for the operator in another server.
    """
    service, user_id = services_of(interaction).operator, interaction.user.id
    if service is None or interaction.guild_id != service.guild_id or user_id not in service.user_ids:
        raise NotPossible(Said("That's for the bot's operator, in their own server."))
    return service, Operator(user_id)
