"""Stand-ins for what the machine talks to: an upstream, a channel, and a store that can fall ill.

Each keeps the promises of its protocol and no more: a task goes on until the test ends it, a message that was
posted stays posted though its answer was lost. What goes wrong is said call by call with `fail`.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from bot.domain.errors import TooLargeToPost, UpstreamRefused
from bot.domain.jobs import Frame, Job, JobState, Order, Outcome, Reschedule
from bot.providers.base import Task, TaskStatus
from bot.store.jobs.job_store import JobStore
from bot.store.jobs.submission_gate import Gate

NOW = datetime(2026, 1, 31, 12, 0, 0, 123456, tzinfo=UTC)
FRAME = Frame(b"\x89PNG a picture", "image/png")
VIDEO = b"a video"
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
    """`late`: the call has its effect, and what is lost is the answer."""

    error: Exception
    late: bool


class Faulty:
    """Notes each call by its name, and goes wrong as it is told to."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self._faults: defaultdict[str, deque[Fault]] = defaultdict(deque)
        self._lasting: dict[str, Exception] = {}
        self._hanging: dict[str, asyncio.Event] = {}
        self._called = asyncio.Condition()

    def fail(self, name: str, *errors: Exception, late: bool = False) -> None:
        """The next calls go wrong, one for each error."""
        self._faults[name].extend(Fault(error, late) for error in errors)

    def fail_from_now_on(self, name: str, error: Exception) -> None:
        self._lasting[name] = error

    def heal(self) -> None:
        self._lasting.clear()

    def hang(self, name: str) -> asyncio.Event:
        """Calls wait until the event is set."""
        return self._hanging.setdefault(name, asyncio.Event())

    async def called(self, name: str, times: int = 1) -> None:
        """Returns once the method was called so often."""
        async with self._called:
            await self._called.wait_for(lambda: self.calls.count(name) >= times)

    @asynccontextmanager
    async def _call(self, name: str) -> AsyncIterator[None]:
        async with self._called:
            self.calls.append(name)
            self._called.notify_all()
        if (lasting := self._lasting.get(name)) is not None:
            raise lasting.with_traceback(None)
        fault = self._faults[name].popleft() if self._faults[name] else None
        if fault is not None and not fault.late:
            raise fault.error
        if (event := self._hanging.get(name)) is not None:
            await event.wait()
        yield
        if fault is not None:
            raise fault.error


class FakeProvider(Faulty):
    """An upstream whose tasks end when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.tasks: dict[str, Task] = {}
        self.orders: list[Order] = []
        self.answer = TaskStatus.IN_PROGRESS
        self.video = VIDEO
        self.most_at_once = 0

    @property
    def posts(self) -> int:
        return self.calls.count("submit")

    def end(self, task_id: str, status: TaskStatus = TaskStatus.COMPLETED, *, video: bool = True) -> None:
        self.tasks[task_id] = ended(task_id, status, video=video)

    def end_all(self, status: TaskStatus = TaskStatus.COMPLETED) -> None:
        for task_id in self.tasks:
            self.end(task_id, status)

    async def submit(self, order: Order, frame: Frame) -> Task:
        assert frame == FRAME
        async with self._call("submit"):
            self.orders.append(order)
            task_id = f"task-{len(self.orders)}"
            if self.answer is TaskStatus.IN_PROGRESS:
                self.tasks[task_id] = Task(task_id, TaskStatus.IN_PROGRESS, raw={"id": task_id})
            else:
                self.end(task_id, self.answer)
            running = [task for task in self.tasks.values() if task.status is TaskStatus.IN_PROGRESS]
            self.most_at_once = max(self.most_at_once, len(running))
        return self.tasks[task_id]

    async def status(self, task_id: str) -> Task:
        async with self._call("status"):
            if task_id not in self.tasks:
                raise UpstreamRefused("no such task", code="404")
        return self.tasks[task_id]

    async def download(self, url: str, to: Path) -> int:
        assert url.startswith("https://cdn.example/")
        async with self._call("download"):
            to.write_bytes(self.video)  # noqa: ASYNC240 - a few bytes
        return len(self.video)

    async def check(self) -> None:
        async with self._call("check"):
            pass


def ended(task_id: str, status: TaskStatus, *, video: bool = True) -> Task:
    if status is TaskStatus.FAILED:
        return Task(task_id, status, error_code="1", error_message="the model stumbled", raw={"id": task_id})
    url = f"https://cdn.example/{task_id}.mp4" if video else None
    return Task(task_id, status, video_url=url, cost_usd=Decimal("0.12"), raw={"id": task_id})


@dataclass(frozen=True)
class Message:
    """A message in the channel. `shows`: the job's state when it was last written."""

    id: int
    kind: str
    job_id: str
    shows: JobState
    content: bytes = b""


