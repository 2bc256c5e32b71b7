"""Interactions: a member's action reaches the bot over the gateway, and the bot responds over REST.

discord.com/developers/docs/interactions/receiving-and-responding. An interaction's token answers for fifteen
minutes on the real Discord; here until the test calls `expire`.
"""

import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TypeVar

from tests.discord_server.messages import EPHEMERAL, LOADING, Message, Upload
from tests.discord_server.models import ApiError, Channel, Json, User, snowflake
from tests.discord_server.state import DiscordState

T = TypeVar("T")


class Kind(IntEnum):
    COMMAND = 2
    COMPONENT = 3
    AUTOCOMPLETE = 4
    MODAL_SUBMIT = 5


class Callback(IntEnum):
    """The type of a bot's first response."""

    MESSAGE = 4
    DEFERRED_MESSAGE = 5
    DEFERRED_UPDATE = 6
    UPDATE_MESSAGE = 7
    AUTOCOMPLETE = 8
    MODAL = 9


AT_WORK = re.compile(r"One moment…$|looking at your picture")
"""What an answer says only for as long as an order is being checked."""


@dataclass(eq=False)
class Interaction:
    """A member's action, and everything the bot has responded so far.

    original: the first answer's message; for a component, once answered by an update, the message it stands on.
    followups: the messages after it, oldest first. choices: an autocompletion's. modal: the form asked for.
    """

    state: DiscordState
    kind: Kind
    channel: Channel
    user: User
    data: Json
    clicked: Message | None = None
    id: int = field(default_factory=snowflake)
    token: str = field(default_factory=lambda: secrets.token_urlsafe(48))
    callback: Callback | None = None
    original: Message | None = None
    followups: list[Message] = field(default_factory=list)
    choices: list[Json] | None = None
    modal: Json | None = None
    expired: bool = False

    def expire(self) -> None:
        """Expires the token, as Discord does after fifteen minutes (or three seconds without a response)."""
        self.expired = True

    async def acknowledged(self, *, timeout_s: float = 60.0) -> Callback:
        """The first answer's type, once there is one."""
        return await self.until(lambda: self.callback, timeout_s=timeout_s)

    async def answer(self, *, timeout_s: float = 60.0) -> Message:
        """The first response's message, once the bot is done with it: a deferred one when it has been filled."""
        return await self.until(lambda: self.finished, timeout_s=timeout_s)

    async def until(self, condition: Callable[[], T | None], *, timeout_s: float = 60.0) -> T:
        """The result of `condition`, as soon as it is true."""
        return await self.state.until(condition, timeout_s=timeout_s)

    @property
    def finished(self) -> Message | None:
        """The first response's message, unless the bot is still at work on what was asked for."""
        if self.original is None or self.original.loading or AT_WORK.search(self.original.content):
            return None
        return self.original

    @property
    def owners(self) -> Json:
        """Who installed the app: the server, or where it isn't a member, the user for themself."""
        guild = self.channel.guild
        is_member = self.state.bot.id in guild.members
        return {"0": str(guild.id)} if is_member else {"1": str(self.user.id)}

    def metadata(self) -> Json:
        owners = self.owners
        user = self.user.json()
        return {"id": str(self.id), "type": int(self.kind), "user": user, "authorizing_integration_owners": owners}

    def create_json(self) -> Json:
        """INTERACTION_CREATE's data."""
        guild, bot = self.channel.guild, self.state.bot
        permissions = str(self.channel.permissions_of(self.user).value)
        payload = {
            "id": str(self.id),
            "application_id": str(bot.id),
            "type": int(self.kind),
            "token": self.token,
            "version": 1,
            "data": self.data,
            "guild_id": str(guild.id),
            "guild": {"id": str(guild.id), "locale": guild.locale, "features": []},
            "channel_id": str(self.channel.id),
            "channel": self.channel.json() | {"permissions": permissions},
            "member": guild.members[self.user.id].json() | {"permissions": permissions},
            "app_permissions": str(self.channel.permissions_of(bot).value),
            "locale": "en-US",
            "guild_locale": guild.locale,
            "entitlements": [],
            "authorizing_integration_owners": self.owners,
            "context": 0,
            "attachment_size_limit": guild.upload_limit,
        }
        if self.clicked is not None:
            payload["message"] = self.clicked.json()
        return payload


