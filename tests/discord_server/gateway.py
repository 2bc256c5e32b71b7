"""The gateway of the local Discord: sessions outlive their connections, as on Discord.

discord.com/developers/docs/events/gateway. A session numbers its events and keeps them, so that a client that
comes back with RESUME gets what it missed. Compression is `zlib-stream` or none.
"""

import asyncio
import contextlib
import json
import secrets
import zlib
from dataclasses import dataclass, field
from enum import IntEnum

from aiohttp import WSMsgType, web
from discord import Intents

from tests.discord_server.faults import Answer, CloseWebsocket, FaultScript
from tests.discord_server.models import Json
from tests.discord_server.state import DiscordState

PRIVILEGED = Intents(members=True, presences=True, message_content=True).value
HEARTBEAT_INTERVAL_MS = 41_250


class Op(IntEnum):
    DISPATCH = 0
    HEARTBEAT = 1
    IDENTIFY = 2
    RESUME = 6
    RECONNECT = 7
    INVALID_SESSION = 9
    HELLO = 10
    HEARTBEAT_ACK = 11


@dataclass(eq=False)
class Connection:
    """One websocket, kept after it closes so that tests can inspect it."""

    path: str
    query: dict[str, str]
    socket: web.WebSocketResponse
    request: web.Request
    outbox: asyncio.Queue[Json] = field(default_factory=asyncio.Queue)
    identify: Json | None = None
    resume: Json | None = None
    heartbeats: int = 0
    open: bool = True
    session: "Session | None" = None

    def post(self, op: Op, data: object = None, *, event: str | None = None, seq: int | None = None) -> None:
        self.outbox.put_nowait({"op": op, "d": data, "t": event, "s": seq})

    async def write(self) -> None:
        """Sends what is posted, in order."""
        stream = zlib.compressobj() if self.query.get("compress") == "zlib-stream" else None
        while True:
            text = json.dumps(await self.outbox.get())
            if stream is None:
                await self.socket.send_str(text)
            else:
                data = stream.compress(text.encode()) + stream.flush(zlib.Z_SYNC_FLUSH)
                await self.socket.send_bytes(data)


@dataclass(eq=False)
class Session:
    """A session begun by IDENTIFY. `events`: all events sent, numbered from 1."""

    intents: Intents
    id: str = field(default_factory=lambda: secrets.token_hex(16))
    events: list[tuple[str, Json]] = field(default_factory=list)
    connection: Connection | None = None

    def dispatch(self, event: str, data: Json) -> None:
        self.events.append((event, data))
        self.replay(len(self.events))

    def replay(self, first: int) -> None:
        if self.connection is not None:
            for seq, (event, data) in enumerate(self.events[first - 1 :], start=first):
                self.connection.post(Op.DISPATCH, data, event=event, seq=seq)


