"""What the bot keeps of a server: the fields of Discord's payloads that the commands ask for, packed small.

A record is a small dict of its own. `payload` makes of it what discord.py reads as GUILD_CREATE, with constants
for what no command asks for. Roles and channels are complete, since permissions follow from all of them.
"""

import json
import zlib
from collections.abc import Iterable, Mapping
from typing import Any

import discord

Json = dict[str, Any]
Record = Json
"""name, owner, system (a channel's id), tier; roles, channels and threads by id; me: the bot as a member."""

_LIKELY = (
    b'{"name":"","owner":1,"system":null,"tier":0,"roles":{"1":["@everyone",2248473465835073,0,0],"2":["Moderator",'
    b'1099511627776,1,0],"3":["Zoetrope",274877958144,1,1]},"channels":{"1":[0,"general",null,0,[[1,0,0,1024]]],"2":'
    b'[4,"Text Channels",null,0,[]],"3":[2,"Voice Channels",null,0,[]],"4":[5,"announcements",1,0,[[1,0,0,2048]]],'
    b'"5":[0,"rules",1,0,[]],"6":[0,"welcome",1,0,[]],"7":[15,"help",1,0,[]]},"threads":{},"me":{"roles":["1"],'
    b'"joined_at":"2026-01-01T12:00:00.000000+00:00","communication_disabled_until":null}}'
)
"""A usual record. zlib takes from it what a record has in common with it."""

_NO_TIME = "1970-01-01T00:00:00+00:00"


def record_of(data: Mapping[str, Any], self_id: int) -> Record:
    """The record of a GUILD_CREATE. self_id: the bot's user."""
    record: Record = {"roles": {}, "channels": {}, "threads": {}, "me": None}
    update(record, data)
    for channel in data.get("channels", ()):
        set_channel(record, channel)
    for thread in data.get("threads", ()):
        set_thread(record, thread)
    for member in data.get("members", ()):
        if int(member["user"]["id"]) == self_id:
            set_me(record, member)
    return record


def update(record: Record, data: Mapping[str, Any]) -> None:
    """Takes over what GUILD_UPDATE says, which lists the roles but no channels."""
    record["name"], record["owner"] = data.get("name", ""), _id(data.get("owner_id"))
    record["system"], record["tier"] = _id(data.get("system_channel_id")), data.get("premium_tier", 0)
    record["roles"] = {}
    for role in data.get("roles", ()):
        set_role(record, role)


def set_role(record: Record, role: Mapping[str, Any]) -> None:
    """Adds or replaces a role."""
    of_bot = int(bool(role.get("managed")))
    record["roles"][str(role["id"])] = [role["name"], int(role["permissions"]), role.get("position", 0), of_bot]


def set_channel(record: Record, channel: Mapping[str, Any]) -> None:
    """Adds or replaces a channel."""
    overwrites = [
        [int(each["id"]), int(each["type"]), int(each.get("allow", 0)), int(each.get("deny", 0))]
        for each in channel.get("permission_overwrites") or ()
    ]
    of_channel = [channel["type"], channel.get("name", ""), _id(channel.get("parent_id"))]
    record["channels"][str(channel["id"])] = [*of_channel, int(bool(channel.get("nsfw"))), overwrites]


def remove_channel(record: Record, channel_id: str) -> None:
    """Removes a channel with its threads."""
    record["channels"].pop(channel_id, None)
    remove_threads(record, {int(channel_id)})


def set_thread(record: Record, thread: Mapping[str, Any]) -> None:
    """Adds or replaces a thread; an archived one is forgotten, as Discord doesn't list those."""
    metadata = thread.get("thread_metadata") or {}
    if metadata.get("archived"):
        record["threads"].pop(str(thread["id"]), None)
        return
    ids = [_id(thread.get("parent_id")), _id(thread.get("owner_id"))]
    locked = int(bool(metadata.get("locked")))
    record["threads"][str(thread["id"])] = [thread["type"], thread.get("name", ""), *ids, locked]


