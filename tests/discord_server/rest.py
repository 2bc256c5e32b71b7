"""The REST API of the local Discord: reads a request, applies a scripted fault, responds as Discord does.

Each handler is one synchronous step, so that no two requests mix. Paths and errors are those of
discord.com/developers/docs; what is not modelled answers 404 with code 0, as an unknown path does there.
"""

import json
import socket
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import BodyPartReader, web

from tests.discord_server.commands import Commands
from tests.discord_server.faults import (
    Answer,
    Fault,
    FaultPhase,
    FaultScript,
    GlobalLimit,
    Hang,
    Reset,
    Truncated,
)
from tests.discord_server.gateway import Gateway
from tests.discord_server.interactions import Interactions
from tests.discord_server.messages import Message, Upload
from tests.discord_server.models import FORUM, ApiError, Json, User, snowflake
from tests.discord_server.state import DiscordState

API = "/api/v10"
Body = Json | list[Json] | None
_AUDIT_LOG_PARTS = (
    "audit_log_entries",
    "users",
    "webhooks",
    "integrations",
    "application_commands",
    "auto_moderation_rules",
    "guild_scheduled_events",
    "threads",
)


@dataclass(eq=False)
class Call:
    """One request, and the status of its response (None: no response).

    path: without `/api/v10`. payload: the JSON body, or `payload_json` of a multipart one.
    uploads: the files of a multipart body, by their index.
    """

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    payload: Any = None
    uploads: dict[str, Upload] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)
    status: int | None = None
    fault: Fault | None = None

    def id(self, name: str) -> int:
        return int(self.params[name])


Handler = Callable[[Call], Body]


