import time as time_module
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta

import aiohttp
import discord
import pytest
from discord.http import Route

from bot.chat.transport.client import RestClient
from bot.chat.transport.request_limiter import RequestLimiter
from bot.chat.transport.request_throttle import REFUSED_MAX, SESSIONS_MAX, RequestSuppressed, RequestThrottle
from bot.operations.clock import uptime_s
from bot.operations.held_lease import HeldLease, working_under
from tests.discord_server import (
    DiscordServer,
    banned_by_cloudflare,
    logged_in,
    rate_limited,
    refused,
)
from tests.discord_server.faults import Answer

MESSAGES = "/channels/*/messages"


@dataclass
class ManualClock:
    """A clock that moves only when something sleeps, or by hand."""

    now: float = 1000.0
    slept: list[float] = field(default_factory=list)

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def time() -> ManualClock:
    return ManualClock()


@pytest.fixture
def throttle(time: ManualClock) -> RequestThrottle:
    return RequestThrottle(clock=time, chance=lambda: 1.0, sleep=time.sleep)


@pytest.fixture
async def channel(server: DiscordServer, throttle: RequestThrottle) -> AsyncIterator[discord.PartialMessageable]:
    async with logged_in(RestClient(throttle), server) as client:
        yield client.get_partial_messageable(server.channel.id)


async def test_nothing_is_sent_if_the_lease_ends_while_the_request_waits_for_its_turn(
    server: DiscordServer, throttle: RequestThrottle, channel: discord.PartialMessageable
) -> None:
    async def stopped(_: float) -> None:
        held.renew(uptime_s() - 10)

    held = HeldLease(uptime_s(), timedelta(seconds=5))
    throttle.limiter = RequestLimiter(0.001, sleep=stopped)
    throttle.limiter._next_at = time_module.monotonic() + 1000
    with working_under(held), pytest.raises(RequestSuppressed, match="lease"):
        await channel.send("hello")
    assert server.messages() == []


async def test_nothing_is_sent_under_a_lease_that_is_over(
    server: DiscordServer, channel: discord.PartialMessageable
) -> None:
    with working_under(HeldLease(uptime_s(), timedelta(0))), pytest.raises(RequestSuppressed, match="lease"):
        await channel.send("hello")
    assert server.messages() == []
    with working_under(HeldLease(uptime_s(), timedelta(hours=1))):
        await channel.send("hello")
    assert [message.content for message in server.messages()] == ["hello"]


@pytest.mark.parametrize("stopped_while", ["connecting", "uploading"])
async def test_nothing_arrives_if_the_lease_ends_while_the_request_is_under_way(
    server: DiscordServer, throttle: RequestThrottle, channel: discord.PartialMessageable, stopped_while: str
) -> None:
    held = HeldLease(uptime_s(), timedelta(hours=1))

    async def connecting(*_: object) -> None:
        if stopped_while == "connecting":
            held.renew(uptime_s() - 7200)

    async def upload() -> AsyncIterator[bytes]:
        yield b'{"content":'
        if stopped_while == "uploading":
            held.renew(uptime_s() - 7200)
        yield b'"hello"}'

    connections = aiohttp.TraceConfig()
    connections.on_connection_create_start.append(connecting)
    url = f"{Route.BASE}/channels/{channel.id}/messages"
    headers = {"Authorization": f"Bot {server.token}", "Content-Type": "application/json"}
    async with aiohttp.ClientSession(trace_configs=[throttle.trace(), connections], headers=headers) as session:
        with working_under(held), pytest.raises(aiohttp.ClientError):
            await session.post(url, data=upload())
        assert server.messages() == []
        stopped_while = "never"
        with working_under(HeldLease(uptime_s(), timedelta(hours=1))):
            assert (await session.post(url, data=upload())).ok
    assert [message.content for message in server.messages()] == ["hello"]


async def test_no_requests_are_sent_for_the_duration_of_a_ban(
    server: DiscordServer, channel: discord.PartialMessageable, time: ManualClock
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
async def test_no_requests_are_sent_during_a_ban_of_unknown_duration(
    server: DiscordServer, channel: discord.PartialMessageable, said: str
) -> None:
    server.fail_next("POST", MESSAGES, Answer(429, "error code: 1015", {"Retry-After": said}))
    with pytest.raises(discord.HTTPException):
        await channel.send("hello")
    with pytest.raises(RequestSuppressed):
        await channel.send("hello")


async def test_refused_requests_are_limited_far_below_discords_ban_threshold(
    server: DiscordServer, channel: discord.PartialMessageable, throttle: RequestThrottle, time: ManualClock
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


async def test_shared_rate_limits_do_not_count_as_refused_requests(
    server: DiscordServer, channel: discord.PartialMessageable, throttle: RequestThrottle, time: ManualClock
) -> None:
    throttle._refused.extend([time.now] * (REFUSED_MAX - 1))
    server.fail_next("POST", MESSAGES, rate_limited(0.01, scope="shared"), times=2)
    await channel.send("hello")
    assert len(server.messages()) == 1


@pytest.mark.parametrize("a_day", [1000, 62, 4000], ids=["alone", "one of sixteen", "a large bot"])
async def test_sessions_stay_below_what_discord_allows_this_process(
    throttle: RequestThrottle, time: ManualClock, a_day: int
) -> None:
    throttle.allow_sessions(a_day)
    begun = 0
    for _ in range(86_400 // 10):  # a day of gateways that end each session, tried six times a minute
        try:
            await throttle.before_identify()
            begun += 1
        except RequestSuppressed:
            pass
        time.now += 10
    assert a_day * SESSIONS_MAX / 1000 < begun < a_day


async def test_connections_that_do_not_last_are_spaced_out_shard_by_shard(
    time: ManualClock, throttle: RequestThrottle
) -> None:
    for _ in range(6):
        await throttle.before_connection(0)
    assert time.slept == [2, 4, 8, 16, 32]
    await throttle.before_connection(1)
    assert len(time.slept) == 5


async def test_a_connection_that_lasted_is_followed_by_the_next_without_a_pause(
    time: ManualClock, throttle: RequestThrottle
) -> None:
    for _ in range(3):
        await throttle.before_connection(0)
        time.now += 61
    assert time.slept == []


async def test_a_large_bot_may_start_more_sessions(throttle: RequestThrottle) -> None:
    throttle.allow_sessions(4000)
    for _ in range(2000):
        await throttle.before_identify()
    with pytest.raises(RequestSuppressed):
        await throttle.before_identify()
