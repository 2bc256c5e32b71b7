"""The tests' interface to the local Discord: starts it, acts for members, scripts faults, records requests."""

import base64
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from aiohttp import web

from tests.discord_server.commands import CommandInput, Commands, InputRejected, Value, command_data
from tests.discord_server.faults import Fault, FaultScript
from tests.discord_server.gateway import Gateway
from tests.discord_server.interactions import Interaction, Interactions, Kind
from tests.discord_server.messages import Message, Upload, walk
from tests.discord_server.models import Channel, Guild, Json, User
from tests.discord_server.rest import API, Call, Rest
from tests.discord_server.state import DiscordState

MAX_BODY_BYTES = 256 * 2**20


class DiscordServer:
    """A Discord on 127.0.0.1, which starts with one bot, one guild, one channel and one member.

    `state` holds and changes its objects, `gateway` its websockets; tests may use both.
    """

    def __init__(self, *, port: int = 0) -> None:
        self.state = DiscordState()
        self.faults = FaultScript()
        self.gateway = Gateway(self.state, self.faults)
        self.commands = Commands(self.state)
        self.interactions = Interactions(self.state)
        self._rest = Rest(self.state, self.gateway, self.commands, self.interactions, self.faults)
        self._port = port
        self._runner: web.AppRunner | None = None
        self.guild = self.state.add_guild("Moving Pictures")
        self.channel = self.state.add_channel(self.guild, "general")
        self.member = self.state.add_member(self.guild, "mia")
        self.api_url = ""
        self.token = self.gateway.token = _token_of(self.state.bot)

    @property
    def gateway_url(self) -> str:
        return self.gateway.url

    @property
    def requests(self) -> list[Call]:
        """Every REST and CDN request, in the order received."""
        return self._rest.calls

    def limit_requests(self, a_second: int) -> None:
        """Answers what comes above this in a second with a global 429, as Discord does above 50."""
        self._rest.limit.a_second = a_second

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=MAX_BODY_BYTES)
        app.router.add_get("/gateway", self.gateway.handle)
        app.router.add_get("/gateway/", self.gateway.handle)
        app.router.add_routes(self._rest.routes())
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port)
        await site.start()
        host = f"127.0.0.1:{self._runner.addresses[0][1]}"
        self.api_url = f"http://{host}{API}"
        self.gateway.url = f"ws://{host}/gateway"
        self.state.cdn_url = f"http://{host}/cdn"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.gateway.drop()
        if self._runner is not None:
            await self._runner.cleanup()

    def fail_next(self, method: str, path_pattern: str, fault: Fault, *, times: int = 1, text: str = "") -> None:
        """Applies `fault` to the next `times` matching requests.

        path_pattern: a shell pattern over the path without `/api/v10` (`/channels/*/messages`); files of the CDN
        begin with `/cdn/`, the websocket is `GET /gateway`. `method` may be `*`. text: what the message that they
        write contains.
        """
        self.faults.add(method, path_pattern, fault, times, text)

    def revoke_token(self) -> None:
        """Makes `token` invalid for REST and for new sessions, as a reset by the bot's owner does."""
        self.gateway.token = "another"

    def messages(self, channel_id: int | None = None) -> list[Message]:
        """What everybody sees in a channel (by default the first one), oldest first."""
        wanted = self.channel.id if channel_id is None else channel_id
        return [message for message in self.state.messages.values() if message.channel.id == wanted]

    def calls(self, method: str, path_start: str) -> list[Call]:
        """The requests with this method whose paths start with `path_start`."""
        return [call for call in self.requests if call.method == method and call.path.startswith(path_start)]

    def remove_channel(self, channel: Channel) -> None:
        """Deletes a channel and its messages, and tells the bot."""
        del self.state.channels[channel.id], channel.guild.channels[channel.id]
        for message in self.messages(channel.id):
            self.state.delete(message)
        self.gateway.dispatch("CHANNEL_DELETE", channel.json(), intent="guilds")

    def invite(self, guild: Guild) -> None:
        """Tells the bot that it has joined a guild."""
        joined = guild.create_json(self.state.bot)
        del joined["unavailable"]  # so it is told from a guild that is back from an outage
        self.gateway.dispatch("GUILD_CREATE", joined, intent="guilds")

    def remove_from(self, guild: Guild) -> None:
        """Removes the bot from a guild, and tells it if it is connected."""
        del self.state.guilds[guild.id]
        self.gateway.dispatch("GUILD_DELETE", {"id": str(guild.id)}, intent="guilds")

    def boost(self, premium_tier: int) -> None:
        """Sets the first guild's boost tier, and tells the bot."""
        self.guild.premium_tier = premium_tier
        self.gateway.dispatch("GUILD_UPDATE", self.guild.json(), intent="guilds")

    async def slash(
        self,
        command_name: str,
        user: User | None = None,
        channel: Channel | None = None,
        options: Mapping[str, Value] | None = None,
        attachments: Mapping[str, bytes | Upload] | None = None,
        *,
        enforce: bool = True,
    ) -> Interaction:
        """A member runs a command (`"videos list"` for a subcommand) once the bot is connected.

        attachments: by option name; bytes get a file name made from it. enforce: refuse, with InputRejected, what
        Discord's client would not let a member send.
        """
        return await self._send_command(command_name, user, channel, options, attachments, enforce=enforce)

    async def autocomplete(
        self,
        command_name: str,
        focused: str,
        options: Mapping[str, Value] | None = None,
        user: User | None = None,
        channel: Channel | None = None,
    ) -> Interaction:
        """A member types in the option `focused`, whose text so far is among `options`."""
        given = {focused: "", **(options or {})}
        return await self._send_command(command_name, user, channel, given, None, focused=focused)

    async def click(
        self, message_id: int, custom_id: str, user: User | None = None, values: list[str] | None = None
    ) -> Interaction:
        """A member presses a button, or chooses `values` in a select menu."""
        message = self._find_message(message_id)
        found = [part for part in walk(message.components) if part.get("custom_id") == custom_id]
        if not found or found[0].get("disabled"):
            raise InputRejected(
                f"no enabled button with the custom id {custom_id!r}: there is {message.custom_ids}"
            )
        data: Json = {"custom_id": custom_id, "component_type": found[0]["type"], "id": found[0].get("id", 0)}
        if values is not None:
            data["values"] = values
        user = user or self.member
        return await self._send(self.interactions.begin(Kind.COMPONENT, message.channel, user, data, message))

    async def submit(self, asked: Interaction, values: Mapping[str, str]) -> Interaction:
        """The member fills the modal that `asked` was answered with; values by custom id."""
        modal = await asked.until(lambda: asked.modal)
        rows: list[Json] = []
        for row in modal["components"]:
            inner = [row["component"]] if "component" in row else row.get("components", [])
            filled = [
                {"type": part["type"], "id": 0, "custom_id": part["custom_id"], "value": values[part["custom_id"]]}
                for part in inner
                if part.get("custom_id") in values
            ]
            content = {"component": filled[0]} if "component" in row and filled else {"components": filled}
            rows.append({"type": row["type"], "id": 0, **content})
        data = {"custom_id": modal["custom_id"], "components": rows}
        begun = self.interactions.begin(Kind.MODAL_SUBMIT, asked.channel, asked.user, data, asked.clicked)
        return await self._send(begun)

    async def _send_command(
        self,
        words: str,
        user: User | None,
        channel: Channel | None,
        options: Mapping[str, Value] | None,
        attachments: Mapping[str, bytes | Upload] | None,
        *,
        focused: str | None = None,
        enforce: bool = True,
    ) -> Interaction:
        user, channel = user or self.member, channel or self.channel
        guild_id = channel.guild.id
        await self.state.until(lambda: self.commands.find(words.split(maxsplit=1)[0], guild_id))
        uploads = {
            name: given if isinstance(given, Upload) else Upload(f"{name}.bin", given)
            for name, given in (attachments or {}).items()
        }
        typing = CommandInput(options or {}, uploads, channel.permissions_of(user), focused, enforce)
        data = command_data(self.commands, self.state, channel.guild, words, typing)
        kind = Kind.COMMAND if focused is None else Kind.AUTOCOMPLETE
        return await self._send(self.interactions.begin(kind, channel, user, data))

    async def _send(self, interaction: Interaction) -> Interaction:
        sent = interaction.create_json()
        guild_id = int(sent.get("guild_id") or 0)
        await self.state.until(
            lambda: any(held.session is not None and held.session.holds(guild_id) for held in self.gateway.live)
        )
        self.gateway.dispatch("INTERACTION_CREATE", sent)
        return interaction

    def _find_message(self, message_id: int) -> Message:
        private = [
            message
            for interaction in self.interactions.all.values()
            for message in (interaction.original, *interaction.followups)
            if message is not None
        ]
        for message in (*self.state.messages.values(), *private):
            if message.id == message_id:
                return message
        raise InputRejected(f"there is no message {message_id} to press on")


def _token_of(bot: User) -> str:
    """A token with Discord's structure: the bot's id, a time, a signature."""
    first = base64.urlsafe_b64encode(str(bot.id).encode()).decode().rstrip("=")
    return f"{first}.local0.{'x' * 38}"
