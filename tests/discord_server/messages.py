"""The local Discord's messages with their files, and their JSON."""

import mimetypes
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

from tests.discord_server.models import DISCORD_EPOCH_MS, Channel, Json, User, snowflake

EPHEMERAL = 1 << 6
LOADING = 1 << 7
COMPONENTS_V2 = 1 << 15


@dataclass(frozen=True, eq=False)
class Upload:
    """A file to upload. flags: as Discord lists them with the attachment."""

    filename: str
    data: bytes
    content_type: str | None = None
    flags: int = 0


@dataclass(frozen=True, eq=False)
class Attachment:
    """A stored file; `url` points to the local CDN."""

    id: int
    upload: Upload
    url: str
    description: str | None = None

    def json(self) -> Json:
        guessed = mimetypes.guess_type(self.upload.filename)[0]
        return {
            "id": str(self.id),
            "filename": self.upload.filename,
            "size": len(self.upload.data),
            "url": self.url,
            "proxy_url": self.url,
            "content_type": self.upload.content_type or guessed or "application/octet-stream",
            "flags": self.upload.flags,
        } | ({"description": self.description} if self.description else {})


@dataclass(eq=False)
class Message:
    channel: Channel
    author: User
    id: int = field(default_factory=snowflake)
    type: int = 0
    content: str = ""
    flags: int = 0
    nonce: str | int | None = None
    embeds: list[Json] = field(default_factory=list)
    components: list[Json] = field(default_factory=list)
    attachments: list[Attachment] = field(default_factory=list)
    allowed_mentions: Json | None = None
    reference: Json | None = None
    interaction: Json | None = None  # `interaction_metadata`, where it answers an interaction
    edited_at: str | None = None
    edits: int = 0

    @property
    def ephemeral(self) -> bool:
        return bool(self.flags & EPHEMERAL)

    @property
    def loading(self) -> bool:
        return bool(self.flags & LOADING)

    @property
    def shown(self) -> str:
        """The text of the message, whether it is an ordinary one or one of components."""
        return self.content or "\n".join(part["content"] for part in walk(self.components) if "content" in part)

    @property
    def has_video(self) -> bool:
        """Whether a video is attached; a status card has a picture."""
        return any(attachment.upload.filename.endswith(".mp4") for attachment in self.attachments)

    @property
    def is_status_card(self) -> bool:
        """Whether it shows what a job in progress waits for."""
        return any(custom_id.startswith("zoetrope:cancel:") for custom_id in self.custom_ids)

    @property
    def custom_ids(self) -> list[str]:
        return [part["custom_id"] for part in walk(self.components) if "custom_id" in part]

    @property
    def pinged(self) -> list[User]:
        """Whom of the guild the content mentions and `allowed_mentions` lets it ping."""
        mentioned = [
            member.user
            for member in self.channel.guild.members.values()
            if f"<@{member.user.id}>" in self.content or f"<@!{member.user.id}>" in self.content
        ]
        if self.allowed_mentions is None or "users" in self.allowed_mentions.get("parse", []):
            return mentioned
        allowed = {int(user) for user in self.allowed_mentions.get("users", [])}
        return [user for user in mentioned if user.id in allowed]

    @property
    def pings_everyone(self) -> bool:
        wanted = "@everyone" in self.content or "@here" in self.content
        allowed = self.allowed_mentions is None or "everyone" in self.allowed_mentions.get("parse", [])
        may = self.channel.permissions_of(self.author).mention_everyone
        return wanted and allowed and may

    def json(self) -> Json:
        answer: Json = {
            "id": str(self.id),
            "channel_id": str(self.channel.id),
            "type": self.type,
            "author": self.author.json(),
            "content": self.content,
            "timestamp": datetime.fromtimestamp(((self.id >> 22) + DISCORD_EPOCH_MS) / 1000, tz=UTC).isoformat(),
            "edited_timestamp": self.edited_at,
            "tts": False,
            "pinned": False,
            "flags": self.flags,
            "mention_everyone": self.pings_everyone,
            "mentions": [user.json() for user in self.pinged],
            "mention_roles": [],
            "embeds": self.embeds,
            "components": self.components,
            "attachments": [attachment.json() for attachment in self.attachments],
        }
        if self.nonce is not None:
            answer["nonce"] = self.nonce
        if self.reference is not None:
            answer["message_reference"] = self.reference
        if self.interaction is not None:
            answer |= {"interaction_metadata": self.interaction, "webhook_id": str(self.author.id)}
            answer["application_id"] = str(self.author.id)
        return answer


def walk(components: list[Json]) -> Iterator[Json]:
    """All components, including those inside rows, containers and sections."""
    for part in components:
        yield part
        yield from walk(part.get("components", []))
        for single in ("component", "accessory"):
            if single in part:
                yield from walk([part[single]])
