"""Gateway failures: from which the bot recovers by itself, and what it reports if it can't."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import discord
import pytest

from bot.chat.transport.client import RestClient, ZoetropeBot
from bot.chat.transport.connection import stay_connected, until_refused
from bot.chat.transport.request_throttle import RequestThrottle
from bot.chat.transport.sharded_client import ShardedClient
from bot.domain.errors import LoginRefused
from bot.domain.schedule import Backoff
from tests.chat.some_services import some_services
from tests.discord_server import Answer, CloseWebsocket, DiscordServer, logged_in, refused, server_error

SHORT_BACKOFF = Backoff(first_s=0.01, cap_s=0.01)
HEARTBEAT_TIMEOUT_S = 1.0


@dataclass(frozen=True)
class RecordingBackoff(Backoff):
    """Never pauses. `attempts`: after which failures a pause was requested."""

    attempts: list[int] = field(default_factory=list)

    def pause_s(self, attempt: int, *, jitter: float) -> float:
        del jitter
        self.attempts.append(attempt)
        return 0.0


class Bot(ShardedClient):
    """The gateway side of the bot: its intents and throttle."""

    reconnect_backoff = SHORT_BACKOFF
    identify_interval_s = 0.0

    def __init__(self) -> None:
        super().__init__(
            intents=discord.Intents(guilds=True),
            throttle=RequestThrottle(backoff=SHORT_BACKOFF),
            heartbeat_timeout=HEARTBEAT_TIMEOUT_S,
            guild_ready_timeout=0.05,
        )


@pytest.fixture
async def server() -> AsyncIterator[DiscordServer]:
    async with DiscordServer() as running:
        running.gateway.heartbeat_ms = 100
        yield running


@asynccontextmanager
async def staying_connected(server: DiscordServer) -> AsyncIterator[tuple[Bot, asyncio.Task[None]]]:
    """A bot that stays connected, until the block ends."""
    async with logged_in(Bot(), server) as bot:
        task = asyncio.create_task(stay_connected(bot, SHORT_BACKOFF))
        try:
            yield bot, task
        finally:
            await bot.close()
            await asyncio.wait({task})


GatewayFault = Callable[[DiscordServer], Awaitable[None] | None]
RECOVERABLE: dict[str, tuple[GatewayFault, bool]] = {
    "dropped": (lambda server: server.gateway.drop(), True),
    "asked to reconnect": (lambda server: server.gateway.ask_to_reconnect(), True),
    "session invalid, resumable": (lambda server: server.gateway.invalidate(resumable=True), True),
    "session invalid": (lambda server: server.gateway.invalidate(), False),
    "closed, unknown error": (lambda server: server.gateway.close_with(4000), True),
    "closed, normally": (lambda server: server.gateway.close_with(1000), True),
    "unreadable": (lambda server: server.gateway.send_garbage(), False),
}
"""The fault of the gateway, and whether the session is resumed after it."""


@pytest.mark.parametrize("fault", RECOVERABLE)
async def test_a_broken_connection_is_restored_without_missing_events(server: DiscordServer, fault: str) -> None:
    inject, resumes = RECOVERABLE[fault]
    async with staying_connected(server) as (bot, task):
        await bot.wait_until_ready()
        before = len(server.gateway.sessions)
        injecting = inject(server)
        if injecting is not None:
            await injecting
        if resumes:  # while it is disconnected
            await server.state.until(lambda: not server.gateway.live or len(server.gateway.connections) > 1)
            server.gateway.dispatch("GUILD_UPDATE", server.guild.json() | {"name": "Renamed"}, intent="guilds")
        await server.state.until(lambda: len(server.gateway.connections) == 2 and server.gateway.live)
        second = server.gateway.connections[1]
        assert (second.resume is not None, second.identify is not None) == (resumes, not resumes)
        assert len(server.gateway.sessions) == before or not resumes
        if resumes:
            while bot.guilds[0].name != "Renamed":
                await asyncio.sleep(0.01)
        assert not task.done()


async def test_an_unresponsive_connection_is_replaced(server: DiscordServer) -> None:
    async with staying_connected(server) as (bot, _):
        await bot.wait_until_ready()
        server.gateway.unresponsive = True
        await server.state.until(lambda: len(server.gateway.connections) >= 2)
        server.gateway.unresponsive = False
        await server.state.until(lambda: server.gateway.live and server.gateway.connections[-1].resume)


@pytest.mark.full
@pytest.mark.parametrize(
    "fault", [Answer(503, "no"), CloseWebsocket(4000), CloseWebsocket(1001)], ids=["503", "4000", "1001"]
)
async def test_a_gateway_that_fails_at_the_start_is_retried(
    server: DiscordServer, fault: Answer | CloseWebsocket
) -> None:
    """discord.py itself fails if it never had a connection."""
    server.fail_next("GET", "/gateway", fault, times=2)
    async with staying_connected(server) as (bot, task):
        await bot.wait_until_ready()
        assert not task.done()


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (4004, "set it to the bot's new token"),
        (4010, "--shards"),
        (4011, "start them with more shards"),
        (4012, "Update Zoetrope"),
        (4013, "Update Zoetrope"),
        (4014, "developer portal"),
    ],
)
async def test_a_permanent_close_code_says_what_the_operator_can_do(
    server: DiscordServer, code: int, text: str
) -> None:
    async with staying_connected(server) as (bot, task):
        await bot.wait_until_ready()
        await server.gateway.close_with(code)
        with pytest.raises(LoginRefused, match=f"(?i){text}"):
            await task
    assert len(server.gateway.connections) == 1


async def test_a_token_that_is_refused_repeatedly_counts_as_invalid(server: DiscordServer) -> None:
    throttle = RequestThrottle()
    async with logged_in(RestClient(throttle), server) as client:
        server.revoke_token()
        pauses = RecordingBackoff(0, 0)
        watching = asyncio.create_task(until_refused(client, throttle, pauses))
        with pytest.raises(discord.HTTPException):
            await client.get_partial_messageable(server.channel.id).send("hello")
        with pytest.raises(LoginRefused, match="DISCORD_TOKEN"):
            await watching
        assert pauses.attempts == [1, 2], "once it is sure, nothing waits"


async def test_a_single_refusal_of_the_token_and_other_failures_are_tolerated(server: DiscordServer) -> None:
    throttle = RequestThrottle()
    async with logged_in(RestClient(throttle), server) as client:
        server.fail_next("POST", "/channels/*/messages", refused(401, 0, "401: Unauthorized"))
        server.fail_next("GET", "/oauth2/*", server_error(503), times=5)
        watching = asyncio.create_task(until_refused(client, throttle, SHORT_BACKOFF))
        with pytest.raises(discord.HTTPException):
            await client.get_partial_messageable(server.channel.id).send("hello")
        await server.state.until(lambda: server.requests[-1].status == 200)
        while throttle.unauthorized.is_set():
            await asyncio.sleep(0.01)
        assert not watching.done()
        watching.cancel()


@pytest.mark.parametrize("kind", [Bot, ZoetropeBot])
async def test_a_client_that_is_closed_right_after_ready_leaves_nothing_running(
    server: DiscordServer, kind: type[Bot | ZoetropeBot]
) -> None:
    client = kind()
    if isinstance(client, ZoetropeBot):
        client.services = some_services()
    async with logged_in(client, server) as bot:
        connection = asyncio.create_task(bot.connect())
        state: Any = bot._connection
        while state._ready_task is None:
            await asyncio.sleep(0)
        waiting = [state._ready_task, *state._ready_tasks.values()]
        await bot.close()
        await connection
        assert all(task.done() for task in waiting)
        bot.dispatch("ready")  # discord.py would make a coroutine that nobody awaits
