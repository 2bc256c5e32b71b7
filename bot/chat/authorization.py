"""Who is acting, and what they may do: as a member, as an admin of the server, or as the operator.

Checked before each guarded command and its autocomplete, and again at each click, because the buttons of a message
stay when permissions change.
"""

import asyncio

import discord

from bot.chat.context import Interaction, ServiceBot, services_of
from bot.chat.messages.reason_texts import Said
from bot.chat.own_shards import is_own
from bot.chat.permissions.channel_permissions import missing_permissions, refuse_where_unpostable
from bot.chat.permissions.command_permissions import Overrides, decide, decide_open
from bot.chat.permissions.option_validation import OUTSIDE
from bot.domain.errors import NotPossible, Problem
from bot.domain.guilds import OUTSIDE_SERVERS
from bot.domain.jobs import NO_CHANNEL, Job
from bot.domain.policy import Requester
from bot.services.admin.audited import Admin
from bot.services.operator.service import Operator, OperatorService

ADMIN_COMMAND = "video-admin"
"""The command whose integration settings say who can manage the bot."""
OPERATOR_COMMAND = "operator"
ORDER_COMMAND = "animate"
"""The command whose integration settings say who can order videos, also with buttons."""

_FOR_ADMINS = (
    "Only people who manage this server can do that: you need *Manage Server*, or an admin has to allow you to "
    f"use `/{ADMIN_COMMAND}` in Server Settings → Integrations."
)

_UNCHECKED = "I can't check your permissions right now. Please click again in a moment."
_NOT_THERE = (
    "I can't post in the channel where you asked for this video, or you can't. Use `/animate` in another channel. "
    "Nothing was charged."
)
_DISABLED = "This server's settings don't let you make videos here. Its admins can change that."

_VERDICT = "may_manage"

_CLICKS = frozenset({discord.InteractionType.component, discord.InteractionType.modal_submit})
"""Anyone who sees the message can click; commands are guarded by Discord as well."""


def requester(interaction: Interaction, *, admin: bool = False) -> Requester:
    """Who is asking, and where. admin: whether they may manage the bot here, see `may_manage`.

    Raises: NotPossible without a channel, and in a server that isn't known yet.
    """
    if interaction.channel_id is None:
        raise NotPossible(Said(OUTSIDE))
    if is_elsewhere(interaction):
        return Requester(
            OUTSIDE_SERVERS,
            NO_CHANNEL,
            interaction.user.id,
            visited_guild_id=interaction.guild_id,
            message_id=None if interaction.message is None else interaction.message.id,
        )
    if interaction.guild_id is None:
        return Requester(OUTSIDE_SERVERS, interaction.channel_id, interaction.user.id)
    refuse_where_unknown(interaction)
    return _requester(
        interaction.guild_id, interaction.channel_id, interaction.channel, interaction.user, admin=admin
    )


def _requester(
    guild_id: int, channel_id: int, channel: object, member: discord.User | discord.Member, *, admin: bool
) -> Requester:
    roles = getattr(member, "roles", ())
    # A thread knows its category only through its parent, which may not be cached.
    above = channel.parent if isinstance(channel, discord.Thread) else channel
    parents = (getattr(channel, "parent_id", None), getattr(above, "category_id", None))
    return Requester(
        guild_id=guild_id,
        channel_id=channel_id,
        user_id=member.id,
        roles=frozenset(role.id for role in roles if role.id != guild_id),
        admin=admin,
        channel_ids=frozenset(id_ for id_ in (channel_id, *parents) if id_ is not None),
        age_restricted=bool(getattr(channel, "is_nsfw", lambda: False)()),
    )


async def buyer(interaction: Interaction, job_id: str) -> Requester:
    """Who orders a video again with a button, and where: in the channel of the click.

    Under a direct message that is where it was ordered first, for its own member only.
    Raises: NotPossible for anybody who can't order there, or where no video can be posted.
    """
    if is_elsewhere(interaction):
        return requester(interaction)
    if interaction.guild_id is None:
        job = await services_of(interaction).jobs.find(job_id)
        if job is None or job.user_id != interaction.user.id:
            raise NotPossible(Problem.VIDEO_NOT_KNOWN)
        if job.guild_id == OUTSIDE_SERVERS:
            return requester(interaction)
        return await _buyer_from_outside(interaction, job)
    refuse_where_unpostable(interaction)
    who = requester(interaction, admin=await manages(interaction))
    await refuse_where_disabled(interaction, who)
    return who


