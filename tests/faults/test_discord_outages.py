"""All of Discord is unavailable: nothing is lost, requests stay few, and waiting jobs continue by themselves."""

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from bot.chat.transport.request_throttle import RequestThrottle
from bot.domain.jobs import JobState
from bot.store.jobs.job_store import JobStore
from tests.discord_server import Reset, banned_by_cloudflare, rate_limited, refused, server_error
from tests.discord_server.faults import Fault
from tests.faults.discord_harness import discord_harness

pytestmark = pytest.mark.full


@pytest.mark.parametrize(
    "fault", [Reset(), server_error(503), rate_limited(900), refused(401, 0, "401: Unauthorized")]
)
async def test_an_hour_without_discord_loses_nothing_and_ends_without_a_burst(
    store: JobStore, tmp_path: Path, fault: Fault
) -> None:
    async with discord_harness(store, tmp_path) as harness:
        jobs = [await harness.order() for _ in range(2)]
        harness.discord.fail_next("*", "*", fault, times=10**6)
        before = len(harness.discord.requests)
        await harness.settle(until=timedelta(hours=1))
        during = len(harness.discord.requests) - before
        assert during < 150 * len(jobs)  # one a minute, which aiohttp sends again where it was reset
        assert {(await harness.reload(job)).state for job in jobs} == {JobState.DELIVERING}

        harness.discord.faults.clear()
        before = len(harness.discord.requests)
        await harness.settle()
        assert len(harness.discord.requests) - before < 10 * len(jobs)
        assert [(await harness.reload(job)).state for job in jobs] == [JobState.DELIVERED] * len(jobs)
        assert len(harness.videos) == len(harness.upstream.received) == len(jobs)
        assert harness.status_cards == []
        assert await harness.charged_count() == len(jobs)


async def test_nothing_is_sent_during_a_cloudflare_ban(store: JobStore, tmp_path: Path) -> None:
    seconds = ThrottleClock()
    async with discord_harness(store, tmp_path, throttle=RequestThrottle(clock=seconds)) as harness:
        jobs = [await harness.order_at(JobState.DELIVERING) for _ in range(3)]
        before = len(harness.discord.requests)
        harness.discord.fail_next("*", "*", banned_by_cloudflare(600), times=10**6)
        await harness.settle(until=timedelta(minutes=30))
        assert len(harness.discord.requests) - before <= len(jobs)

        seconds.now += 600
        harness.discord.faults.clear()
        await harness.settle()
        assert len(harness.videos) == len(jobs)


@dataclass
class ThrottleClock:
    """The monotonic clock of the request throttle."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now
