"""A worker that does nothing but poll, for benchmarks: run by path, it imports the code of the measured checkout.

    python polling_worker.py DATABASE_URL PORT SECONDS MIN_PAUSE_S MAX_PAUSE_S

Every task is in progress for ever. It prints one JSON object: the polls, the CPU seconds, and the lateness of the
polls in seconds, as quantiles. Nothing is posted: a stage other than a poll fails.
"""

import asyncio
import json
import random
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

from bot.operations.clock import utc_now
from bot.providers.base import Task, TaskRef
from bot.providers.vtrix.client import Vtrix
from bot.store.engine import Database
from bot.store.jobs.job_store import JobStore
from bot.worker.config import WorkerConfig
from bot.worker.loop import Worker
from bot.worker.stages.context import StageConfig, StageContext
from tests.providers_asked import VTRIX
from tests.providers_asked import vtrix as limits

WARM_UP_SHARE = 0.4
"""Of the time: connections are opened and statements are compiled."""


class Pauses:
    """A schedule that draws each pause, and remembers when each job is due. It stands in for `PollSchedule`."""

    def __init__(self, min_s: float, max_s: float) -> None:
        self._min_s, self._max_s = min_s, max_s
        self._due_at_s: dict[str, float] = {}
        self.late_s: list[float] = []
        self.polls = 0

    def next_pause_s(self, *_what_is_known: object) -> float:
        """Called by a poll that found its task in progress."""
        pause_s = random.uniform(self._min_s, self._max_s)  # noqa: S311 - no secret
        self._due_at_s[_job()] = time.monotonic() + pause_s
        return pause_s

    def polled(self) -> None:
        """Called before each poll."""
        self.polls += 1
        if (due_at_s := self._due_at_s.get(_job())) is not None:
            self.late_s.append(time.monotonic() - due_at_s)


def _job() -> str:
    task = asyncio.current_task()
    assert task is not None
    return task.get_name()


class WatchedVtrix(Vtrix):
    """The real client, whose polls are counted."""

    pauses: Pauses

    async def status(self, task: TaskRef) -> Task:
        """As the client's."""
        self.pauses.polled()
        return await super().status(task)


async def work(url: str, port: int, seconds: float, min_s: float, max_s: float) -> dict[str, Any]:
    """Polls for that long."""
    pauses = Pauses(min_s, max_s)
    nothing = cast("Any", None)
    async with (
        Database.open(url) as database,
        WatchedVtrix(f"http://127.0.0.1:{port}", "key-of-the-bench") as vtrix,
    ):
        vtrix.pauses = pauses
        store = JobStore(database)
        config = StageConfig(timedelta(days=1), timedelta(days=2), cast("Any", pauses))
        context = StageContext(
            {VTRIX: vtrix},
            nothing,
            nothing,
            store,
            config,
            cast("Callable[..., Any]", utc_now),
            Path(),
            approval_messenger=nothing,
            approvals=nothing,
        )
        worker = Worker(store, context, WorkerConfig(limits(20_000, timedelta(seconds=1))))
        running = asyncio.create_task(worker.run())
        await asyncio.sleep(seconds * WARM_UP_SHARE)
        pauses.late_s.clear()
        polls, cpu_s, begin_s = pauses.polls, time.process_time(), time.monotonic()
        await asyncio.sleep(seconds * (1 - WARM_UP_SHARE))
        found = {
            "polls": pauses.polls - polls,
            "cpu_s": time.process_time() - cpu_s,
            "seconds": time.monotonic() - begin_s,
            "late_s": _quantiles(sorted(pauses.late_s)),
        }
        await worker.stop(grace_s=1)
        await running
    return found


def _quantiles(late_s: list[float]) -> dict[str, float]:
    return {str(share): late_s[int(share * (len(late_s) - 1))] for share in (0.5, 0.9, 0.99)} if late_s else {}


if __name__ == "__main__":
    url, port, *numbers = sys.argv[1:]
    print(json.dumps(asyncio.run(work(url, int(port), *map(float, numbers)))))
