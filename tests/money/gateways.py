"""Simulated gateways, in process and on a simulated clock, which keep their own books of what they bill.

They promise what `bot.providers.base.Provider` says, and no more: answers are lost, tasks fail or are forgotten,
and costs are told late, oddly or never. All that happens follows from the seed, the job and how often it was asked
for.
"""

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from pathlib import Path

from bot.domain.errors import (
    ContentRefused,
    OutcomeUnknown,
    ResultIncomplete,
    ResultRefused,
    ResultUnusable,
    UpstreamBusy,
    UpstreamClosed,
    UpstreamError,
    UpstreamIll,
    UpstreamRefused,
    UpstreamUnreached,
)
from bot.domain.jobs import Frame, Order, ProviderName, StopResult
from bot.domain.models import TaskKind
from bot.operations.clock import Clock
from bot.providers.base import Task, TaskRef, TaskStatus
from tests.fakes import VIDEO
from tests.money.tasks import ENDED_WELL, CostGiven, End, SimulatedTask, new_task


class Create(StrEnum):
    """What becomes of a create."""

    ANSWERED = "answered"
    REFUSED = "refused"
    CONTENT = "content rejected"
    CLOSED = "closed"
    BUSY = "busy"
    UNREACHED = "unreached"
    LOST_WITH_TASK = "answer lost, with a task"
    LOST_WITHOUT = "answer lost, without a task"
    BROKEN = "answer that breaks the worker's stage"
    SLOW = "answer after the lease"


CREATES = {
    Create.ANSWERED: 82,
    Create.REFUSED: 3.5,
    Create.CONTENT: 3,
    Create.CLOSED: 0.7,
    Create.BUSY: 1,
    Create.UNREACHED: 1,
    Create.LOST_WITH_TASK: 2.5,
    Create.LOST_WITHOUT: 2.5,
    Create.BROKEN: 0.8,
    Create.SLOW: 1,
}
"""How often, in percent."""

_SAFE: dict[Create, UpstreamError] = {
    Create.REFUSED: UpstreamRefused("no such model", code="400"),
    Create.CONTENT: ContentRefused("inappropriate content", code="DataInspectionFailed"),
    Create.CLOSED: UpstreamClosed("no balance", status=403),
    Create.BUSY: UpstreamBusy("slow down", retry_after_s=20),
    Create.UNREACHED: UpstreamUnreached("connection refused"),
    Create.LOST_WITHOUT: OutcomeUnknown("connection reset"),
}
"""The errors after which no task exists."""

_POLL_TROUBLE: tuple[UpstreamError, ...] = (
    UpstreamBusy("slow down", retry_after_s=None),
    UpstreamClosed("no such key", status=401),
    UpstreamUnreached("connection refused"),
    UpstreamIll("502"),
    UpstreamRefused("no such task", code="404"),
)
_DOWNLOAD_TROUBLE: tuple[UpstreamError, ...] = (
    ResultRefused("403"),
    ResultIncomplete("cut off"),
    UpstreamIll("502"),
    UpstreamUnreached("connection refused"),
)
_STATUSES = {
    End.COMPLETED: TaskStatus.COMPLETED,
    End.NO_VIDEO: TaskStatus.COMPLETED,
    End.FAILED: TaskStatus.FAILED,
    End.REJECTED: TaskStatus.FAILED,
    End.CANCELLED: TaskStatus.CANCELLED,
    End.STOPPED: TaskStatus.CANCELLED,
    End.FORGOTTEN: TaskStatus.GONE,
    End.REFUSED: TaskStatus.GONE,
}
_LATE = timedelta(minutes=3)
"""After how long a slow answer comes: longer than the lease of a submission."""

_TROUBLE = 0.04
_DOWNLOADS_FOREVER_BROKEN = 0.01


