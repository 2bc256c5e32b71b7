"""The gateway of the local Discord: sessions outlive their connections, as on Discord.

discord.com/developers/docs/events/gateway. A session numbers its events and keeps them, so that a client that
comes back with RESUME gets what it missed. It belongs to a shard, and gets the events of that shard's guilds;
those of direct messages go to shard 0. Compression is `zlib-stream` or none.
"""

import asyncio
import contextlib
import json
import secrets
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from functools import partial

from aiohttp import WSMsgType, web
from discord import Intents

from tests.discord_server.faults import Answer, CloseWebsocket, FaultScript
from tests.discord_server.models import Guild, Json
from tests.discord_server.state import DiscordState

PRIVILEGED = Intents(members=True, presences=True, message_content=True).value
HEARTBEAT_INTERVAL_MS = 41_250
GUILDS_MAX = 2_500
"""In one shard."""

Lazy = Json | Callable[[], Json]
"""An event's data, or what makes it once it is sent."""


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

    async def close(self, code: int, reason: bytes = b"") -> None:
        await self.socket.close(code=code, message=reason)

    async def write(self) -> None:
        """Sends what is posted, in order."""
        stream = zlib.compressobj() if self.query.get("compress") == "zlib-stream" else None
        while True:
            frame = await self.outbox.get()
            if callable(frame["d"]):
                frame["d"] = frame["d"]()
            text = json.dumps(frame)
            if stream is None:
                await self.socket.send_str(text)
            else:
                data = stream.compress(text.encode()) + stream.flush(zlib.Z_SYNC_FLUSH)
                await self.socket.send_bytes(data)


@dataclass(eq=False)
class Session:
    """A session begun by IDENTIFY. `shard`: its number, and of how many. `events`: those sent, numbered from 1."""

    intents: Intents
    shard: tuple[int, int] = (0, 1)
    id: str = field(default_factory=lambda: secrets.token_hex(16))
    events: list[tuple[str, Lazy]] = field(default_factory=list)
    connection: Connection | None = None

    def dispatch(self, event: str, data: Lazy) -> None:
        self.events.append((event, data))
        self.replay(len(self.events))

    def holds(self, guild_id: int) -> bool:
        """Whether the guild is in this session's shard."""
        return (guild_id >> 22) % self.shard[1] == self.shard[0]

    def replay(self, first: int) -> None:
        if self.connection is not None:
            for seq, (event, data) in enumerate(self.events[first - 1 :], start=first):
                self.connection.post(Op.DISPATCH, data, event=event, seq=seq)


class Gateway:
    """All sessions and connections. The server sets `url` and `token`.

    advertised_url: what READY and `GET /gateway/bot` name instead of `url`, to see whether a client follows it.
    heartbeat_ms: the heartbeat interval sent to clients.
    unresponsive: answers no messages, as on a dead connection.
    shards, max_concurrency: what `GET /gateway/bot` says. identify_interval_s: the shortest time between two
    IDENTIFYs of shards that share a bucket; what is sent earlier is answered with INVALID_SESSION. `refused`: how
    many were.
    pause_after: how many guilds are sent after READY before `resume_guilds` is called; all without a number.
    """

    def __init__(self, state: DiscordState, faults: FaultScript) -> None:
        self.url = ""
        self.advertised_url = ""
        self.token = ""
        self.heartbeat_ms = HEARTBEAT_INTERVAL_MS
        self.unresponsive = False
        self.shards = 1
        self.max_concurrency = 1
        self.identify_interval_s = 0.0
        self.refused = 0
        self.pause_after: int | None = None
        self._held_back: list[Callable[[], None]] = []
        self._identified_at: dict[int, float] = {}
        self.sessions: dict[str, Session] = {}
        self.connections: list[Connection] = []
        self._state = state
        self._faults = faults

    @property
    def live(self) -> list[Connection]:
        """The open connections whose session is up."""
        return [held for held in self.connections if held.open and held.session is not None]

    def dispatch(self, event: str, data: Json, *, intent: str | None = None) -> None:
        """Tells the guild's sessions that have the intent; a disconnected one gets it when it resumes."""
        guild_id = int(data.get("guild_id") or (data["id"] if event.startswith("GUILD_") else 0))
        for session in list(self.sessions.values()):
            if session.holds(guild_id) and (intent is None or getattr(session.intents, intent)):
                session.dispatch(event, data)

    def live_shards(self) -> list[tuple[int, int]]:
        """The shards with an open connection, in order."""
        return sorted(held.session.shard for held in self.live if held.session is not None)

    def resume_guilds(self) -> None:
        """Sends the guilds that were held back."""
        held_back, self._held_back = self._held_back, []
        for send in held_back:
            send()

    def drop(self, shard_id: int | None = None) -> None:
        """Aborts every connection, or those of one shard. The sessions stay and can be resumed."""
        for held in self.live:
            if shard_id is not None and held.session is not None and held.session.shard[0] != shard_id:
                continue
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
            return
        shard_id, count = shard = tuple(data.get("shard", (0, 1)))
        session = Session(Intents._from_value(data["intents"]), shard, connection=connection)
        if not 0 <= shard_id < count:
            await connection.close(4010, b"Invalid shard.")
        elif sum(map(session.holds, self._state.guilds)) > GUILDS_MAX:
            await connection.close(4011, b"Sharding required.")
        elif data["intents"] & PRIVILEGED:
            await connection.close(4014, b"Disallowed intent(s).")
        elif self._is_too_early(shard_id):
            self.refused += 1
            connection.post(Op.INVALID_SESSION, data=False)
        else:
            connection.session = self.sessions[session.id] = session
            self._send_ready(session)

    def _is_too_early(self, shard_id: int) -> bool:
        bucket, now = shard_id % self.max_concurrency, time.monotonic()
        last = self._identified_at.get(bucket)
        if last is not None and now - last < self.identify_interval_s:
            return True
        self._identified_at[bucket] = now
        return False

    def _send_ready(self, session: Session) -> None:
        bot = self._state.bot
        guilds = [guild for guild in self._state.guilds.values() if session.holds(guild.id)]
        session.dispatch(
            "READY",
            {
                "v": 10,
                "shard": list(session.shard),
                "user": bot.json(),
                "guilds": [{"id": str(guild.id), "unavailable": True} for guild in guilds],
                "session_id": session.id,
                "session_type": "normal",
                "resume_gateway_url": self.advertised_url or self.url,
                "application": {"id": str(bot.id), "flags": 0},
            },
        )
        at_once = len(guilds) if self.pause_after is None else self.pause_after

        def send(some: list[Guild]) -> None:
            for guild in some:
                session.dispatch("GUILD_CREATE", partial(guild.create_json, bot))

        send(guilds[:at_once])
        if guilds[at_once:]:
            self._held_back.append(partial(send, guilds[at_once:]))

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
