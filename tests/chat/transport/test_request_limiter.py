"""Requests are spaced out, alone or together with other processes; without an answer, alone."""

import asyncio
from dataclasses import dataclass, field

import discord
import pytest

from bot.chat.transport.client import RestClient
from bot.chat.transport.request_limiter import AT_ONCE, BATCH_MAX, RequestLimiter
from bot.chat.transport.request_throttle import RequestThrottle
from bot.domain.errors import StoreError
from tests.discord_server import DiscordServer, logged_in


@dataclass
class ManualClock:
    """A clock that moves only when something sleeps."""

    now: float = 1000.0
    slept: list[float] = field(default_factory=list)

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        if seconds > 1e-6:  # not what is left of a rounded sum
            self.slept.append(seconds)
        self.now += seconds


async def test_after_a_pause_some_requests_go_at_once_and_the_rest_in_turn() -> None:
    clock = ManualClock()
    limiter = RequestLimiter(10, clock=clock, sleep=clock.sleep)
    for _ in range(AT_ONCE + 20):
        await limiter.wait()
    assert len(clock.slept) == 20
    assert clock.slept == pytest.approx([0.1] * 20)


async def test_those_who_wait_together_reserve_together() -> None:
    clock, reserved = ManualClock(), list[int]()

    async def reserve(turns: int) -> float:
        reserved.append(turns)
        await asyncio.sleep(0)  # the others arrive meanwhile
        return 0.5

    limiter = RequestLimiter(10, reserve=reserve, clock=clock, sleep=clock.sleep)
    await asyncio.gather(*(limiter.wait() for _ in range(BATCH_MAX)))
    assert reserved == [1, BATCH_MAX - 1]
    assert clock.slept[0] == pytest.approx(0.5)


async def test_a_turn_that_nobody_took_in_time_is_not_taken_later() -> None:
    clock, reserved = ManualClock(), list[int]()

    async def reserve(turns: int) -> float:
        reserved.append(turns)
        return 0.0

    limiter = RequestLimiter(10, reserve=reserve, clock=clock, sleep=clock.sleep)
    limiter._waiting = 3  # two requests that are cancelled before their turn
    await limiter.wait()
    clock.now += 10
    limiter._waiting = 0
    await limiter.wait()
    assert reserved == [4, 1]


async def test_requests_go_on_by_themselves_while_the_database_fails(caplog: pytest.LogCaptureFixture) -> None:
    clock, asked = ManualClock(), list[int]()

    async def reserve(turns: int) -> float:
        asked.append(turns)
        raise StoreError("the server is away")

    limiter = RequestLimiter(10, reserve=reserve, clock=clock, sleep=clock.sleep)
    for _ in range(AT_ONCE + 5):
        await limiter.wait()
    assert len(asked) == 1, "it isn't asked again at once"
    assert clock.slept == pytest.approx([0.1] * 5)
    assert "the server is away" in caplog.text


async def test_only_requests_that_discord_counts_take_a_turn() -> None:
    turns = 0

    async def reserve(count: int) -> float:
        nonlocal turns
        turns += count
        return 0.0

    throttle = RequestThrottle()
    async with DiscordServer() as server, logged_in(RestClient(throttle), server) as client:
        throttle.limiter = RequestLimiter(1000, reserve=reserve)
        await client.get_partial_messageable(server.channel.id).send("hello")
        assert turns == 1
        with pytest.raises(discord.NotFound):
            await discord.Webhook.partial(server.state.bot.id, "token", client=client).fetch_message(5)
        assert server.requests[-1].path.startswith("/webhooks/")
    assert turns == 1


async def test_a_turn_that_is_implausibly_far_ahead_is_not_waited_for() -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    async def an_hour_ahead(turns: int) -> float:
        del turns
        return 3600.0

    await RequestLimiter(40, reserve=an_hour_ahead, sleep=sleep).wait()
    assert sum(slept) < 1