class Interactions:
    """All interactions, and the rules for responding to them."""

    def __init__(self, state: DiscordState) -> None:
        self._state = state
        self.all: dict[int, Interaction] = {}

    def begin(
        self, kind: Kind, channel: Channel, user: User, data: Json, clicked: Message | None = None
    ) -> Interaction:
        interaction = Interaction(self._state, kind, channel, user, data, clicked)
        self.all[interaction.id] = interaction
        return interaction

    def respond(self, interaction_id: int, token: str, payload: Json, uploads: Mapping[str, Upload]) -> Json:
        """The first answer. Raises ApiError as Discord does for a dead token or a second one."""
        interaction = self.all.get(interaction_id)
        if interaction is None or interaction.token != token or interaction.expired:
            raise ApiError(404, 10062, "Unknown interaction")
        if interaction.callback is not None:
            raise ApiError(400, 40060, "Interaction has already been acknowledged.")
        callback, data = Callback(payload["type"]), payload.get("data") or {}
        match callback:
            case Callback.MESSAGE:
                interaction.original = self._respond_with(interaction, data, uploads)
            case Callback.DEFERRED_MESSAGE:
                flags = data.get("flags", 0) & EPHEMERAL | LOADING
                interaction.original = self._new_message(interaction, flags)
                self._publish(interaction.original)
            case Callback.DEFERRED_UPDATE:
                interaction.original = interaction.clicked
            case Callback.UPDATE_MESSAGE if interaction.clicked is not None:
                self._state.edit(interaction.clicked, data, uploads)
                interaction.original = interaction.clicked
            case Callback.AUTOCOMPLETE:
                interaction.choices = data["choices"]
            case Callback.MODAL:
                interaction.modal = data
            case _:
                raise ApiError(400, 50035, "Invalid Form Body")
        interaction.callback = callback
        self._state.changed()
        return self._callback_json(interaction)

    def find(self, application_id: int, token: str) -> Interaction:
        """The answered interaction of a token. Raises ApiError for an unknown or dead one."""
        found = [held for held in self.all.values() if held.token == token]
        if application_id != self._state.bot.id or not found or found[0].callback is None:
            raise ApiError(404, 10015, "Unknown Webhook")
        if found[0].expired:
            raise ApiError(401, 50027, "Invalid Webhook Token")
        return found[0]

    def message(self, interaction: Interaction, message_id: str) -> Message:
        candidates = [interaction.original, *interaction.followups]
        wanted = interaction.original.id if message_id == "@original" and interaction.original else message_id
        for message in candidates:
            if message is not None and str(message.id) == str(wanted):
                return message
        raise ApiError(404, 10008, "Unknown Message")

    def follow_up(self, interaction: Interaction, payload: Json, uploads: Mapping[str, Upload]) -> Message:
        """A follow-up message; the first after a deferral fills the deferred one and keeps its privacy."""
        if interaction.original is not None and interaction.original.loading:
            self._state.edit(interaction.original, payload, uploads)
            return interaction.original
        message = self._respond_with(interaction, payload, uploads)
        interaction.followups.append(message)
        return message

    def delete(self, interaction: Interaction, message: Message) -> None:
        self._state.delete(message)
        interaction.followups = [held for held in interaction.followups if held is not message]
        if interaction.original is message:
            interaction.original = None

    def _respond_with(self, interaction: Interaction, payload: Json, uploads: Mapping[str, Upload]) -> Message:
        message = self._new_message(interaction, payload.get("flags", 0) & EPHEMERAL)
        self._state.fill(message, payload, uploads)
        self._publish(message)
        return message

    def _new_message(self, interaction: Interaction, flags: int) -> Message:
        kind = 20 if interaction.kind is Kind.COMMAND else 19
        author, metadata = self._state.bot, interaction.metadata()
        return Message(interaction.channel, author, type=kind, flags=flags, interaction=metadata)

    def _publish(self, message: Message) -> None:
        if not message.ephemeral:
            self._state.post(message)

    def _callback_json(self, interaction: Interaction) -> Json:
        answer: Json = {"id": str(interaction.id), "type": int(interaction.kind)}
        resource: Json = {"type": int(interaction.callback or 0)}
        if interaction.original is not None:
            answer["response_message_id"] = str(interaction.original.id)
            answer["response_message_loading"] = interaction.original.loading
            answer["response_message_ephemeral"] = interaction.original.ephemeral
            resource["message"] = interaction.original.json()
        return {"interaction": answer, "resource": resource}
