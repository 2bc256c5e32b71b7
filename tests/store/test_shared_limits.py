"""Turns that processes take together on one PostgreSQL."""

import asyncio
from itertools import pairwise

import pytest

from bot.chat.transport.client import RestClient
from bot.chat.transport.request_limiter import AT_ONCE, RequestLimiter
from bot.chat.transport.request_throttle import RequestThrottle
from bot.store.engine import Database
from bot.store.shared_limits import FARTHEST_S, SharedLimits
from tests.discord_server import DiscordServer, logged_in

pytestmark = [pytest.mark.both_databases, pytest.mark.parametrize("kind", ["postgresql"], indirect=True)]

CLIENTS, REQUESTS, LIMIT, A_SECOND = 4, 25, 50, 15
"""Far fewer requests a second than the limit, so that a machine that halts for a moment doesn't pass it."""


async def test_turns_follow_each_other_whoever_takes_them(database: Database) -> None:
    first, second = SharedLimits(database), SharedLimits(database)
    waits_s = [await (first, second)[number % 2].reserve("requests", 2, 40.0) for number in range(6)]
    assert waits_s[0] <= 0
    for earlier, later in pairwise(waits_s):
        assert later - earlier == pytest.approx(80, abs=30)
    assert await first.reserve("others", 1, 40.0) <= 0


async def test_some_turns_are_taken_at_once_after_a_pause(database: Database) -> None:
    limits = SharedLimits(database)
    waits_s = [await limits.reserve("requests", 1, 100.0, at_once=3) for _ in range(5)]
    assert [wait_s <= 0 for wait_s in waits_s] == [True, True, True, False, False]


async def test_turns_that_a_clock_took_which_was_ahead_count_for_nothing(database: Database) -> None:
    limits = SharedLimits(database)
    await limits.reserve("requests", 1, 2 * FARTHEST_S)
    assert await limits.reserve("requests", 1, 1.0) <= 0
    assert await limits.reserve("requests", 1, 1.0) < FARTHEST_S


async def refused(database: Database, *, shared: bool) -> int:
    """How many requests of several processes' clients Discord refuses, each sending as many as it can."""
    async with DiscordServer() as server:
        server.limit_requests(LIMIT)

        async def send_all() -> None:
            throttle = RequestThrottle()
            if shared:
                limits = SharedLimits(database)

                async def reserve(turns: int) -> float:
                    return await limits.reserve("requests", turns, 1 / A_SECOND, at_once=AT_ONCE)

                throttle.limiter = RequestLimiter(A_SECOND, reserve=reserve, answer_s=60)
            async with logged_in(RestClient(throttle), server) as client:
                channels = [client.get_partial_messageable(server.channel.id + i) for i in range(REQUESTS)]
                await asyncio.gather(*(channel.send("hello") for channel in channels), return_exceptions=True)

        await asyncio.gather(*(send_all() for _ in range(CLIENTS)))
        return sum(call.status == 429 for call in server.requests)


async def test_clients_that_share_the_limit_are_not_refused_and_others_are(database: Database) -> None:
    assert await refused(database, shared=False) > 0
    assert await refused(database, shared=True) == 0
