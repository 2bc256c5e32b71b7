"""Who may manage the bot in a server: asked before each admin command, and again at each click.

Discord hides the admin commands from those without *Manage Server*, unless a server's integration settings say
otherwise. The bot looks for itself, in the same order as Discord, because buttons stay where they are while rights
change. Settings for channels say where a command is offered, not who manages: they are left to Discord. Where
Discord does not answer, what it said last holds; where it never said anything, a click waits for it.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import discord

from bot.chat.messages.reason_texts import Said
from bot.chat.permissions.channel_checks import refuse_where_unknown
from bot.chat.posting import DISCORD_FAILED
from bot.domain.errors import NotPossible
from bot.services.admin.audited import Admin

log = logging.getLogger(__name__)

ADMIN_COMMAND = "video-admin"

_FOR_ADMINS = (
    "That's for people who manage bots in this server: you need *Manage Server*, or an admin has to allow you "
    f"`/{ADMIN_COMMAND}` in Server Settings → Integrations."
)
"""The command whose integration settings say who manages the bot."""

_FETCH_S = 1.5
"""How long Discord may take: an interaction has to be answered within 3 s."""
_KNOWN_S = 20.0
"""How long an answer of Discord is taken for true where somebody only types or orders."""
_KNOWN_MAX = 1000
_SILENT_S = 5.0
"""How long Discord is left alone after it has failed: clicks in a row don't each wait for it."""
_VERDICT = "may_manage"

_CLICKS = frozenset({discord.InteractionType.component, discord.InteractionType.modal_submit})
"""What Discord lets everybody do who sees it; commands it keeps from those who may not by itself."""

_ODD = (KeyError, TypeError, ValueError)
"""What an answer raises that is not built as Discord documents it."""

_ROLE, _USER = 1, 2
"""Types of overrides: see "Application Command Permission Type" in Discord's documentation."""


@dataclass(frozen=True, slots=True)
class Override:
    """One line of a server's integration settings: a role or a member, allowed or denied."""

    kind: int
    target_id: int
    allowed: bool


_Key = tuple[int, int]
_T = TypeVar("_T")

Overrides = tuple[Override, ...]
Fetch = Callable[[int, int], Awaitable[Iterable[Mapping[str, Any]]]]
"""Asks Discord for the overrides of a command (or, by its id, of the application) in a server; raw, as sent."""


def decide(
    permissions: discord.Permissions,
    *,
    guild_id: int,
    user_id: int,
    roles: Collection[int],
    of_command: Overrides = (),
    of_app: Overrides = (),
) -> bool:
    """Whether a member may use a command that asks for *Manage Server*, as Discord itself decides it.

    An administrator always may. What is said of the command beats all: of the member, else of their roles (an
    allow beats a deny), else of everyone. The same said of the whole application can deny, but not allow what
    the command asks a permission for. Source: Discord's help center, "Updates to Command Permissions".
    """
    if permissions.administrator:
        return True
    said = _said(of_command, guild_id=guild_id, user_id=user_id, roles=roles)
    if said is not None:
        return said
    if _said(of_app, guild_id=guild_id, user_id=user_id, roles=roles) is False:
        return False
    return permissions.manage_guild


def _said(overrides: Overrides, *, guild_id: int, user_id: int, roles: Collection[int]) -> bool | None:
    theirs = [it.allowed for it in overrides if it.kind == _USER and it.target_id == user_id]
    if theirs:
        return all(theirs)
    of_roles = [
        it.allowed for it in overrides if it.kind == _ROLE and it.target_id in roles and it.target_id != guild_id
    ]
    if of_roles:
        return any(of_roles)
    of_everyone = [it.allowed for it in overrides if it.kind == _ROLE and it.target_id == guild_id]
    return all(of_everyone) if of_everyone else None


