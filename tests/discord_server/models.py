"""The local Discord's users, roles, guilds and channels, their JSON, and its errors.

Only what a bot of this kind meets. No I/O and no rules: what a request may change is the state's business.
"""

import itertools
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from discord import Permissions

Json = dict[str, Any]

DISCORD_EPOCH_MS = 1_420_070_400_000
MIB = 1 << 20
# Boost tier -> bytes that one file may have (discord.com/developers/docs/reference, "Uploading Files").
UPLOAD_LIMITS = {0: 10 * MIB, 1: 10 * MIB, 2: 50 * MIB, 3: 100 * MIB}
MEMBER_PERMISSIONS = Permissions(
    view_channel=True,
    send_messages=True,
    send_messages_in_threads=True,
    connect=True,
    embed_links=True,
    attach_files=True,
    read_message_history=True,
    use_application_commands=True,
)

TEXT, VOICE, ANNOUNCEMENT, STAGE, FORUM = 0, 2, 5, 13, 15
ANNOUNCEMENT_THREAD, PUBLIC_THREAD, PRIVATE_THREAD = 10, 11, 12
VOICE_KINDS = frozenset({VOICE, STAGE})

_counter = itertools.count()


def snowflake() -> int:
    """A fresh id that carries the present time, greater than all before it in this process."""
    milliseconds = int(time.time() * 1000) - DISCORD_EPOCH_MS
    return (milliseconds << 22) | (next(_counter) & 0x3FFFFF)


def timestamp() -> str:
    return datetime.now(UTC).isoformat()


