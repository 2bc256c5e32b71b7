"""The state of the local Discord, and its rules for posting, editing and deleting messages.

Every change happens in one step of the event loop, so that requests are atomic, as on Discord.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

from discord import Permissions

from tests.discord_server.messages import COMPONENTS_V2, EPHEMERAL, LOADING, Attachment, Message, Upload
from tests.discord_server.models import (
    MEMBER_PERMISSIONS,
    PUBLIC_THREAD,
    TEXT,
    ApiError,
    Channel,
    Guild,
    Json,
    Member,
    Overwrite,
    Role,
    User,
    invalid_form,
    snowflake,
    timestamp,
)

T = TypeVar("T")
# "The past few minutes" is all that Discord promises (documentation, "Create Message").
NONCE_WINDOW_S = 300.0


class DiscordState:
    """All guilds, channels, messages and files. `cdn_url`: set by the server once it listens."""

    def __init__(self) -> None:
        self.cdn_url = ""
        self.bot = User("zoetrope", bot=True)
        self.guilds: dict[int, Guild] = {}
        self.channels: dict[int, Channel] = {}
        self.messages: dict[int, Message] = {}
        self.files: dict[str, Upload] = {}  # by their path on the CDN
        self._nonces: dict[tuple[int, int, str], tuple[float, Message]] = {}
        self._waiting: set[asyncio.Event] = set()

    def changed(self) -> None:
        """Wakes all waiters in `until`."""
        for event in self._waiting:
            event.set()

    async def until(self, condition: Callable[[], T | None], *, timeout_s: float = 60.0) -> T:
        """The result of `condition`, as soon as it is true; it is evaluated again after every change."""
        event = asyncio.Event()
        self._waiting.add(event)
        try:
            async with asyncio.timeout(timeout_s):
                while not (found := condition()):
                    event.clear()
                    await event.wait()
                return found
        finally:
            self._waiting.discard(event)

    def add_guild(
        self,
        name: str,
        *,
        premium_tier: int = 0,
        locale: str = "en-US",
        bot_permissions: Permissions = MEMBER_PERMISSIONS,
        shard: tuple[int, int] | None = None,
    ) -> Guild:
        """shard: its number and of how many, if that matters."""
        guild = Guild(name, User(f"owner of {name}"), premium_tier=premium_tier, locale=locale)
        while shard is not None and (guild.id >> 22) % shard[1] != shard[0]:
            guild.id -= 1 << 22  # created a millisecond earlier
        guild.roles[guild.id] = Role("@everyone", MEMBER_PERMISSIONS, id=guild.id)
        managed = Role(self.bot.name, bot_permissions, bot_id=self.bot.id)
        guild.roles[managed.id] = managed
        guild.members[guild.owner.id] = Member(guild.owner, [])
        guild.members[self.bot.id] = Member(self.bot, [managed])
        self.guilds[guild.id] = guild
        return guild

    def add_guild_without_bot(self, name: str, member: User) -> Guild:
        """A guild that the bot isn't in; its member brings it along as their own app."""
        guild = self.add_guild(name)
        del guild.members[self.bot.id], self.guilds[guild.id]
        guild.members[member.id] = Member(member, [])
        return guild

    def add_channel(
        self, guild: Guild, name: str, overwrites: Mapping[int, Overwrite] | None = None, *, kind: int = TEXT
    ) -> Channel:
        channel = Channel(name, guild, kind, overwrites=dict(overwrites or {}))
        guild.channels[channel.id] = self.channels[channel.id] = channel
        return channel

    def add_thread(self, parent: Channel, name: str, kind: int = PUBLIC_THREAD) -> Channel:
        """A thread that the bot is in: a forum's post is one, too."""
        thread = Channel(name, parent.guild, kind, parent, members={self.bot.id})
        parent.guild.threads[thread.id] = self.channels[thread.id] = thread
        return thread

    def add_member(self, guild: Guild, name: str, *, permissions: Permissions | None = None) -> User:
        """A new user in the guild; permissions: what their own role adds to @everyone's permissions."""
        user = User(name)
        roles = [] if permissions is None else [Role(f"role of {name}", permissions)]
        guild.roles |= {role.id: role for role in roles}
        guild.members[user.id] = Member(user, roles)
        return user

    def user(self, user_id: int) -> User:
        """Any user whom some guild knows."""
        for guild in self.guilds.values():
            if user_id in guild.members:
                return guild.members[user_id].user
        raise ApiError(404, 10013, "Unknown User")

    def direct(self, user: User) -> Channel:
        """The one channel of direct messages between the bot and the user."""
        for channel in self.channels.values():
            if channel.recipient is user:
                return channel
        between = Guild("", user)
        between.roles[between.id] = Role("@everyone", MEMBER_PERMISSIONS, id=between.id)
        between.members |= {one.id: Member(one, []) for one in (user, self.bot)}
        channel = Channel("", between, recipient=user)
        self.channels[channel.id] = channel
        return channel

    def guild(self, guild_id: int) -> Guild:
        if guild_id not in self.guilds:
            raise ApiError(404, 10004, "Unknown Guild")
        return self.guilds[guild_id]

    def channel(self, channel_id: int, **needs: bool) -> Channel:
        """The channel, if the bot sees it and has the permissions named as `needs`."""
        if channel_id not in self.channels:
            raise ApiError(404, 10003, "Unknown Channel")
        channel = self.channels[channel_id]
        granted = channel.permissions_of(self.bot)
        if not channel.admits(self.bot):
            raise ApiError(403, 50001, "Missing Access")
        if channel.parent is not None and needs.pop("send_messages", False):
            needs["send_messages_in_threads"] = True
        if not granted >= Permissions(**needs):
            raise ApiError(403, 50013, "Missing Permissions")
        return channel

    def message(self, channel_id: int, message_id: int) -> Message:
        channel = self.channel(channel_id)
        message = self.messages.get(message_id)
        if message is None or message.channel is not channel:
            raise ApiError(404, 10008, "Unknown Message")
        return message

    def store_file(self, folder: str, upload: Upload, description: str | None = None) -> Attachment:
        attachment_id = snowflake()
        path = f"{folder}/{attachment_id}/{upload.filename}"
        self.files[path] = upload
        return Attachment(attachment_id, upload, f"{self.cdn_url}/{path}", description)

    def send(self, channel: Channel, author: User, payload: Json, uploads: Mapping[str, Upload]) -> Message:
        """Posts a message, or returns the one already posted with the same enforced nonce."""
        nonce = payload.get("nonce")
        if nonce is not None and len(str(nonce)) > 25:
            raise invalid_form("nonce", "Must be 25 or fewer in length.")
        key = (author.id, channel.id, str(nonce))
        if nonce is not None and payload.get("enforce_nonce") and key in self._nonces:
            made_at, earlier = self._nonces[key]
            if time.monotonic() - made_at < NONCE_WINDOW_S:
                return earlier
        message = Message(channel, author, nonce=nonce, reference=payload.get("message_reference"))
        self.fill(message, payload, uploads)
        self.post(message)
        if nonce is not None:
            self._nonces[key] = (time.monotonic(), message)
        return message

    def forget_nonces(self) -> None:
        """Forgets all nonces, as Discord does after a few minutes."""
        self._nonces.clear()

    def post(self, message: Message) -> None:
        """Lets everybody in the channel see the message; an ephemeral one never gets here."""
        self.messages[message.id] = message
        self.changed()

    def fill(self, message: Message, payload: Json, uploads: Mapping[str, Upload]) -> None:
        """Writes a payload's content into a message, all or nothing. What the payload leaves out stays."""
        limit = message.channel.guild.upload_limit
        if any(len(upload.data) > limit for upload in uploads.values()):
            raise ApiError(413, 40005, "Request entity too large")
        content = message.content if "content" not in payload else payload["content"] or ""
        if len(content) > 2000:
            raise invalid_form("content", "Must be 2000 or fewer in length.")
        kept = message.flags & EPHEMERAL
        flags = kept | (payload.get("flags", message.flags) & ~(EPHEMERAL | LOADING))
        embeds = payload.get("embeds", message.embeds) or []
        components = payload.get("components", message.components) or []
        attachments = self._attachments(message, payload, uploads)
        if flags & COMPONENTS_V2 and (content or embeds):
            raise invalid_form("content", "The 'content' field cannot be used with MessageFlags.IS_COMPONENTS_V2")
        if not (content or embeds or components or attachments):
            raise ApiError(400, 50006, "Cannot send an empty message")
        message.content, message.flags, message.embeds = content, flags, embeds
        message.components, message.attachments = components, attachments
        message.allowed_mentions = payload.get("allowed_mentions", message.allowed_mentions)
        self.changed()

    def edit(self, message: Message, payload: Json, uploads: Mapping[str, Upload]) -> None:
        self.fill(message, payload, uploads)
        message.edited_at = timestamp()
        message.edits += 1
        self.changed()

    def delete(self, message: Message) -> None:
        self.messages.pop(message.id, None)
        self.changed()

    def _attachments(self, message: Message, payload: Json, uploads: Mapping[str, Upload]) -> list[Attachment]:
        listed = payload.get("attachments")
        described = {str(entry["id"]): entry.get("description") for entry in listed or []}
        kept = [held for held in message.attachments if listed is None or str(held.id) in described]
        folder = f"attachments/{message.channel.id}"
        return kept + [self.store_file(folder, upload, described.get(index)) for index, upload in uploads.items()]
