"""What one claim costs: run by path, it imports the code of the measured checkout.

    python claim_costs.py DATABASE_URL

It prints the CPU seconds of one round of the loop with nothing due: both claims, and when the next job is due.
"""

import asyncio
import sys
import time
from datetime import timedelta
from statistics import median

from bot.domain.jobs import JobState
from bot.operations.clock import utc_now
from bot.store.engine import Database
from bot.store.jobs.job_store import JobStore
from tests.providers_asked import vtrix

ROUNDS = 15
LEASES = dict.fromkeys(JobState, timedelta(seconds=45))


async def claim_s(url: str) -> float:
    """CPU seconds, the median of some rounds."""
    found: list[float] = []
    async with Database.open(url) as database:
        store = JobStore(database)
        for _ in range(ROUNDS):
            begin_s, now = time.process_time(), utc_now()
            assert await store.claim_due(now, 32, LEASES) == []
            assert await store.claim_queued(now, vtrix(2, timedelta(seconds=1)), timedelta(seconds=120)) is None
            await store.next_due_at(now, vtrix(2))
            found.append(time.process_time() - begin_s)
    return median(found[1:])


if __name__ == "__main__":
    print(asyncio.run(claim_s(sys.argv[1])))
