"""What a server's integration settings say about who can use the bot's commands.

Discord hides the admin commands from those without *Manage Server*, unless a server's integration settings say
otherwise. Buttons outlive permissions, so the bot reads these settings itself and decides as Discord does.
Settings for channels say where a command is offered, not who manages the bot, so they are left to Discord. If
Discord doesn't answer, its last answer still counts.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import discord

from bot.chat.posting import DISCORD_FAILED

log = logging.getLogger(__name__)

_FETCH_S = 1.5
"""How long Discord may take: an interaction has to be answered within 3 s."""
_KNOWN_S = 20.0
"""How long an answer is reused when somebody only types or orders a video."""
_KNOWN_MAX = 1000
_SILENT_S = 5.0
"""How long Discord isn't asked again after a failure, so that clicks in a row don't each wait for it."""

_MALFORMED = (KeyError, TypeError, ValueError)
"""Raised by a response that isn't built as Discord documents it."""

_NONE_SET = 10066
"""The code of "unknown application command permissions": nobody has set any. Another 404 may be a proxy's."""

_ROLE, _USER, _CHANNEL = 1, 2, 3
"""Types of overrides: see "Application Command Permission Type" in Discord's documentation."""


@dataclass(frozen=True, slots=True)
class Override:
    """One entry of a server's integration settings: a role, a member or a channel, allowed or denied."""

    kind: int
    target_id: int
    allowed: bool


_Key = tuple[int, int]
_T = TypeVar("_T")

Overrides = tuple[Override, ...]
Fetch = Callable[[int, int], Awaitable[Iterable[Mapping[str, Any]]]]
"""Fetches the overrides of a command (or, by its id, of the application) in a server, as Discord sends them."""


def decide(
    permissions: discord.Permissions,
    *,
    guild_id: int,
    user_id: int,
    roles: Collection[int],
    of_command: Overrides,
    of_app: Overrides,
) -> bool:
    """Whether a member may use a command that requires *Manage Server*, decided as Discord decides it.

    An administrator always may. Next comes an override of the command: one for the member, else those for their
    roles (an allow beats a deny), else the one for everyone. An override of the whole application can deny, but
    can't replace the required permission. Source: Discord's help center, "Updates to Command Permissions".
    """
    if permissions.administrator:
        return True
    by_command = _applied(of_command, guild_id=guild_id, user_id=user_id, roles=roles)
    if by_command is not None:
        return by_command
    if _applied(of_app, guild_id=guild_id, user_id=user_id, roles=roles) is False:
        return False
    return permissions.manage_guild


def decide_open(
    permissions: discord.Permissions,
    *,
    guild_id: int,
    channel_id: int,
    user_id: int,
    roles: Collection[int],
    of_command: Overrides,
    of_app: Overrides,
) -> bool:
    """Whether a member may use a command that is for everybody, in this channel (a thread's parent), as above.

    A channel's override of the command beats that of the application, and its own beats the one for all channels,
    whose id is the server's minus one. Source: Discord's documentation of application command permissions.
    """
    if permissions.administrator:
        return True
    by_channel = [
        allowed
        for overrides in (of_command, of_app)
        for target_id in (channel_id, guild_id - 1)
        if (allowed := _of_channel(overrides, target_id)) is not None
    ]
    if by_channel and not by_channel[0]:
        return False
    by_member = [_applied(each, guild_id=guild_id, user_id=user_id, roles=roles) for each in (of_command, of_app)]
    return next((allowed for allowed in by_member if allowed is not None), True)


def _of_channel(overrides: Overrides, target_id: int) -> bool | None:
    return next((it.allowed for it in overrides if it.kind == _CHANNEL and it.target_id == target_id), None)


def _applied(overrides: Overrides, *, guild_id: int, user_id: int, roles: Collection[int]) -> bool | None:
    """What the overrides say about a member; None if nothing."""
    allowed = {(it.kind, it.target_id): it.allowed for it in overrides}
    if (by_member := allowed.get((_USER, user_id))) is not None:
        return by_member
    by_role = [allowed[_ROLE, role] for role in roles if role != guild_id and (_ROLE, role) in allowed]
    return any(by_role) if by_role else allowed.get((_ROLE, guild_id))  # everyone's role has the server's id


class CommandPermissions:
    """The integration settings of servers as Discord reports them, cached for a few seconds.

    command_ids: the ids of the commands by name, known after the sync.
    """

    def __init__(
        self, fetch: Fetch, clock: Callable[[], float] = time.monotonic, *, timeout_s: float = _FETCH_S
    ) -> None:
        """timeout_s: how long Discord may take to answer."""
        self.command_ids: dict[str, int] = {}
        self._fetch = fetch
        self._clock = clock
        self._timeout_s = timeout_s
        self._known: dict[_Key, tuple[float, Overrides]] = {}
        self._failed_at: dict[_Key, float] = {}
        self._asking: dict[_Key, asyncio.Task[Overrides | None]] = {}

    async def of(self, guild_id: int, target_id: int, *, fresh: bool) -> Overrides | None:
        """The overrides of a command or of the application; None if Discord never reported them.

        fresh: ask Discord even if an answer is cached; if it fails, the last answer is used.
        """
        key = (guild_id, target_id)
        at, known = self._known.get(key, (None, None))
        if not fresh and at is not None and self._clock() - at < _KNOWN_S:
            return known
        failed_at = self._failed_at.get(key)
        if failed_at is not None and self._clock() - failed_at < _SILENT_S:
            return known
        # Concurrent callers wait for one request; a cancelled caller doesn't cancel it for the others.
        if key not in self._asking:
            self._asking[key] = asyncio.create_task(self._ask(key))
        return await asyncio.shield(self._asking[key])

    async def _ask(self, key: _Key) -> Overrides | None:
        try:
            async with asyncio.timeout(self._timeout_s):
                overrides = tuple(map(_override, await self._fetch(*key)))
        except (*DISCORD_FAILED, *_MALFORMED) as error:
            if isinstance(error, discord.NotFound) and error.code == _NONE_SET:
                return self._store(key, ())
            log.warning("the integration settings of server %d can't be read: %r", key[0], error)
            _remember(self._failed_at, key, self._clock())
            _, known = self._known.get(key, (None, None))
            return known
        finally:
            del self._asking[key]
        return self._store(key, overrides)

    def _store(self, key: _Key, overrides: Overrides) -> Overrides:
        self._failed_at.pop(key, None)
        _remember(self._known, key, (self._clock(), overrides))
        return overrides


def _remember(memory: dict[_Key, _T], key: _Key, value: _T) -> None:
    """Stores it as the newest entry; drops the oldest if there are too many."""
    memory.pop(key, None)
    if len(memory) >= _KNOWN_MAX:
        del memory[next(iter(memory))]
    memory[key] = value


def _override(sent: Mapping[str, Any]) -> Override:
    return Override(int(sent["type"]), int(sent["id"]), bool(sent["permission"]))


def asking(client: discord.Client) -> Fetch:
    """A `Fetch` through this client, which must be logged in by then."""

    async def fetch(guild_id: int, target_id: int) -> Iterable[Mapping[str, Any]]:
        if client.application_id is None:
            return ()
        sent = await client.http.get_application_command_permissions(client.application_id, guild_id, target_id)
        return sent["permissions"]

    return fetch
