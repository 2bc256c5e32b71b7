"""Fakes of what the worker talks to: the upstream, and a store that fails on demand.

Each does what its protocol promises and no more: a task runs until the test finishes it. `fail` makes single calls
go wrong.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable, Collection, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from bot.domain.approvals import Decision
from bot.domain.errors import UpstreamRefused
from bot.domain.jobs import Frame, Job, Order, ProviderName, StopResult
from bot.domain.models import PictureLimits
from bot.media.first_frame import prepare_first_frame
from bot.media.prepared_frame import PreparedFrame
from bot.providers.base import Task, TaskRef, TaskStatus
from bot.store.jobs.approvals import ApprovalStore
from bot.store.jobs.due import ANYTHING, DueFor
from bot.store.jobs.job_store import JobStore
from bot.store.jobs.submission_gate import Gate

NOW = datetime(2026, 1, 31, 12, 0, 0, 123456, tzinfo=UTC)
TASK_LIFETIME = timedelta(days=1)
FRAME = Frame(b"\x89PNG a picture", "image/png")
VIDEO = (Path(__file__).parent / "tiny.mp4").read_bytes()
LOG_CHANNEL = 700
P = ParamSpec("P")
T = TypeVar("T")
OPEN_GATE = Gate(opens_at=None, reason=None, failures=0, next_submit_at=None)


class FakeClock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now

    def move(self, **by: float) -> None:
        self.now += timedelta(**by)


@dataclass(frozen=True)
class Fault:
    """response_lost: the call has its effect, then raises."""

    error: Exception
    response_lost: bool


class Faulty:
    """Records the name of each call, and raises or hangs on demand."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self._faults: defaultdict[str, deque[Fault]] = defaultdict(deque)
        self._always: dict[str, Exception] = {}
        self._hanging: dict[str, asyncio.Event] = {}
        self._called = asyncio.Condition()

    def fail(self, name: str, *errors: Exception, response_lost: bool = False) -> None:
        """The next calls raise, one for each error."""
        self._faults[name].extend(Fault(error, response_lost) for error in errors)

    def fail_always(self, name: str, error: Exception) -> None:
        self._always[name] = error

    def stop_failing(self) -> None:
        self._always.clear()

    def hang(self, name: str) -> asyncio.Event:
        """Calls wait until the event is set."""
        return self._hanging.setdefault(name, asyncio.Event())

    async def wait_for_call(self, name: str, times: int = 1) -> None:
        """Returns once the method was called that many times."""
        async with self._called:
            await self._called.wait_for(lambda: self.calls.count(name) >= times)

    @asynccontextmanager
    async def _call(self, name: str) -> AsyncIterator[None]:
        async with self._called:
            self.calls.append(name)
            self._called.notify_all()
        if (always := self._always.get(name)) is not None:
            raise always.with_traceback(None)
        fault = self._faults[name].popleft() if self._faults[name] else None
        if fault is not None and not fault.response_lost:
            raise fault.error
        if (event := self._hanging.get(name)) is not None:
            await event.wait()
        yield
        if fault is not None:
            raise fault.error


class FakeProvider(Faulty):
    """An upstream whose tasks run until the test finishes them."""

    def __init__(self) -> None:
        super().__init__()
        self.tasks: dict[str, Task] = {}
        self.orders: list[Order] = []
        self.submit_status = TaskStatus.IN_PROGRESS
        self.video = VIDEO
        self.stop_result = StopResult.UNKNOWN
        self.urls: dict[str, str] = {}  # of new tasks, which can then be stopped
        self.max_running = 0

    @property
    def submit_count(self) -> int:
        return self.calls.count("submit")

    def finish(self, task_id: str, status: TaskStatus = TaskStatus.COMPLETED, *, video: bool = True) -> None:
        self.tasks[task_id] = finished_task(task_id, status, video=video)

    def finish_all(self, status: TaskStatus = TaskStatus.COMPLETED) -> None:
        for task_id in self.tasks:
            self.finish(task_id, status)

    async def submit(self, order: Order, frame: Frame, *, request_id: str) -> Task:
        assert frame == FRAME
        assert request_id
        async with self._call("submit"):
            self.orders.append(order)
            task_id = f"task-{len(self.orders)}"
            if self.submit_status is TaskStatus.IN_PROGRESS:
                task = Task(task_id, TaskStatus.IN_PROGRESS, raw=lambda: {"id": task_id})
                self.tasks[task_id] = replace(task, urls=self.urls, can_be_stopped=bool(self.urls))
            else:
                self.finish(task_id, self.submit_status)
            running = [task for task in self.tasks.values() if task.status is TaskStatus.IN_PROGRESS]
            self.max_running = max(self.max_running, len(running))
        return self.tasks[task_id]

    async def status(self, task: TaskRef) -> Task:
        async with self._call("status"):
            if task.id not in self.tasks:
                raise UpstreamRefused("no such task", code="404")
        return self.tasks[task.id]

    async def stop(self, task: TaskRef) -> StopResult:
        async with self._call("stop"):
            if self.stop_result is StopResult.STOPPED:
                self.tasks[task.id] = Task(task.id, TaskStatus.CANCELLED)
        return self.stop_result

    async def download(self, url: str, to: Path) -> int:
        assert url.startswith("https://cdn.example/")
        async with self._call("download"):
            to.write_bytes(self.video)  # noqa: ASYNC240 - a few bytes
        return len(self.video)

    async def check(self) -> None:
        async with self._call("check"):
            pass


