"""Keeps the servers of a large bot in little memory, behind discord.py's own interface.

discord.py holds an object for each channel and role of each server. Commands ask for those of one server at a
time. So each server is kept as a packed record (`bot.chat.transport.guild_records`), Discord's events change the
record, and `get_guild` makes a `discord.Guild` of it; those that were asked for last stay as they are.

It also says which servers READY listed, before any of them has arrived: discord.py's `ready` comes two seconds
after the last server, and in any pause of that length before.
"""

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Callable, Iterator, MutableMapping
from typing import Any

import discord
from discord.state import AutoShardedConnectionState

from bot.chat.transport import guild_records as records
from bot.domain.shards import Shard

UNPACKED_MAX = 128
"""How many servers are kept as objects, those used last."""

LISTED, DESCRIBED = "shard_listed", "guild_described"
"""Events of this module. `on_shard_listed(shard, guild_ids)`: READY listed all servers of a shard, of which none
has to be available. `on_guild_described(guild_id, name, channel_id)`: a server's name, or the system channel where
the bot can post, may have changed."""

_UNUSED = (
    *("CHANNEL_PINS_UPDATE", "WEBHOOKS_UPDATE", "INVITE_CREATE", "INVITE_DELETE", "VOICE_STATE_UPDATE"),
    *("THREAD_MEMBER_UPDATE", "THREAD_MEMBERS_UPDATE", "GUILD_EMOJIS_UPDATE", "GUILD_STICKERS_UPDATE"),
    *("STAGE_INSTANCE_CREATE", "STAGE_INSTANCE_UPDATE", "STAGE_INSTANCE_DELETE"),
    *("GUILD_SOUNDBOARD_SOUND_CREATE", "GUILD_SOUNDBOARD_SOUND_UPDATE", "GUILD_SOUNDBOARD_SOUND_DELETE"),
    *("GUILD_SOUNDBOARD_SOUNDS_UPDATE", "GUILD_INTEGRATIONS_UPDATE", "GUILD_SCHEDULED_EVENT_CREATE"),
    *("GUILD_SCHEDULED_EVENT_UPDATE", "GUILD_SCHEDULED_EVENT_DELETE"),
)
"""Events about what isn't kept. discord.py ignores events that it has no parser for."""

Json = dict[str, Any]


class PackedGuilds(MutableMapping[int, discord.Guild]):
    """Takes the place of discord.py's dict of servers by id.

    guild_of: makes the object of a server from its record; without one, that of an unavailable server.
    """

    def __init__(
        self, guild_of: Callable[[int, records.Record | None], discord.Guild], unpacked_max: int = UNPACKED_MAX
    ) -> None:
        self._guild_of = guild_of
        self._unpacked_max = unpacked_max
        self._packed: dict[int, bytes | None] = {}
        self._unpacked: OrderedDict[int, discord.Guild] = OrderedDict()

    def __getitem__(self, guild_id: int) -> discord.Guild:
        packed = self._packed[guild_id]
        guild = self._unpacked.get(guild_id)
        if guild is None:
            guild = self._guild_of(guild_id, None if packed is None else records.unpack(packed))
            self._unpacked[guild_id] = guild
            if len(self._unpacked) > self._unpacked_max:
                self._unpacked.popitem(last=False)
        self._unpacked.move_to_end(guild_id)
        return guild

    def __setitem__(self, guild_id: int, guild: discord.Guild) -> None:
        """discord.py adds a server that READY lists, of which nothing is known yet."""
        self._store(guild_id, None)

    def __delitem__(self, guild_id: int) -> None:
        del self._packed[guild_id]
        self._unpacked.pop(guild_id, None)

    def __contains__(self, guild_id: object) -> bool:
        return guild_id in self._packed

    def __iter__(self) -> Iterator[int]:
        return iter(self._packed)

    def __len__(self) -> int:
        return len(self._packed)

    def record(self, guild_id: int) -> records.Record | None:
        """What is known of a server; None if it is unavailable or the bot isn't there."""
        packed = self._packed.get(guild_id)
        return None if packed is None else records.unpack(packed)

    def keep(self, guild_id: int, record: records.Record) -> None:
        """Keeps what is known of a server."""
        self._store(guild_id, records.pack(record))

    def forget(self, guild_id: int) -> None:
        """The server is unavailable: it is sent again when that ends."""
        self._store(guild_id, None)

    def _store(self, guild_id: int, packed: bytes | None) -> None:
        self._packed[guild_id] = packed
        self._unpacked.pop(guild_id, None)


