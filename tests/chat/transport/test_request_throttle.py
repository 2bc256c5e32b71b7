from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import discord
import pytest

from bot.chat.transport.client import RestClient
from bot.chat.transport.request_throttle import REFUSED_MAX, SESSIONS_MAX, RequestSuppressed, RequestThrottle
from tests.discord_server import (
    CloseWebsocket,
    DiscordServer,
    banned_by_cloudflare,
    logged_in,
    rate_limited,
    refused,
)
from tests.discord_server.faults import Answer

MESSAGES = "/channels/*/messages"


@dataclass
class Time:
    """Moves only when somebody waits, or by hand."""

    now: float = 1000.0
    slept: list[float] = field(default_factory=list)

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def throttle(time: Time) -> RequestThrottle:
    return RequestThrottle(clock=time, chance=lambda: 1.0, sleep=time.sleep)


@pytest.fixture
async def server() -> AsyncIterator[DiscordServer]:
    async with DiscordServer() as running:
        yield running


@pytest.fixture
async def channel(server: DiscordServer, throttle: RequestThrottle) -> AsyncIterator[discord.PartialMessageable]:
    async with logged_in(RestClient(throttle), server) as client:
        yield client.get_partial_messageable(server.channel.id)


async def test_a_ban_is_left_alone_for_as_long_as_it_said(
    server: DiscordServer, channel: discord.PartialMessageable, time: Time
) -> None:
    server.fail_next("POST", MESSAGES, banned_by_cloudflare(600))
    with pytest.raises(discord.HTTPException):
        await channel.send("hello")
    for _ in range(100):
        with pytest.raises(RequestSuppressed):
            await channel.send("hello")
    assert len(server.calls("POST", "/channels/")) == 1

    time.now += 600
    await channel.send("hello")
    assert len(server.messages()) == 1


@pytest.mark.parametrize("said", ["Wed, 21 Oct 2026 07:28:00 GMT", "", "-5"])
async def test_a_ban_that_does_not_say_how_long_is_left_alone_for_a_while(
    server: DiscordServer, channel: discord.PartialMessageable, said: str
) -> None:
    server.fail_next("POST", MESSAGES, Answer(429, "error code: 1015", {"Retry-After": said}))
    with pytest.raises(discord.HTTPException):
        await channel.send("hello")
    with pytest.raises(RequestSuppressed):
        await channel.send("hello")


async def test_refused_requests_end_far_below_what_discord_bans_for(
    server: DiscordServer, channel: discord.PartialMessageable, throttle: RequestThrottle, time: Time
) -> None:
    throttle._refused.extend([time.now] * (REFUSED_MAX - 2))
    server.fail_next("POST", MESSAGES, refused(403, 50013, "Missing Permissions"), times=2)
    for _ in range(2):
        with pytest.raises(discord.Forbidden):
            await channel.send("hello")
    with pytest.raises(RequestSuppressed):
        await channel.send("hello")
    assert REFUSED_MAX <= 10_000 / 5

    time.now += 600
    await channel.send("hello")
    assert len(server.messages()) == 1


async def test_rate_limits_that_are_shared_with_others_are_not_counted(
    server: DiscordServer, channel: discord.PartialMessageable, throttle: RequestThrottle, time: Time
) -> None:
    throttle._refused.extend([time.now] * (REFUSED_MAX - 1))
    server.fail_next("POST", MESSAGES, rate_limited(0.01, scope="shared"), times=2)
    await channel.send("hello")
    assert len(server.messages()) == 1


async def test_sessions_stay_below_discords_daily_limit(throttle: RequestThrottle, time: Time) -> None:
    begun = 0
    for _ in range(86_400 // 30):  # a day of gateways that end each session, tried twice a minute
        try:
            await throttle.before_identify()
            begun += 1
        except RequestSuppressed:
            pass
        time.now += 30
    assert SESSIONS_MAX < begun < 1000


async def test_a_gateway_that_closes_each_connection_at_once_is_not_stormed(
    server: DiscordServer, time: Time, throttle: RequestThrottle
) -> None:
    client = discord.Client(intents=discord.Intents.none(), http_trace=throttle.trace())
    async with logged_in(client, server):
        server.fail_next("GET", "/gateway", CloseWebsocket(4000), times=6)
        for _ in range(6):
            socket = await client.http.ws_connect(server.gateway_url)
            await socket.close()
    assert time.slept == [2, 4, 8, 16, 32]


async def test_a_connection_that_lasted_is_followed_by_the_next_at_once(
    server: DiscordServer, time: Time, throttle: RequestThrottle
) -> None:
    client = discord.Client(intents=discord.Intents.none(), http_trace=throttle.trace())
    async with logged_in(client, server):
        for _ in range(3):
            socket = await client.http.ws_connect(server.gateway_url)
            await socket.close()
            time.now += 61
    assert time.slept == []