class Gateway:
    """All sessions and connections. The server sets `url` and `token`.

    advertised_url: what READY and `GET /gateway/bot` name instead of `url`, to see whether a client follows it.
    heartbeat_ms: the heartbeat interval sent to clients.
    unresponsive: answers no messages, as on a dead connection.
    """

    def __init__(self, state: DiscordState, faults: FaultScript) -> None:
        self.url = ""
        self.advertised_url = ""
        self.token = ""
        self.heartbeat_ms = HEARTBEAT_INTERVAL_MS
        self.unresponsive = False
        self.sessions: dict[str, Session] = {}
        self.connections: list[Connection] = []
        self._state = state
        self._faults = faults

    @property
    def live(self) -> list[Connection]:
        """The open connections whose session is up."""
        return [held for held in self.connections if held.open and held.session is not None]

    def dispatch(self, event: str, data: Json, *, intent: str | None = None) -> None:
        """Tells every session that has the intent; a disconnected one gets it when it resumes."""
        for session in self.sessions.values():
            if intent is None or getattr(session.intents, intent):
                session.dispatch(event, data)

    def drop(self) -> None:
        """Aborts every connection. The sessions stay and can be resumed."""
        for held in self.live:
            if held.request.transport is not None:
                held.request.transport.abort()

    async def close_with(self, code: int) -> None:
        """Closes every connection with a close code, such as 4000 (unknown error) or 4004 (bad token)."""
        for held in self.live:
            await held.socket.close(code=code)

    def ask_to_reconnect(self) -> None:
        """RECONNECT, as before a restart of Discord's own."""
        for held in self.live:
            held.post(Op.RECONNECT)

    def invalidate(self, *, resumable: bool = False) -> None:
        """INVALID_SESSION: every client must IDENTIFY again, or RESUME where that still helps."""
        if not resumable:
            self.sessions.clear()
        for held in self.live:
            held.post(Op.INVALID_SESSION, data=resumable)

    def send_garbage(self) -> None:
        """Sends every connection a message that no client can parse."""
        for held in self.live:
            held.outbox.put_nowait({"op": Op.HELLO, "d": None})

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Serves one websocket until it closes."""
        fault = self._faults.take("GET", request.path)
        if isinstance(fault, Answer):
            return web.Response(status=fault.status, text=str(fault.body))
        if request.query.get("encoding", "json") != "json" or request.query.get("compress") not in (
            None,
            "zlib-stream",
        ):
            return web.Response(status=400, text="json only, zlib-stream or uncompressed only")
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        connection = Connection(request.path, dict(request.query), socket, request)
        self.connections.append(connection)
        self._state.changed()
        if isinstance(fault, CloseWebsocket):
            connection.open = False
            await socket.close(code=fault.code)
            return socket
        connection.post(Op.HELLO, {"heartbeat_interval": self.heartbeat_ms, "_trace": []})
        writer = asyncio.create_task(connection.write())
        try:
            async for frame in socket:
                if frame.type is WSMsgType.TEXT:
                    await self._receive(connection, json.loads(frame.data))
                    self._state.changed()
        finally:
            connection.open = False
            if connection.session is not None and connection.session.connection is connection:
                connection.session.connection = None
            writer.cancel()
            with contextlib.suppress(asyncio.CancelledError, ConnectionError):
                await writer
            self._state.changed()
        return socket

    async def _receive(self, connection: Connection, frame: Json) -> None:
        if self.unresponsive:
            return
        match frame["op"]:
            case Op.HEARTBEAT:
                connection.heartbeats += 1
                connection.post(Op.HEARTBEAT_ACK)
            case Op.IDENTIFY:
                connection.identify = frame["d"]
                await self._identify(connection, frame["d"])
            case Op.RESUME:
                connection.resume = frame["d"]
                await self._resume(connection, frame["d"])

    async def _identify(self, connection: Connection, data: Json) -> None:
        if data["token"] != self.token:
            await connection.socket.close(code=4004, message=b"Authentication failed.")
        elif data["intents"] & PRIVILEGED:
            await connection.socket.close(code=4014, message=b"Disallowed intent(s).")
        else:
            session = Session(Intents._from_value(data["intents"]), connection=connection)
            connection.session = self.sessions[session.id] = session
            self._send_ready(session)

    def _send_ready(self, session: Session) -> None:
        bot = self._state.bot
        guilds = self._state.guilds.values()
        session.dispatch(
            "READY",
            {
                "v": 10,
                "user": bot.json(),
                "guilds": [{"id": str(guild.id), "unavailable": True} for guild in guilds],
                "session_id": session.id,
                "session_type": "normal",
                "resume_gateway_url": self.advertised_url or self.url,
                "application": {"id": str(bot.id), "flags": 0},
            },
        )
        for guild in guilds:
            session.dispatch("GUILD_CREATE", guild.create_json(bot))

    async def _resume(self, connection: Connection, data: Json) -> None:
        session = self.sessions.get(data["session_id"])
        if data["token"] != self.token:
            await connection.socket.close(code=4004, message=b"Authentication failed.")
        elif session is None:
            connection.post(Op.INVALID_SESSION, data=False)
        else:
            connection.session, session.connection = session, connection
            session.replay(data["seq"] + 1)
            session.dispatch("RESUMED", {"_trace": []})
