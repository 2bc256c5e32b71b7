"""For each limit, a place right before it: exactly one more may be let in, whoever asks, and however many at once.

Run as a program (`python -m tests.store.limit_edges <database> <limit> <number> <first>`) it asks from its own
process:
says that it is ready, waits for a line, asks that often at once and prints how many were let in.
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
from tests.store.factories import FRAME, NOW, ROOMY, SECOND, add, asker_of, grant, new_job, set_guild, set_house

TWO_VIDEOS = 2 * ROOMY.prices[new_job().order.resolution]


@dataclass(frozen=True)
class Edge:
    """The rules and settings under which one more is let in once `before` jobs are there.

    crowd: whether each request is another member's, and in which servers they are.
    """

    rules: OperatorDefaults = ROOMY
    guild: dict[str, Any] = field(default_factory=dict)
    house: dict[str, Any] = field(default_factory=dict)
    before: int = 1
    credits: int = 0
    crowd: tuple[int, ...] = ()

    async def reach(self, store: JobStore) -> None:
        """Brings a store to the edge."""
        if self.guild:
            await set_guild(store, 10, **self.guild)
        if self.house:
            await set_house(store, **self.house)
        if self.credits:
            await grant(store, self.credits, NOW - SECOND)
        for _ in range(self.before):
            await add(store, NOW - SECOND, user_id=999 if self.crowd else 1)

    def request(self, number: int) -> NewJob:
        """One of those who ask."""
        if not self.crowd:
            return new_job()
        return new_job(user_id=number, guild_id=self.crowd[number % len(self.crowd)])


def _limits(**limits: int) -> OperatorDefaults:
    return replace(ROOMY, limits=replace(ROOMY.limits, **limits))


EDGES: dict[str, Edge] = {
    LimitName.RUNNING: Edge(_limits(max_active=2)),
    LimitName.PAUSE: Edge(_limits(cooldown_s=1)),
    LimitName.WINDOW: Edge(_limits(videos_per_window=2)),
    "the last credit": Edge(replace(ROOMY, limits=LimitOverrides(0, 1000, 0)), before=0, credits=1),
    LimitName.GUILD_VIDEOS: Edge(guild={"videos_per_day": 2}, crowd=(10,)),
    LimitName.GUILD_USD_DAY: Edge(guild={"usd_per_day": TWO_VIDEOS}, crowd=(10,)),
    LimitName.GUILD_USD_MONTH: Edge(guild={"usd_per_month": TWO_VIDEOS}, crowd=(10,)),
    LimitName.GRANTED_USD_DAY: Edge(guild={"granted_usd_per_day": TWO_VIDEOS}, crowd=(10,)),
    LimitName.GRANTED_USD_MONTH: Edge(guild={"granted_usd_per_month": TWO_VIDEOS}, crowd=(10,)),
    LimitName.TOTAL_USD_DAY: Edge(house={"usd_per_day": TWO_VIDEOS}, crowd=(10, 11, 12)),
    LimitName.TOTAL_USD_MONTH: Edge(house={"usd_per_month": TWO_VIDEOS + Decimal("0.19")}, crowd=(10, 11, 12)),
    LimitName.QUEUE: Edge(house={"max_queued": 2}, crowd=(11, 12, 13)),
    LimitName.QUEUE_SHARE: Edge(house={"max_queued": 8}, crowd=(10,)),
}


async def rush(store: JobStore, edge: Edge, number: int, first: int = 1) -> list[Job | QuotaRefused]:
    """So many requests at once; what became of each. first: the number of the first who asks."""
    new = [edge.request(one) for one in range(first, first + number)]
    results = await asyncio.gather(
        *(store.add(one, FRAME, asker_of(one), NOW) for one in new), return_exceptions=True
    )
    for result in results:
        assert isinstance(result, Job | QuotaRefused), result
    return [result for result in results if isinstance(result, Job | QuotaRefused)]


async def _ask(url: str, name: str, number: int, first: int) -> int:
    edge = EDGES[name]
    async with Database.open(url) as database:
        store = JobStore(database, edge.rules)
        await store.recent(10, 1, 1)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.readline)
        return sum(isinstance(result, Job) for result in await rush(store, edge, number, first))


if __name__ == "__main__":
    _, database_url, limit, times, start = sys.argv
    sys.stdout.write(f"{asyncio.run(_ask(database_url, limit, int(times), int(start)))}\n")