async def refuse_where_disabled(interaction: Interaction, who: Requester) -> None:
    """Refuses whom the server doesn't let order here. Raises: NotPossible.

    Discord guards the command that orders, but neither buttons nor other ways to order. Where the bot isn't a
    member, nobody but Discord decides.
    """
    if interaction.guild_id is None or is_elsewhere(interaction):
        return
    channel = interaction.channel
    parent_id = channel.parent_id if isinstance(channel, discord.Thread) else who.channel_id
    await _refuse_where_disabled(interaction, who, parent_id, interaction.permissions)


async def manages(interaction: Interaction) -> bool:
    """Like `may_manage`, for what others may do as well: False if it can't be found out."""
    try:
        return await may_manage(interaction, fresh=False)
    except NotPossible:
        return False


async def may_see_cost(interaction: Interaction) -> bool:
    """Whether the member may see amounts in USD: who manages the bot in this server, and its operator anywhere."""
    operator = services_of(interaction).operator
    return (operator is not None and interaction.user.id in operator.user_ids) or await manages(interaction)


async def _buyer_from_outside(interaction: Interaction, job: Job) -> Requester:
    try:
        guild, channel, me = await _place_of(interaction.client, job)
        member = await guild.fetch_member(interaction.user.id)
    except (discord.NotFound, discord.Forbidden):
        raise NotPossible(Said(_NOT_THERE)) from None
    if channel is None or not channel.permissions_for(member).use_application_commands:
        raise NotPossible(Said(_NOT_THERE))
    thread = isinstance(channel, discord.Thread)
    if not channel.permissions_for(member).view_channel or missing_permissions(
        channel.permissions_for(me), thread=thread
    ):
        raise NotPossible(Said(_NOT_THERE))
    who = _requester(guild.id, channel.id, channel, member, admin=False)
    parent_id = channel.parent_id if isinstance(channel, discord.Thread) else channel.id
    await _refuse_where_disabled(interaction, who, parent_id, channel.permissions_for(member))
    return who


async def _place_of(
    client: ServiceBot, job: Job
) -> tuple[discord.Guild, discord.abc.GuildChannel | discord.Thread | None, discord.Member]:
    """The job's server, its channel and the bot as a member; from Discord if another process has its shard.

    Direct messages come to one shard, whatever server they are about. Raises: NotPossible where the bot isn't;
    discord.NotFound, discord.Forbidden.
    """
    if is_own(client, job.guild_id):
        known = client.get_guild(job.guild_id)
        if known is None or known.unavailable:
            raise NotPossible(Said(_NOT_THERE))
        return known, known.get_channel_or_thread(job.channel_id), known.me
    assert client.user is not None  # noqa: S101 - it is logged in
    guild = await client.fetch_guild(job.guild_id, with_counts=False)
    channel = await guild.fetch_channel(job.channel_id)
    if isinstance(channel, discord.Thread):  # whose permissions are its parent's
        guild._add_channel(await guild.fetch_channel(channel.parent_id))  # type: ignore[arg-type]  # noqa: SLF001
    return guild, channel, await guild.fetch_member(client.user.id)


async def _refuse_where_disabled(
    interaction: Interaction, who: Requester, channel_id: int, permissions: discord.Permissions
) -> None:
    if not permissions.use_application_commands:
        raise NotPossible(Said(_DISABLED))
    command_permissions = services_of(interaction).command_permissions
    command_id = command_permissions.command_ids.get(ORDER_COMMAND)
    if command_id is None:
        return
    of_command, of_app = await asyncio.gather(
        command_permissions.of(who.guild_id, command_id, fresh=False),
        command_permissions.of(who.guild_id, interaction.application_id, fresh=False),
    )
    if of_command is None or of_app is None:
        raise NotPossible(Said(_UNCHECKED))
    if not decide_open(
        permissions,
        guild_id=who.guild_id,
        channel_id=channel_id,
        user_id=who.user_id,
        roles=who.roles,
        of_command=of_command,
        of_app=of_app,
    ):
        raise NotPossible(Said(_DISABLED))


def is_elsewhere(interaction: Interaction) -> bool:
    """Whether somebody uses the bot as their own app where the bot isn't: a server, or others' direct messages.

    A server that has the bot is never elsewhere, however the bot is used there, so its rules hold.
    """
    if interaction.guild_id is None:
        return interaction.context.private_channel
    # READY listed the servers of its shard before anything happened in them.
    if interaction.client.get_guild(interaction.guild_id) is not None:
        return False
    return interaction.is_user_integration() and not interaction.is_guild_integration()


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
    if interaction.guild_id is None or is_elsewhere(interaction):
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
        raise NotPossible(Said(_UNCHECKED))
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
