"""Who acts, and what they may do: as a member, as an admin of the server, as the operator.

Asked before each guarded command and its suggestions, and again at each click: a message with buttons may be older
than the permission to use them.
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
"""The command whose integration settings say who manages the bot."""
OPERATOR_COMMAND = "operator"

_FOR_ADMINS = (
    "That's for people who manage bots in this server: you need *Manage Server*, or an admin has to allow you "
    f"`/{ADMIN_COMMAND}` in Server Settings → Integrations."
)

_VERDICT = "may_manage"

_CLICKS = frozenset({discord.InteractionType.component, discord.InteractionType.modal_submit})
"""Open to everybody who sees the message; commands are guarded by Discord itself as well."""


def requester(interaction: Interaction, *, admin: bool = False) -> Requester:
    """Who asks, and where. admin: whether they may manage the bot here, as `may_manage` says.

    Raises: NotPossible outside of a server's channel, and in a server that is not known yet.
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
        age_restricted=_is_age_restricted(channel),
    )


def _is_age_restricted(channel: object) -> bool:
    is_nsfw = getattr(channel, "is_nsfw", None)
    return bool(is_nsfw()) if is_nsfw is not None else False


def refuse_where_unknown(interaction: Interaction) -> None:
    """Refuses what depends on a member's roles, in a server that Discord has not described yet.

    discord.py drops a member's roles where it doesn't know the server, so a denied role would not be seen. And
    `interaction.guild` can't tell: where the server is not cached, discord.py builds it from the interaction.
    Raises: NotPossible.
    """
    guild = None if interaction.guild_id is None else interaction.client.get_guild(interaction.guild_id)
    if guild is None or guild.unavailable:
        raise NotPossible(Said("I'm just starting and don't know this server yet. Please try again in a moment."))


async def may_manage(interaction: Interaction, *, fresh: bool = True) -> bool:
    """Whether the one who acts may manage the bot in this server, at this moment.

    fresh: ask Discord; where little depends on it, an answer from some seconds ago will do. Where Discord never
    reported the settings, *Manage Server* alone decides about a command, which Discord guards as well.
    Raises: NotPossible for a click in that case, and where the member's roles are not known.
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
        raise NotPossible(Said("I can't check right now who manages me. Please click again in a moment."))
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
    """The admin who acts. Raises: NotPossible for somebody who may not manage the bot here."""
    fresh = interaction.type is not discord.InteractionType.autocomplete
    if interaction.guild_id is None or not await may_manage(interaction, fresh=fresh):
        raise NotPossible(Said(_FOR_ADMINS))
    return Admin(interaction.guild_id, interaction.user.id)


async def operator_of(interaction: Interaction) -> tuple[OperatorService, Operator]:
    """The operator who acts, and their service.

    Raises: NotPossible for anybody else, and for the operator in another server.
    """
    service, user_id = services_of(interaction).operator, interaction.user.id
    if service is None or interaction.guild_id != service.guild_id or user_id not in service.user_ids:
        raise NotPossible(Said("That's for the bot's operator, in their own server."))
    return service, Operator(user_id)