class Rest:
    """The request handlers, and a record of all requests."""

    def __init__(
        self,
        state: DiscordState,
        gateway: Gateway,
        commands: Commands,
        interactions: Interactions,
        faults: FaultScript,
    ) -> None:
        self.calls: list[Call] = []
        self._state = state
        self._gateway = gateway
        self._commands = commands
        self._interactions = interactions
        self._faults = faults
        self.limit = GlobalLimit()

    def routes(self) -> list[web.RouteDef]:
        channel, message = "/channels/{channel}", "/channels/{channel}/messages/{message}"
        hook, original = "/webhooks/{app}/{token}", "/webhooks/{app}/{token}/messages/{message}"
        commands = "/applications/{app}/commands"
        guild_commands = "/applications/{app}/guilds/{guild}/commands"
        table: list[tuple[str, str, Handler]] = [
            ("GET", "/gateway/bot", self._gateway_bot),
            ("GET", "/users/@me", lambda _: self._state.bot.json()),
            ("GET", "/users/@me/guilds", lambda _: [guild.json() for guild in self._state.guilds.values()]),
            ("POST", "/users/@me/channels", self._direct),
            ("GET", "/users/{user}", lambda call: self._state.user(call.id("user")).json()),
            ("GET", "/applications/@me", self._application),
            ("GET", "/oauth2/applications/@me", self._application),
            ("GET", "/guilds/{guild}", lambda call: self._state.guild(call.id("guild")).json()),
            ("GET", "/guilds/{guild}/audit-logs", self._audit_log),
            ("GET", "/guilds/{guild}/roles", self._roles),
            ("GET", "/guilds/{guild}/channels", self._channels),
            ("GET", "/guilds/{guild}/members/{user}", self._member),
            ("GET", channel, lambda call: self._state.channel(call.id("channel")).json()),
            ("POST", f"{channel}/typing", self._typing),
            ("GET", f"{channel}/messages", self._history),
            ("POST", f"{channel}/messages", self._create_message),
            ("GET", message, self._get_message),
            ("PATCH", message, self._edit_message),
            ("DELETE", message, self._delete_message),
            ("GET", commands, lambda _: self._commands.listed(None)),
            ("PUT", commands, lambda call: self._commands.upsert(call.payload, None)),
            ("GET", guild_commands, lambda call: self._commands.listed(call.id("guild"))),
            ("PUT", guild_commands, lambda call: self._commands.upsert(call.payload, call.id("guild"))),
            ("GET", f"{guild_commands}/{{command}}/permissions", self._command_permissions),
            ("POST", "/interactions/{interaction}/{token}/callback", self._callback),
            ("POST", hook, self._follow_up),
            ("GET", original, self._get_response),
            ("PATCH", original, self._edit_response),
            ("DELETE", original, self._delete_response),
            ("*", "/{rest:.*}", self._unknown),
        ]
        routes = [web.route(method, API + path, self._serve(handler)) for method, path, handler in table]
        return [*routes, web.get("/cdn/{path:.+}", self._file)]

    def _serve(self, handler: Handler) -> Callable[[web.Request], Any]:
        async def serve(request: web.Request) -> web.StreamResponse:
            call = await _read(request)
            self.calls.append(call)
            content = str(call.payload.get("content", "")) if isinstance(call.payload, dict) else ""
            fault = call.fault = self._faults.take(call.method, call.path, content) or self.limit.take(
                "Authorization" in call.headers
            )
            self._state.changed()
            if fault is not None and fault.phase is FaultPhase.BEFORE:
                return await self._inject(fault, request, call)
            answer = self._answer(handler, call)
            if fault is not None:
                return await self._inject(fault, request, call, answer)
            call.status = answer.status
            self._state.changed()
            return answer

        return serve

    def _answer(self, handler: Handler, call: Call) -> web.Response:
        # Enough left in the bucket that discord.py never pauses on its own.
        headers = {"X-RateLimit-Limit": "50", "X-RateLimit-Remaining": "49", "X-RateLimit-Reset-After": "1.0"}
        try:
            self._authorize(call)
            body = handler(call)
        except ApiError as error:
            return _json(error.body, status=error.status, headers=headers)
        return web.Response(status=204, headers=headers) if body is None else _json(body, headers=headers)

    def _authorize(self, call: Call) -> None:
        by_token_in_path = call.path.startswith(("/webhooks/", "/interactions/"))
        if not by_token_in_path and call.headers.get("Authorization") != f"Bot {self._gateway.token}":
            raise ApiError(401, 0, "401: Unauthorized")

    async def _inject(
        self, fault: Fault, request: web.Request, call: Call, right: web.Response | None = None
    ) -> web.StreamResponse:
        """right: the response without the fault."""
        match fault:
            case Answer(status, body, headers):
                call.status = status
                if isinstance(body, str):
                    return web.Response(status=status, text=body, content_type="text/html", headers=headers)
                return _json(body, status=status, headers=headers)
            case Reset(graceful=graceful):
                _reset(request, graceful=graceful)
            case Truncated() if right is not None and isinstance(right.body, bytes):
                return await _truncate(request, right, right.body)
            case Hang():
                await self._state.until(lambda: request.transport is None, timeout_s=3600)
        return web.Response(status=500)

    # --- the bot's own affairs ---

    def _gateway_bot(self, _: Call) -> Json:
        concurrency = self._gateway.max_concurrency
        limits = {"total": 1000, "remaining": 999, "reset_after": 0, "max_concurrency": concurrency}
        return {
            "url": self._gateway.advertised_url or self._gateway.url,
            "shards": self._gateway.shards,
            "session_start_limit": limits,
        }

    def _application(self, _: Call) -> Json:
        bot = self._state.bot
        return {
            "id": str(bot.id),
            "name": bot.name,
            "icon": None,
            "description": "",
            "bot_public": True,
            "bot_require_code_grant": False,
            "owner": User("the operator").json(),
            "team": None,
            "verify_key": "0" * 64,
            "flags": 0,
            "approximate_guild_count": len(self._state.guilds),
        }

    def _command_permissions(self, call: Call) -> Json:
        return self._commands.permissions(call.id("guild"), call.id("command"))

    def _direct(self, call: Call) -> Json:
        return self._state.direct(self._state.user(int(call.payload["recipient_id"]))).json()

    # --- guilds and channels ---

    def _audit_log(self, call: Call) -> Json:
        """Only who invited the bot."""
        guild, bot = self._state.guild(call.id("guild")), self._state.bot
        managed = next(role for role in guild.roles.values() if role.bot_id == bot.id)
        if not managed.permissions.view_audit_log:
            raise ApiError(403, 50013, "Missing Permissions")
        nothing: Json = {name: [] for name in _AUDIT_LOG_PARTS}
        if guild.inviter is None:
            return nothing
        entry = {
            "id": str(snowflake()),
            "action_type": 28,
            "user_id": str(guild.inviter.id),
            "target_id": str(bot.id),
            "changes": [],
        }
        return nothing | {"audit_log_entries": [entry], "users": [guild.inviter.json(), bot.json()]}

    def _roles(self, call: Call) -> list[Json]:
        return [role.json() for role in self._state.guild(call.id("guild")).roles.values()]

    def _channels(self, call: Call) -> list[Json]:
        return [channel.json() for channel in self._state.guild(call.id("guild")).channels.values()]

    def _member(self, call: Call) -> Json:
        member = self._state.guild(call.id("guild")).members.get(call.id("user"))
        if member is None:
            raise ApiError(404, 10007, "Unknown Member")
        return member.json()

    def _typing(self, call: Call) -> None:
        self._state.channel(call.id("channel"), send_messages=True)

    # --- messages ---

    def _history(self, call: Call) -> list[Json]:
        channel = self._state.channel(call.id("channel"))
        if not channel.permissions_of(self._state.bot).read_message_history:
            return []
        messages = [held for held in self._state.messages.values() if held.channel is channel]
        return [message.json() for message in _page(messages, call.query)]

    def _create_message(self, call: Call) -> Json:
        needs = {"send_messages": True} | ({"attach_files": True} if call.uploads else {})
        channel = self._state.channel(call.id("channel"), **needs)
        if channel.locked and not channel.permissions_of(self._state.bot).manage_threads:
            raise ApiError(400, 160005, "The thread is locked")
        if channel.kind == FORUM:
            raise ApiError(400, 50008, "Cannot send messages in a non-text channel")
        channel.archived = False
        return self._state.send(channel, self._state.bot, call.payload, call.uploads).json()

    def _get_message(self, call: Call) -> Json:
        self._state.channel(call.id("channel"), read_message_history=True)
        return self._state.message(call.id("channel"), call.id("message")).json()

    def _edit_message(self, call: Call) -> Json:
        message = self._state.message(call.id("channel"), call.id("message"))
        if message.author is not self._state.bot:
            raise ApiError(403, 50005, "Cannot edit a message authored by another user")
        if message.channel.archived:
            raise ApiError(400, 50083, "Thread is archived")
        self._state.edit(message, call.payload, call.uploads)
        return message.json()

    def _delete_message(self, call: Call) -> None:
        message = self._state.message(call.id("channel"), call.id("message"))
        if message.author is not self._state.bot:
            self._state.channel(call.id("channel"), manage_messages=True)
        self._state.delete(message)

    # --- answers to interactions ---

    def _callback(self, call: Call) -> Body:
        interaction_id, token = call.id("interaction"), call.params["token"]
        answer = self._interactions.respond(interaction_id, token, call.payload, call.uploads)
        return answer if call.query.get("with_response") in ("1", "true") else None

    def _follow_up(self, call: Call) -> Json:
        interaction = self._interactions.find(call.id("app"), call.params["token"])
        return self._interactions.follow_up(interaction, call.payload, call.uploads).json()

    def _get_response(self, call: Call) -> Json:
        interaction = self._interactions.find(call.id("app"), call.params["token"])
        return self._interactions.message(interaction, call.params["message"]).json()

    def _edit_response(self, call: Call) -> Json:
        interaction = self._interactions.find(call.id("app"), call.params["token"])
        message = self._interactions.message(interaction, call.params["message"])
        self._state.edit(message, call.payload, call.uploads)
        return message.json()

    def _delete_response(self, call: Call) -> None:
        interaction = self._interactions.find(call.id("app"), call.params["token"])
        self._interactions.delete(interaction, self._interactions.message(interaction, call.params["message"]))

    def _unknown(self, _: Call) -> Body:
        raise ApiError(404, 0, "404: Not Found")

    # --- the CDN ---

    async def _file(self, request: web.Request) -> web.StreamResponse:
        call = Call(request.method, request.path, dict(request.query), request.headers)
        self.calls.append(call)
        fault = call.fault = self._faults.take(call.method, call.path)
        self._state.changed()
        upload = self._state.files.get(request.match_info["path"])
        if upload is None:
            answer = web.Response(status=404, text="This content is no longer available.")
        else:
            answer = web.Response(body=upload.data, content_type=upload.content_type or "application/octet-stream")
        if fault is not None:
            return await self._inject(fault, request, call, answer)
        call.status = answer.status
        return answer