class ApiError(Exception):
    """An error response. `code`: Discord's own JSON error code."""

    def __init__(self, status: int, code: int, message: str, errors: Json | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.body: Json = {"message": message, "code": code} | ({"errors": errors} if errors else {})


def invalid_form(where: str, problem: str) -> ApiError:
    errors = {where: {"_errors": [{"code": "INVALID", "message": problem}]}}
    return ApiError(400, 50035, "Invalid Form Body", errors)


@dataclass(eq=False)
class User:
    name: str
    bot: bool = False
    id: int = field(default_factory=snowflake)

    @property
    def mention(self) -> str:
        return f"<@{self.id}>"

    def json(self) -> Json:
        return {
            "id": str(self.id),
            "username": self.name,
            "discriminator": "0",
            "global_name": None,
            "avatar": None,
            "bot": self.bot,
            "public_flags": 0,
        }


@dataclass(eq=False)
class Role:
    name: str
    permissions: Permissions
    id: int = field(default_factory=snowflake)
    bot_id: int | None = None

    def json(self) -> Json:
        return {
            "id": str(self.id),
            "name": self.name,
            "color": 0,
            "colors": {"primary_color": 0, "secondary_color": None, "tertiary_color": None},
            "hoist": False,
            "position": 0 if self.bot_id is None else 1,
            "permissions": str(self.permissions.value),
            "managed": self.bot_id is not None,
            "mentionable": False,
            "flags": 0,
        } | ({"tags": {"bot_id": str(self.bot_id)}} if self.bot_id else {})


@dataclass(eq=False)
class Member:
    """timed_out_until: until when moderators let them only read."""

    user: User
    roles: list[Role]
    timed_out_until: datetime | None = None

    @property
    def is_timed_out(self) -> bool:
        return self.timed_out_until is not None and self.timed_out_until > datetime.now(UTC)

    def json(self) -> Json:
        return {
            "user": self.user.json(),
            "nick": None,
            "avatar": None,
            "roles": [str(role.id) for role in self.roles],
            "joined_at": "2024-05-01T12:00:00+00:00",
            "premium_since": None,
            "communication_disabled_until": self.timed_out_until and self.timed_out_until.isoformat(),
            "deaf": False,
            "mute": False,
            "pending": False,
            "flags": 0,
        }


@dataclass(eq=False)
class Guild:
    name: str
    owner: User
    premium_tier: int = 0
    locale: str = "en-US"
    upload_limit_bytes: int | None = None  # None: as the boost tier gives
    system_channel_id: int | None = None
    inviter: User | None = None  # who invited the bot, as the audit log has it
    id: int = field(default_factory=snowflake)
    roles: dict[int, Role] = field(default_factory=dict)
    members: dict[int, Member] = field(default_factory=dict)
    channels: dict[int, "Channel"] = field(default_factory=dict)
    threads: dict[int, "Channel"] = field(default_factory=dict)

    @property
    def everyone(self) -> Role:
        return self.roles[self.id]

    @property
    def upload_limit(self) -> int:
        return UPLOAD_LIMITS[self.premium_tier] if self.upload_limit_bytes is None else self.upload_limit_bytes

    def json(self) -> Json:
        return {
            "id": str(self.id),
            "name": self.name,
            "icon": None,
            "owner_id": str(self.owner.id),
            "premium_tier": self.premium_tier,
            "preferred_locale": self.locale,
            "verification_level": 0,
            "default_message_notifications": 1,
            "explicit_content_filter": 0,
            "mfa_level": 0,
            "nsfw_level": 0,
            "system_channel_flags": 0,
            "system_channel_id": None if self.system_channel_id is None else str(self.system_channel_id),
            "features": [],
            "emojis": [],
            "stickers": [],
            "roles": [role.json() for role in self.roles.values()],
        }

    def create_json(self, bot: User) -> Json:
        """The guild as GUILD_CREATE carries it to a bot without the members intent: only itself as a member."""
        return self.json() | {
            "unavailable": False,
            "large": False,
            "joined_at": "2024-05-01T12:00:00+00:00",
            "member_count": len(self.members),
            "members": [self.members[bot.id].json()],
            "channels": [channel.json() for channel in self.channels.values()],
            "threads": [thread.json() for thread in self.threads.values()],
            "presences": [],
            "voice_states": [],
            "stage_instances": [],
            "guild_scheduled_events": [],
            "soundboard_sounds": [],
        }


@dataclass(frozen=True)
class Overwrite:
    """What a channel allows or denies a role or a member."""

    allow: Permissions = field(default_factory=Permissions.none)
    deny: Permissions = field(default_factory=Permissions.none)


@dataclass(eq=False)
class Channel:
    """A guild's channel or thread; with a `recipient`, direct messages to them: its guild is then a formality.

    kind: Discord's number of its type. parent: of a thread, the channel whose overwrites apply to it. members: the
    ids of who is in a private thread. archived, locked: as a thread can be. A message wakes an archived one,
    where it is not locked as well. slow_mode_s: bots are exempt (documentation, "Channel Object").
    """

    name: str
    guild: Guild
    kind: int = TEXT
    parent: "Channel | None" = None
    members: set[int] = field(default_factory=set)
    slow_mode_s: int = 0
    id: int = field(default_factory=snowflake)
    overwrites: dict[int, Overwrite] = field(default_factory=dict)  # by the id of a role or user
    recipient: User | None = None
    archived: bool = False
    locked: bool = False

    def json(self) -> Json:
        if self.recipient is not None:
            return {"id": str(self.id), "type": 1, "recipients": [self.recipient.json()], "last_message_id": None}
        return self._thread_json() | {
            "id": str(self.id),
            "type": self.kind,
            "guild_id": str(self.guild.id),
            "name": self.name,
            "topic": None,
            "position": 0,
            "nsfw": False,
            "parent_id": None if self.parent is None else str(self.parent.id),
            "last_message_id": None,
            "rate_limit_per_user": self.slow_mode_s,
            "bitrate": 64_000,
            "user_limit": 0,
            "flags": 0,
            "permission_overwrites": [
                {
                    "id": str(target),
                    "type": 0 if target in self.guild.roles else 1,
                    "allow": str(overwrite.allow.value),
                    "deny": str(overwrite.deny.value),
                }
                for target, overwrite in self.overwrites.items()
            ],
        }

    def _thread_json(self) -> Json:
        if self.parent is None:
            return {}
        metadata = {
            "archived": self.archived,
            "locked": self.locked,
            "auto_archive_duration": 1440,
            "archive_timestamp": timestamp(),
        }
        return {
            "owner_id": str(self.guild.owner.id),
            "message_count": 0,
            "member_count": len(self.members),
            "thread_metadata": metadata,
        }

    def admits(self, user: User) -> bool:
        """Whether the user sees what is posted here, which takes more than a permission in two kinds of channels.

        Text in voice needs CONNECT (discord-api-docs PR 5111), and a private thread a membership.
        """
        granted = self.permissions_of(user)
        if self.kind in VOICE_KINDS and not granted.connect:
            return False
        if self.kind == PRIVATE_THREAD and user.id not in self.members and not granted.manage_threads:
            return False
        return granted.view_channel

    def permissions_of(self, user: User) -> Permissions:
        """Discord's own algorithm (discord.com/developers/docs/topics/permissions, "Permission Overwrites")."""
        member = self.guild.members.get(user.id)
        if member is None:
            return Permissions.none()
        value = self.guild.everyone.permissions.value
        for role in member.roles:
            value |= role.permissions.value
        if user is self.guild.owner or Permissions(value).administrator:
            return Permissions.all()
        groups = ([self.guild.id], [role.id for role in member.roles], [user.id])
        for group in groups:
            overwrites = self.overwrites if self.parent is None else self.parent.overwrites
            found = [overwrites[target] for target in group if target in overwrites]
            for overwrite in found:
                value &= ~overwrite.deny.value
            for overwrite in found:
                value |= overwrite.allow.value
        if member.is_timed_out:
            value &= Permissions(view_channel=True, read_message_history=True).value
        return Permissions(value) if Permissions(value).view_channel else Permissions.none()
