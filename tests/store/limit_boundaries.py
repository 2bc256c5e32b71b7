"""For each limit, the state right before it: exactly one more request may be admitted, whatever the concurrency.

Run as a program (`python -m tests.store.limit_boundaries <database> <limit> <number> <first>`), it sends requests
from its own process: it prints "ready", waits for a line, sends `number` requests at once and prints how many were
admitted.
"""

import asyncio
import sys
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from bot.domain.errors import QuotaRefused
from bot.domain.guilds import LimitOverrides, OperatorDefaults
from bot.domain.jobs import Job, NewJob
from bot.domain.quotas import LimitName
from bot.store.engine import Database
from bot.store.jobs.job_store import JobStore
from tests.providers_asked import kind
from tests.store.factories import (
    FRAME,
    NOW,
    SECOND,
    UNLIMITED,
    add,
    grant,
    new_job,
    requester_of,
    set_guild,
    set_operator_state,
)

TWO_VIDEOS = 2 * UNLIMITED.catalog.estimate(kind(new_job().order.resolution))


@dataclass(frozen=True)
class LimitBoundary:
    """The rules and settings under which one more request is admitted once there are `before` jobs.

    guild_ids: if given, each request is another member's, in one of these servers.
    """

    rules: OperatorDefaults = UNLIMITED
    guild: dict[str, Any] = field(default_factory=dict)
    operator: dict[str, Any] = field(default_factory=dict)
    before: int = 1
    credits: int = 0
    guild_ids: tuple[int, ...] = ()

    async def set_up(self, store: JobStore) -> None:
        """Brings a store right up to the limit."""
        if self.guild:
            await set_guild(store, 10, **self.guild)
        if self.operator:
            await set_operator_state(store, **self.operator)
        if self.credits:
            await grant(store, self.credits, NOW - SECOND)
        for _ in range(self.before):
            await add(store, NOW - SECOND, user_id=999 if self.guild_ids else 1)

    def request(self, number: int) -> NewJob:
        """The request with this number."""
        if not self.guild_ids:
            return new_job()
        return new_job(user_id=number, guild_id=self.guild_ids[number % len(self.guild_ids)])


def _limits(**limits: int) -> OperatorDefaults:
    return replace(UNLIMITED, limits=replace(UNLIMITED.limits, **limits))


LIMIT_BOUNDARIES: dict[str, LimitBoundary] = {
    LimitName.MAX_ACTIVE: LimitBoundary(_limits(max_active=2)),
    LimitName.COOLDOWN: LimitBoundary(_limits(cooldown_s=1)),
    LimitName.VIDEOS_PER_WINDOW: LimitBoundary(_limits(videos_per_window=2)),
    "the last credit": LimitBoundary(replace(UNLIMITED, limits=LimitOverrides(0, 1000, 0)), before=0, credits=1),
    LimitName.GUILD_VIDEOS_PER_DAY: LimitBoundary(guild={"videos_per_day": 2}, guild_ids=(10,)),
    LimitName.GUILD_USD_PER_DAY: LimitBoundary(guild={"usd_per_day": TWO_VIDEOS}, guild_ids=(10,)),
    LimitName.GUILD_USD_PER_MONTH: LimitBoundary(guild={"usd_per_month": TWO_VIDEOS}, guild_ids=(10,)),
    LimitName.GRANTED_USD_PER_DAY: LimitBoundary(guild={"granted_usd_per_day": TWO_VIDEOS}, guild_ids=(10,)),
    LimitName.GRANTED_USD_PER_MONTH: LimitBoundary(guild={"granted_usd_per_month": TWO_VIDEOS}, guild_ids=(10,)),
    LimitName.TOTAL_USD_PER_DAY: LimitBoundary(operator={"usd_per_day": TWO_VIDEOS}, guild_ids=(10, 11, 12)),
    LimitName.TOTAL_USD_PER_MONTH: LimitBoundary(
        operator={"usd_per_month": TWO_VIDEOS + Decimal("0.19")}, guild_ids=(10, 11, 12)
    ),
    LimitName.QUEUE: LimitBoundary(operator={"max_queued": 2}, guild_ids=(11, 12, 13)),
    LimitName.GUILD_QUEUE: LimitBoundary(operator={"max_queued": 8}, guild_ids=(10,)),
}


async def send_concurrent_requests(
    store: JobStore, boundary: LimitBoundary, number: int, first: int = 1
) -> list[Job | QuotaRefused]:
    """Sends `number` requests at once and returns the result of each. first: the number of the first request."""
    new = [boundary.request(i) for i in range(first, first + number)]
    results = await asyncio.gather(
        *(store.add(one, FRAME, requester_of(one), NOW) for one in new), return_exceptions=True
    )
    for result in results:
        assert isinstance(result, Job | QuotaRefused), result
    return [result for result in results if isinstance(result, Job | QuotaRefused)]


async def _send_requests_on_signal(url: str, name: str, number: int, first: int) -> int:
    boundary = LIMIT_BOUNDARIES[name]
    async with Database.open(url) as database:
        store = JobStore(database, boundary.rules)
        await store.recent(10, 1, 1)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.readline)
        return sum(
            isinstance(result, Job) for result in await send_concurrent_requests(store, boundary, number, first)
        )


if __name__ == "__main__":
    _, database_url, limit, times, start = sys.argv
    sys.stdout.write(f"{asyncio.run(_send_requests_on_signal(database_url, limit, int(times), int(start)))}\n")