class Gateway:
    """One provider. prices: in USD a second, by kind without the duration; they rise and fall by the hour.

    tasks: all that were ever made, by id. faults: how often each was met.
    """

    def __init__(
        self, name: ProviderName, prices: Mapping[TaskKind, Decimal], clock: Clock, seed: int, *, is_queue: bool
    ) -> None:
        self.name = name
        self.tasks: dict[str, SimulatedTask] = {}
        self.by_job: defaultdict[str, list[SimulatedTask]] = defaultdict(list)
        self.faults: Counter[str] = Counter()
        self.is_healthy = False
        self._prices = prices
        self._clock = clock
        self._seed = seed
        self._is_queue = is_queue
        self._began = clock()
        self._creates: Counter[str] = Counter()
        self._slow: list[tuple[datetime, asyncio.Event]] = []

    async def submit(self, order: Order, frame: Frame, *, request_id: str) -> Task:
        del frame
        self._creates[request_id] += 1
        rng = self._rng("create", request_id, self._creates[request_id])
        [what] = rng.choices([*CREATES], [*CREATES.values()])
        self._note(what)
        if (error := _SAFE.get(what)) is not None:
            raise error.with_traceback(None)
        task = self._add(order, request_id, rng)
        if what is Create.LOST_WITH_TASK:
            raise OutcomeUnknown("connection reset")
        if what is Create.BROKEN:
            raise ValueError("a bug of ours")
        if what is Create.SLOW:
            answered = asyncio.Event()
            self._slow.append((self._clock() + _LATE, answered))
            await answered.wait()
            task.answered_late = True
        if rng.random() < 0.02:
            task.begins_at = task.ends_at = self._clock()
        return self._told(task)

    async def status(self, task: TaskRef) -> Task:
        known = self._known(task)
        known.asked += 1
        self._trouble("poll", known.id, known.asked, _POLL_TROUBLE)
        if known.has_ended(self._clock()) and known.end is End.REFUSED:
            self._note(known.end)
            raise UpstreamRefused("no such task", code="404")
        return self._told(known)

    async def stop(self, task: TaskRef) -> StopResult:
        known, now = self._known(task), self._clock()
        known.close(now)
        known.asked += 1
        result = self._stopped(known, now)
        self._note(f"stop: {result}")
        self._trouble("stop", known.id, known.asked, _POLL_TROUBLE[:-1])  # its answer is lost
        return result

    async def download(self, url: str, to: Path) -> int:
        task = self.tasks[url.rpartition("/")[2]]
        task.downloads += 1
        if self._rng("unusable", task.id).random() < _DOWNLOADS_FOREVER_BROKEN:
            self._note("result unusable")
            raise ResultUnusable("not a video")
        self._trouble("download", task.id, task.downloads, _DOWNLOAD_TROUBLE)
        to.write_bytes(VIDEO)  # noqa: ASYNC240 - a few bytes
        return len(VIDEO)

    async def check(self) -> None:
        pass

    @property
    def next_answer_at(self) -> datetime | None:
        """When the next slow answer is due."""
        return min((at for at, _ in self._slow), default=None)

    def answer_slow(self) -> None:
        """Gives the slow answers that are due."""
        now = self._clock()
        for _, answered in [one for one in self._slow if one[0] <= now]:
            answered.set()
        self._slow = [one for one in self._slow if one[0] > now]

    def close_books(self) -> None:
        """Bills everything that has ended."""
        for task in self.tasks.values():
            task.close(self._clock())

    @property
    def last_end(self) -> datetime:
        """When the last of all tasks ends."""
        return max((task.ends_at for task in self.tasks.values()), default=self._clock())

    def _rng(self, *what: object) -> random.Random:
        return random.Random(f"{self._seed} {self.name} {what}")  # noqa: S311 - repeatable

    def _note(self, fault: str) -> None:
        self.faults[fault] += 1

    def _trouble(self, call: str, task_id: str, number: int, errors: tuple[UpstreamError, ...]) -> None:
        rng = self._rng(call, task_id, number)
        if not self.is_healthy and rng.random() < _TROUBLE:
            error = rng.choice(errors)
            self._note(f"{call}: {type(error).__name__}")
            raise error.with_traceback(None)

    def _known(self, task: TaskRef) -> SimulatedTask:
        known = self.tasks.get(task.id)
        if known is None or (task.urls and dict(task.urls) != known.urls):
            raise UpstreamRefused("no such task", code="404")
        return known

    def _add(self, order: Order, job_id: str, rng: random.Random) -> SimulatedTask:
        now = self._clock()
        kind = TaskKind(self.name, order.model, order.resolution, order.duration_s)
        task_id = f"{self.name}-{len(self.tasks):05}"
        hours = int((now - self._began).total_seconds() // 3600)
        price = self._prices[kind] * (10 + hours // 5 % 4) / 10
        task = new_task(task_id, job_id, kind, price, now, rng, is_queue=self._is_queue)
        self.tasks[task_id] = task
        self.by_job[job_id].append(task)
        return task

    def _stopped(self, task: SimulatedTask, now: datetime) -> StopResult:
        """Stops a task, if it can be, and says so. The queue only tries, and may bill what it stopped."""
        if task.end is End.STOPPED:
            return StopResult.STOPPED
        if task.has_ended(now):
            return StopResult.ENDED
        if not self._is_queue:
            if now >= task.begins_at:
                return StopResult.RUNNING
            task.end, task.ends_at, task.is_billed, task.may_be_billed = End.STOPPED, now, False, False
            task.close(now)
            return StopResult.STOPPED
        rng = self._rng("stopped", task.id)
        if not task.stop_asked and rng.random() < 0.6:
            task.end, task.ends_at = End.CANCELLED, now + timedelta(seconds=5)
            task.is_billed, task.may_be_billed = rng.random() < 0.5, True
        task.stop_asked = True
        return StopResult.ASKED

    def _told(self, task: SimulatedTask) -> Task:
        """What the gateway says about a task now."""
        now = self._clock()
        task.close(now)
        if not task.has_ended(now):
            return Task(
                task.id,
                TaskStatus.IN_PROGRESS,
                progress=0.5,
                urls=task.urls,
                can_be_stopped=task.can_be_stopped,
                raw=lambda: {"id": task.id},
            )
        self._note(task.end)
        task.told_done += task.end in ENDED_WELL
        hides = CostGiven.NEVER, CostGiven.LATE
        is_told = task.cost_given not in hides or (task.cost_given is CostGiven.LATE and task.told_done > 1)
        status = _STATUSES[task.end]
        if status is TaskStatus.GONE:
            return Task(task.id, status, raw=lambda: {"id": task.id})
        if status is not TaskStatus.COMPLETED:  # late makes no difference there
            is_told = task.cost_given is not CostGiven.NEVER and (task.is_billed or not task.may_be_billed)
        if not is_told:
            self._note("no cost given")
        return Task(
            task.id,
            status,
            video_url=f"https://cdn.example/{task.id}" if task.end is End.COMPLETED else None,
            cost_usd=task.billed if is_told else None,
            error_code=None if status is TaskStatus.COMPLETED else "1",
            is_content_refused=task.end is End.REJECTED,
            urls=task.urls,
            can_be_stopped=task.can_be_stopped,
            may_be_billed=task.may_be_billed and not is_told,
            raw=lambda: {"id": task.id},
        )
