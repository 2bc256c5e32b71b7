"""Discord as a whole is away: nothing is lost, nothing is stormed, and what waited goes on by itself."""

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from bot.chat.transport.request_throttle import RequestThrottle
from bot.domain.jobs import JobState
from bot.store.jobs.job_store import JobStore
from tests.discord_server import Reset, banned_by_cloudflare, ill, rate_limited, refused
from tests.discord_server.faults import Fault
from tests.faults.discord_harness import street


@pytest.mark.parametrize("fault", [Reset(), ill(503), rate_limited(900), refused(401, 0, "401: Unauthorized")])
async def test_an_hour_without_discord_loses_nothing_and_ends_without_a_burst(
    store: JobStore, tmp_path: Path, fault: Fault
) -> None:
    async with street(store, tmp_path) as place:
        jobs = [await place.order() for _ in range(2)]
        place.discord.fail_next("*", "*", fault, times=10**6)
        before = len(place.discord.requests)
        await place.settle(until=timedelta(hours=1))
        during = len(place.discord.requests) - before
        assert during < 150 * len(jobs)  # one a minute, which aiohttp sends again where it was reset
        assert {(await place.now(job)).state for job in jobs} == {JobState.DELIVERING}

        place.discord.faults.clear()
        before = len(place.discord.requests)
        await place.settle()
        assert len(place.discord.requests) - before < 10 * len(jobs)
        assert [(await place.now(job)).state for job in jobs] == [JobState.DELIVERED] * len(jobs)
        assert len(place.videos) == len(place.statuses) == len(place.upstream.received) == len(jobs)
        assert await place.counted() == len(jobs)


async def test_nothing_is_sent_during_a_cloudflare_ban(store: JobStore, tmp_path: Path) -> None:
    seconds = Ticks()
    async with street(store, tmp_path, manners=RequestThrottle(clock=seconds)) as place:
        jobs = [await place.order_at(JobState.DELIVERING) for _ in range(3)]
        before = len(place.discord.requests)
        place.discord.fail_next("*", "*", banned_by_cloudflare(600), times=10**6)
        await place.settle(until=timedelta(minutes=30))
        assert len(place.discord.requests) - before <= len(jobs)

        seconds.now += 600
        place.discord.faults.clear()
        await place.settle()
        assert len(place.videos) == len(jobs)


@dataclass
class Ticks:
    """The seconds that the client's manners count."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now