def remove_threads(record: Record, parent_ids: Iterable[int] | None) -> None:
    """Removes the threads of these channels; of all with None."""
    record["threads"] = {
        thread_id: thread
        for thread_id, thread in record["threads"].items()
        if parent_ids is not None and thread[2] not in parent_ids
    }


def set_me(record: Record, member: Mapping[str, Any]) -> None:
    """Takes over what is said of the bot's own membership."""
    kept = ("roles", "joined_at", "communication_disabled_until", "nick")
    record["me"] = {key: member[key] for key in kept if member.get(key) is not None}


def pack(record: Record) -> bytes:
    """A record as bytes."""
    packer = zlib.compressobj(zdict=_LIKELY)
    return packer.compress(json.dumps(record, separators=(",", ":")).encode()) + packer.flush()


def unpack(packed: bytes) -> Record:
    """The record in these bytes."""
    unpacker = zlib.decompressobj(zdict=_LIKELY)
    record: Record = json.loads(unpacker.decompress(packed))
    return record


def payload(guild_id: int, record: Record, me: Mapping[str, Any]) -> Json:
    """What discord.py reads as GUILD_CREATE. me: the bot as a user, in Discord's words."""
    member = record["me"] and {"roles": [], "flags": 0} | record["me"] | {"user": me}
    return {
        "id": str(guild_id),
        "name": record["name"],
        "unavailable": False,
        "owner_id": record["owner"],
        "system_channel_id": record["system"],
        "premium_tier": record["tier"],
        "roles": [_role(role_id, role) for role_id, role in record["roles"].items()],
        "channels": [_channel(channel_id, channel) for channel_id, channel in record["channels"].items()],
        "threads": [_thread(thread_id, thread) for thread_id, thread in record["threads"].items()],
        "members": [member] if member else [],
    }


def announcement_channel(guild_id: int, record: Record, self_id: int) -> int | None:
    """The server's system channel; None if there is none or the bot can't post there.

    The algorithm is Discord's (its documentation, "Permission Overwrites").
    """
    channel = record["channels"].get(str(record["system"]))
    if channel is None or record["me"] is None:
        return None
    own = {int(role_id) for role_id in record["me"].get("roles", ())}
    value = 0
    for role_id, (_, permissions, *_) in record["roles"].items():
        if int(role_id) == guild_id or int(role_id) in own:
            value |= permissions
    if not discord.Permissions(value).administrator:
        for targets in ({guild_id}, own, {self_id}):
            found = [(allow, deny) for target, _, allow, deny in channel[4] if target in targets]
            for _, deny in found:
                value &= ~deny
            for allow, _ in found:
                value |= allow
    may = discord.Permissions(value)
    granted = may.administrator or (may.view_channel and may.send_messages)
    return int(record["system"]) if granted else None


def _role(role_id: str, role: list[Any]) -> Json:
    name, permissions, position, managed = role
    own = {"id": role_id, "name": name, "permissions": str(permissions), "position": position}
    return own | {"managed": bool(managed), "hoist": False, "mentionable": False, "colors": {}}


def _channel(channel_id: str, channel: list[Any]) -> Json:
    kind, name, parent_id, nsfw, overwrites = channel
    keys = ("id", "type", "allow", "deny")
    return {
        "id": channel_id,
        "type": kind,
        "name": name,
        "parent_id": parent_id,
        "nsfw": bool(nsfw),
        "position": 0,
        "bitrate": 64_000,
        "user_limit": 0,
        "permission_overwrites": [dict(zip(keys, overwrite, strict=True)) for overwrite in overwrites],
    }


def _thread(thread_id: str, thread: list[Any]) -> Json:
    kind, name, parent_id, owner_id, locked = thread
    times = {"auto_archive_duration": 1440, "archive_timestamp": _NO_TIME}
    return {
        "id": thread_id,
        "type": kind,
        "name": name,
        "parent_id": parent_id or 0,
        "owner_id": owner_id or 0,
        "message_count": 0,
        "member_count": 0,
        "thread_metadata": {"archived": False, "locked": bool(locked)} | times,
    }


def _id(value: object) -> int | None:
    """A Discord id as a number, as it is packed smallest."""
    return None if value is None else int(str(value))