class SlimState(AutoShardedConnectionState[Any]):
    """What discord.py knows of Discord, with servers kept small, and no members but the bot itself."""

    packed: PackedGuilds

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        for event in _UNUSED:
            self.parsers.pop(event, None)

    def clear(self, *, views: bool = True) -> None:
        """Called by discord.py, first when it is made."""
        super().clear(views=views)
        self.packed = PackedGuilds(self._guild_of)
        self._guilds = self.packed  # type: ignore[assignment]  # it behaves as a dict

    def _guild_of(self, guild_id: int, record: records.Record | None) -> discord.Guild:
        if record is None or self.user is None:
            return discord.Guild._create_unavailable(state=self, guild_id=guild_id, data=None)  # noqa: SLF001
        me = {
            "id": str(self.user.id),
            "username": self.user.name,
            "discriminator": "0",
            "avatar": None,
            "bot": True,
        }
        return discord.Guild(data=records.payload(guild_id, record, me), state=self)  # type: ignore[arg-type]

    def parse_ready(self, data: Any) -> None:
        """READY lists the shard's servers. Others of that shard were left while it was disconnected."""
        shard = Shard(*data.setdefault("shard", [0, 1]))
        for guild_id in [guild_id for guild_id in self.packed if shard.holds(guild_id)]:
            del self.packed[guild_id]
        super().parse_ready(data)
        self.dispatch(LISTED, shard, frozenset(int(guild["id"]) for guild in data["guilds"]))

    async def _delay_shard_ready(self, shard_id: int) -> None:
        """Called by discord.py after READY. Unlike its own, it doesn't hold servers back until then."""
        arrived = self._ready_states[shard_id]
        with contextlib.suppress(asyncio.CancelledError):
            with contextlib.suppress(TimeoutError):
                while True:
                    async with asyncio.timeout(self.guild_ready_timeout):
                        await arrived.get()
            self._ready_states.pop(shard_id, None)
            self.dispatch("shard_ready", shard_id)

    def parse_guild_create(self, data: Any) -> None:
        """A server that READY listed, that is available again or that the bot joined."""
        if data.get("unavailable") is True:
            return
        guild_id = int(data["id"])
        self._keep(guild_id, records.record_of(data, self.self_id or 0), changed=True)
        named: Any = {"id": guild_id, "name": data.get("name", "")}
        guild = discord.Guild(data=named, state=self)
        self._add_ready_state(guild)
        self.dispatch("guild_available" if data.get("unavailable") is False else "guild_join", guild)

    def parse_guild_update(self, data: Any) -> None:
        """A server's name, boosts, roles or system channel changed."""
        self._change(data["id"], lambda record: records.update(record, data))

    def parse_guild_delete(self, data: Any) -> None:
        """The bot left a server, or it is unavailable."""
        guild_id = int(data["id"])
        if guild_id in self.packed and data.get("unavailable", False):
            self.packed.forget(guild_id)
            return
        super().parse_guild_delete(data)

    def parse_guild_role_create(self, data: Any) -> None:
        """A new role."""
        self._change(data["guild_id"], lambda record: records.set_role(record, data["role"]))

    parse_guild_role_update = parse_guild_role_create

    def parse_guild_role_delete(self, data: Any) -> None:
        """A role is gone."""
        self._change(data["guild_id"], lambda record: record["roles"].pop(str(data["role_id"]), None))

    def parse_channel_create(self, data: Any) -> None:
        """A new channel, or one with other settings."""
        if data.get("guild_id") is not None:
            self._change(data["guild_id"], lambda record: records.set_channel(record, data))

    parse_channel_update = parse_channel_create

    def parse_channel_delete(self, data: Any) -> None:
        """A channel is gone, and its threads."""
        if data.get("guild_id") is not None:
            self._change(data["guild_id"], lambda record: records.remove_channel(record, str(data["id"])))

    def parse_thread_create(self, data: Any) -> None:
        """A thread that the bot can see, new or changed."""
        self._change(data["guild_id"], lambda record: records.set_thread(record, data))

    parse_thread_update = parse_thread_create

    def parse_thread_delete(self, data: Any) -> None:
        """A thread is gone."""
        self._change(data["guild_id"], lambda record: record["threads"].pop(str(data["id"]), None))

    def parse_thread_list_sync(self, data: Any) -> None:
        """All threads of some channels, or of all channels."""
        channel_ids = data.get("channel_ids")

        def change(record: records.Record) -> None:
            records.remove_threads(record, None if channel_ids is None else {int(each) for each in channel_ids})
            for thread in data.get("threads", ()):
                records.set_thread(record, thread)

        self._change(data["guild_id"], change)

    def parse_guild_member_update(self, data: Any) -> None:
        """The bot's own roles, or until when moderators have timed it out; others are not kept."""
        if int(data["user"]["id"]) == self.self_id:
            self._change(data["guild_id"], lambda record: records.set_me(record, data))

    def _change(self, guild_id: Any, change: Callable[[records.Record], object]) -> None:
        record = self.packed.record(int(guild_id))
        if record is None:
            return
        before = self._description(int(guild_id), record)
        change(record)
        self._keep(int(guild_id), record, changed=self._description(int(guild_id), record) != before)

    def _keep(self, guild_id: int, record: records.Record, *, changed: bool) -> None:
        self.packed.keep(guild_id, record)
        if changed:
            self.dispatch(DESCRIBED, guild_id, *self._description(guild_id, record))

    def _description(self, guild_id: int, record: records.Record) -> tuple[str, int | None]:
        """The name, and the channel for announcements."""
        return record["name"], records.announcement_channel(guild_id, record, self.self_id or 0)