def finished_task(task_id: str, status: TaskStatus, *, video: bool = True) -> Task:
    if status is TaskStatus.FAILED:
        return Task(
            task_id, status, error_code="1", error_message="the model stumbled", raw=lambda: {"id": task_id}
        )
    url = f"https://cdn.example/{task_id}.mp4" if video else None
    return Task(task_id, status, video_url=url, cost_usd=Decimal("0.12"), raw=lambda: {"id": task_id})


class FakeApprovalStore(Faulty, ApprovalStore):
    """Decisions without a database."""

    def __init__(self, channel_id: int | None = LOG_CHANNEL) -> None:
        super().__init__()
        self.channel_id = channel_id
        self.decisions: dict[str, Decision] = {}

    async def channel_of(self, guild_id: int) -> int | None:  # noqa: ARG002 - the store's signature
        async with self._call("channel_of"):
            return self.channel_id

    async def decision_on(self, job: Job) -> Decision | None:
        async with self._call("decision_on"):
            return self.decisions.get(job.id)


class FakeJobStore(Faulty, JobStore):
    """What the stages read from the store, without a database."""

    def __init__(self) -> None:
        super().__init__()
        self.frames: dict[str, Frame] = {}
        self.jobs: dict[str, Job] = {}
        self.variations: list[Job] = []  # which were ordered together
        self.submission_gate = OPEN_GATE

    async def get(self, job_id: str) -> Job | None:
        async with self._call("get"):
            return self.jobs.get(job_id)

    async def frame(self, job_id: str) -> Frame | None:
        async with self._call("frame"):
            return self.frames.get(job_id)

    async def gate(self, provider: ProviderName) -> Gate:  # noqa: ARG002 - the store's signature
        async with self._call("gate"):
            return self.submission_gate

    async def ordered_with(self, job_id: str) -> list[Job]:
        return self.variations if any(job.id == job_id for job in self.variations) else []


def _recorded(
    method: Callable[Concatenate[Any, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[Any, P], Coroutine[Any, Any, T]]:
    """The method, as one whose calls are recorded and fail on demand."""

    @wraps(method)
    async def call(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> T:
        async with self._call(method.__name__):
            return await method(self, *args, **kwargs)

    return call


class FaultyJobStore(Faulty, JobStore):
    """The real store, with the worker's calls recorded, and failing on demand."""

    def __init__(self, store: JobStore) -> None:
        Faulty.__init__(self)
        JobStore.__init__(self, store._db, store._operator_defaults)

    async def claim_due(self, *args: Any, kinds: Collection[DueFor] = ANYTHING, **kwargs: Any) -> list[Job]:
        """A claim of polls alone is recorded as `claim_polls`."""
        async with self._call("claim_polls" if kinds == (DueFor.POLL,) else "claim_due"):
            return await super().claim_due(*args, kinds=kinds, **kwargs)

    get = _recorded(JobStore.get)
    frame = _recorded(JobStore.frame)
    gate = _recorded(JobStore.gate)
    open_gate = _recorded(JobStore.open_gate)
    claim_queued = _recorded(JobStore.claim_queued)
    next_due_at = _recorded(JobStore.next_due_at)
    renew = _recorded(JobStore.renew)
    release = _recorded(JobStore.release)
    apply = _recorded(JobStore.apply)
    reschedule = _recorded(JobStore.reschedule)


async def prepare_frame_in_thread(data: bytes, limits: PictureLimits) -> PreparedFrame:
    """Prepares a first frame in a thread, because starting a process takes longer than the rest of an order."""
    return await asyncio.to_thread(prepare_first_frame, data, limits)