class Integrations:
    """What servers' integration settings say, as Discord tells it; remembered for moments only.

    command_ids: the ids of the commands by name, known once they are synced.
    """

    def __init__(self, fetch: Fetch, clock: Callable[[], float] = time.monotonic) -> None:
        self.command_ids: dict[str, int] = {}
        self._fetch = fetch
        self._clock = clock
        self._known: dict[_Key, tuple[float, Overrides]] = {}
        self._failed_at: dict[_Key, float] = {}
        self._asking: dict[_Key, asyncio.Task[Overrides | None]] = {}

    async def of(self, guild_id: int, target_id: int, *, fresh: bool) -> Overrides | None:
        """The overrides of a command or of the application; None where Discord never told them.

        fresh: ask Discord, whatever is remembered; where it can't be asked, what it said last is taken.
        """
        key = (guild_id, target_id)
        at, known = self._known.get(key, (None, None))
        if not fresh and at is not None and self._clock() - at < _KNOWN_S:
            return known
        failed_at = self._failed_at.get(key)
        if failed_at is not None and self._clock() - failed_at < _SILENT_S:
            return known
        # All who ask at once wait for one answer; one of them who is cancelled takes it from nobody else.
        if key not in self._asking:
            self._asking[key] = asyncio.create_task(self._ask(key))
        return await asyncio.shield(self._asking[key])

    async def _ask(self, key: _Key) -> Overrides | None:
        try:
            async with asyncio.timeout(_FETCH_S):
                overrides = tuple(map(_override, await self._fetch(*key)))
        except discord.NotFound:  # "unknown application command permissions": nobody has set any
            overrides = ()
        except (*DISCORD_FAILED, *_ODD) as error:
            log.warning("the integration settings of server %d can't be read: %r", key[0], error)
            _remember(self._failed_at, key, self._clock())
            _, known = self._known.get(key, (None, None))
            return known
        finally:
            del self._asking[key]
        self._failed_at.pop(key, None)
        _remember(self._known, key, (self._clock(), overrides))
        return overrides


def _remember(memory: dict[_Key, _T], key: _Key, value: _T) -> None:
    """Writes it down as the latest; where there is too much, the oldest goes."""
    memory.pop(key, None)
    if len(memory) >= _KNOWN_MAX:
        del memory[next(iter(memory))]
    memory[key] = value


def _override(sent: Mapping[str, Any]) -> Override:
    return Override(int(sent["type"]), int(sent["id"]), bool(sent["permission"]))


def asking(client: discord.Client) -> Fetch:
    """Asks Discord through this client, which is logged in by then."""

    async def fetch(guild_id: int, target_id: int) -> Iterable[Mapping[str, Any]]:
        if client.application_id is None:
            return ()
        sent = await client.http.get_application_command_permissions(client.application_id, guild_id, target_id)
        return sent["permissions"]

    return fetch


async def may_manage(interaction: discord.Interaction[Any], *, fresh: bool = True) -> bool:
    """Whether the one who acts may manage the bot in this server, at this moment.

    fresh: ask Discord; where little depends on it, what was true some seconds ago will do.
    Where Discord never told who manages, *Manage Server* alone decides about a command, which Discord guards too.
    Raises: NotPossible for a click in that case, and where the member's roles are not known.
    """
    if interaction.guild_id is None:
        return False
    if (known := interaction.extras.get(_VERDICT)) is not None:  # asked already: one interaction is one moment
        return bool(known)
    verdict = interaction.permissions.administrator or await _by_settings(
        interaction, interaction.guild_id, fresh=fresh
    )
    interaction.extras[_VERDICT] = verdict
    return verdict


async def _by_settings(interaction: discord.Interaction[Any], guild_id: int, *, fresh: bool) -> bool:
    refuse_where_unknown(interaction)
    integrations: Integrations = interaction.client.integrations
    command_id = integrations.command_ids.get(ADMIN_COMMAND)
    of_command: Overrides | None = None
    of_app: Overrides | None = None
    if command_id is not None:
        of_command, of_app = await asyncio.gather(
            integrations.of(guild_id, command_id, fresh=fresh),
            integrations.of(guild_id, interaction.application_id, fresh=fresh),
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


async def admin_of(interaction: discord.Interaction[Any]) -> Admin:
    """The admin who acts. Raises: NotPossible for somebody who may not manage the bot here."""
    fresh = interaction.type is not discord.InteractionType.autocomplete
    if interaction.guild_id is None or not await may_manage(interaction, fresh=fresh):
        raise NotPossible(Said(_FOR_ADMINS))
    return Admin(interaction.guild_id, interaction.user.id)