async def _truncate(request: web.Request, right: web.Response, body: bytes) -> web.StreamResponse:
    """Sends half of the declared body and closes the connection."""
    half = web.StreamResponse(status=right.status, headers={"Content-Type": right.headers["Content-Type"]})
    half.content_length = len(body)
    await half.prepare(request)
    await half.write(body[: len(body) // 2])
    _reset(request, graceful=True)
    return half


def _json(body: Body, *, status: int = 200, headers: Mapping[str, str]) -> web.Response:
    # discord.py compares the content type with "application/json", to the letter: no charset behind it.
    kind = {"Content-Type": "application/json"}
    return web.Response(status=status, body=json.dumps(body).encode(), headers={**headers, **kind})


async def _read(request: web.Request) -> Call:
    call = Call(request.method, request.path.removeprefix(API), dict(request.query), request.headers)
    call.params = request.match_info
    if request.content_type == "multipart/form-data":
        reader = await request.multipart()
        while isinstance(part := await reader.next(), BodyPartReader):
            name, data = part.name or "", bytes(await part.read())
            if name == "payload_json":
                call.payload = json.loads(data)
            else:
                index = name.removeprefix("files[").removesuffix("]")
                call.uploads[index] = Upload(part.filename or "unnamed", data)
        call.payload = call.payload or {}
    elif request.can_read_body:
        call.payload = await request.json()
    return call


def _page(messages: list[Message], query: Mapping[str, str]) -> list[Message]:
    """One page of a channel's history, newest first (documentation, "Get Channel Messages")."""
    limit = int(query.get("limit", "50"))
    newest = sorted(messages, key=lambda message: message.id, reverse=True)
    if "around" in query:
        middle = int(query["around"])
        after = [message for message in newest if message.id > middle][-(limit // 2) :] if limit > 1 else []
        return (after + [message for message in newest if message.id <= middle])[:limit]
    if "after" in query:
        return [message for message in newest if message.id > int(query["after"])][-limit:]
    if "before" in query:
        newest = [message for message in newest if message.id < int(query["before"])]
    return newest[:limit]


def _reset(request: web.Request, *, graceful: bool) -> None:
    transport = request.transport
    if transport is None:
        return
    held = transport.get_extra_info("socket")
    if held is not None and not graceful:
        # Lingering for no time makes the kernel send RST instead of FIN.
        held.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
