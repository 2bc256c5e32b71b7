"""A script of `orders.py`: measures what an order costs in the databases of one checkout; prints JSON."""

import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from statistics import median

from server_history import CHANNEL_ID, GUILD_ID, NEWEST, fill  # type: ignore[import-not-found] # beside this script

from bot.domain.guilds import Budget, LimitOverrides, OperatorDefaults
from bot.domain.jobs import Frame, NewJob, Order, PictureLabels, new_job_id
from bot.domain.policy import Requester
from bot.store.engine import Database
from bot.store.jobs.job_store import JobStore

ROUNDS, YEAR = 60, timedelta(days=365)
RICH = Budget(Decimal(100_000), Decimal(100_000))
DEFAULTS = OperatorDefaults(
    limits=LimitOverrides(100_000, 100_000, 0), budget=RICH, guild_budget=RICH, max_queued=100_000
)
ORDER = Order("a lighthouse in the fog, waves roll in")
FRAME = Frame(bytes(200_000), "image/png")
MEMBER = Requester(GUILD_ID, CHANNEL_ID, 1)


async def check(store: JobStore, number: int) -> None:
    """Whether an order would be accepted."""
    await store.check(MEMBER, ORDER, NEWEST + timedelta(seconds=number), arriving=0)


async def add(store: JobStore, number: int) -> None:
    """Accepts an order."""
    new = NewJob(new_job_id(), GUILD_ID, CHANNEL_ID, MEMBER.user_id, ORDER, PictureLabels())
    await store.add(new, FRAME, MEMBER, NEWEST + timedelta(seconds=number))


async def measure(counts: list[int]) -> dict[str, list[float]]:
    """The median CPU time of each step, in milliseconds, with so many ended jobs; measured in turns."""
    steps: dict[str, Callable[[JobStore, int], Awaitable[None]]] = {"check": check, "add": add}
    taken: dict[str, list[list[float]]] = {name: [[] for _ in counts] for name in steps}
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stores = []
        for count in counts:
            file = folder / f"{count}.db"
            await fill(file, count, over=YEAR)
            database = await stack.enter_async_context(Database.open(f"sqlite:///{file}"))
            stores.append(JobStore(database, DEFAULTS))
        for number in range(ROUNDS):
            for index, store in enumerate(stores):
                for name, step in steps.items():
                    begin = time.process_time()
                    await step(store, number)
                    taken[name][index].append((time.process_time() - begin) * 1000)
    return {name: [median(found) for found in by_count] for name, by_count in taken.items()}


if __name__ == "__main__":
    json.dump(asyncio.run(measure([int(count) for count in sys.argv[1:]])), sys.stdout)