class FakeMessenger(Faulty):
    """A channel that keeps every message. It never merges what is posted twice: that is for the steps to avoid."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: dict[int, Message] = {}
        self.next_id = 1000
        self.says_it_takes = 10_000_000
        self.takes = 10_000_000

    def of(self, kind: str, job: Job) -> list[Message]:
        return [one for one in self.messages.values() if (one.kind, one.job_id) == (kind, job.id)]

    async def show_status(self, job: Job, *, look_first: bool) -> int:
        async with self._call("show_status"):
            message_id = job.status_message_id
            if message_id is None and look_first:
                message_id = self._find("status", job)
            if message_id is None:
                return self._post("status", job)
            self.messages[message_id] = replace(self.messages[message_id], shows=job.state)
        return message_id

    async def update_status(self, job: Job) -> None:
        async with self._call("update_status"):
            if job.status_message_id in self.messages:
                self.messages[job.status_message_id] = replace(
                    self.messages[job.status_message_id], shows=job.state
                )

    async def tell_failure(self, job: Job, *, look_first: bool) -> None:
        async with self._call("tell_failure"):
            if not look_first or self._find("failure", job) is None:
                self._post("failure", job)

    async def post_video(self, job: Job, video: Path) -> int:
        async with self._call("post_video"):
            content = video.read_bytes()  # noqa: ASYNC240 - a few bytes
            if len(content) > self.takes:
                raise TooLargeToPost("too large", limit_bytes=self.takes)
            return self._post("video", job, content)

    async def find_video(self, job: Job) -> int | None:
        async with self._call("find_video"):
            return self._find("video", job)

    async def upload_limit_bytes(self, job: Job) -> int:  # noqa: ARG002 - the protocol's
        async with self._call("upload_limit_bytes"):
            return self.says_it_takes

    def _find(self, kind: str, job: Job) -> int | None:
        return next((one.id for one in self.of(kind, job)), None)

    def _post(self, kind: str, job: Job, content: bytes = b"") -> int:
        message_id, self.next_id = self.next_id, self.next_id + 1
        self.messages[message_id] = Message(message_id, kind, job.id, job.state, content)
        return message_id


class FakeDesk(Faulty):
    """What the steps see of the store."""

    def __init__(self) -> None:
        super().__init__()
        self.frames: dict[str, Frame] = {}
        self.jobs: dict[str, Job] = {}
        self.standing = OPEN_GATE

    async def get(self, job_id: str) -> Job | None:
        async with self._call("get"):
            return self.jobs.get(job_id)

    async def frame(self, job_id: str) -> Frame | None:
        async with self._call("frame"):
            return self.frames.get(job_id)

    async def gate(self) -> Gate:
        async with self._call("gate"):
            return self.standing


class WatchedBoard(Faulty):
    """The real store, with each call noted, and failing where it is told to."""

    def __init__(self, store: JobStore) -> None:
        super().__init__()
        self._store = store

    async def get(self, job_id: str) -> Job | None:
        async with self._call("get"):
            return await self._store.get(job_id)

    async def frame(self, job_id: str) -> Frame | None:
        async with self._call("frame"):
            return await self._store.frame(job_id)

    async def gate(self) -> Gate:
        async with self._call("gate"):
            return await self._store.gate()

    async def open_gate(self, now: datetime) -> None:
        async with self._call("open_gate"):
            await self._store.open_gate(now)

    async def claim_due(
        self,
        now: datetime,
        limit: int,
        leases: Mapping[JobState, timedelta],
        held: Collection[Job],
        *,
        expired: bool,
    ) -> list[Job]:
        async with self._call("claim_due"):
            return await self._store.claim_due(now, limit, leases, held, expired=expired)

    async def renew(
        self, jobs: Sequence[Job], now: datetime, leases: Mapping[JobState, timedelta]
    ) -> frozenset[str]:
        async with self._call("renew"):
            return await self._store.renew(jobs, now, leases)

    async def claim_queued(
        self, now: datetime, max_running: int, pause: timedelta, lease: timedelta
    ) -> Job | None:
        async with self._call("claim_queued"):
            return await self._store.claim_queued(now, max_running, pause, lease)

    async def apply(self, job: Job, outcome: Outcome, now: datetime) -> bool:
        async with self._call("apply"):
            return await self._store.apply(job, outcome, now)

    async def apply_later(self, batch: list[tuple[Job, Reschedule]], now: datetime) -> int:
        async with self._call("apply_later"):
            return await self._store.apply_later(batch, now)

    async def release(self, jobs: list[Job]) -> None:
        async with self._call("release"):
            await self._store.release(jobs)

    async def next_due_at(self, now: datetime, max_running: int) -> datetime | None:
        async with self._call("next_due_at"):
            return await self._store.next_due_at(now, max_running)
