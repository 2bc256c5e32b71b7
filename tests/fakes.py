"""Fakes of what the worker talks to: the upstream, Discord, and a store that fails on demand.

Each does what its protocol promises and no more: a task runs until the test finishes it, and a posted message
stays posted even if the response was lost. `fail` makes single calls go wrong.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from bot.domain.approvals import Decision
from bot.domain.errors import TooLargeToPost, UpstreamRefused
from bot.domain.extensions import Clip
from bot.domain.jobs import Frame, Job, JobState, Order
from bot.domain.status_cards import AnyCard, StatusCard, VariationsCard
from bot.media.first_frame import prepare_first_frame
from bot.media.prepared_frame import PreparedFrame
from bot.operations.clock import Clock
from bot.providers.base import Task, TaskStatus
from bot.store.jobs.approvals import ApprovalStore
from bot.store.jobs.due import ANYTHING, DueFor
from bot.store.jobs.job_store import JobStore
from bot.store.jobs.status_cards import StatusCardStore
from bot.store.jobs.submission_gate import Gate
from bot.worker.stages.context import DirectMessage
from bot.worker.status_cards import StatusCards, StatusMessenger

NOW = datetime(2026, 1, 31, 12, 0, 0, 123456, tzinfo=UTC)
TASK_LIFETIME = timedelta(days=1)
FRAME = Frame(b"\x89PNG a picture", "image/png")
VIDEO = (Path(__file__).parent / "tiny.mp4").read_bytes()
LOG_CHANNEL = 700
DIRECT_CHANNEL = 800
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
        self.max_running = 0

    @property
    def submit_count(self) -> int:
        return self.calls.count("submit")

    def finish(self, task_id: str, status: TaskStatus = TaskStatus.COMPLETED, *, video: bool = True) -> None:
        self.tasks[task_id] = finished_task(task_id, status, video=video)

    def finish_all(self, status: TaskStatus = TaskStatus.COMPLETED) -> None:
        for task_id in self.tasks:
            self.finish(task_id, status)

    async def submit(self, order: Order, frame: Frame) -> Task:
        assert frame == FRAME
        async with self._call("submit"):
            self.orders.append(order)
            task_id = f"task-{len(self.orders)}"
            if self.submit_status is TaskStatus.IN_PROGRESS:
                self.tasks[task_id] = Task(task_id, TaskStatus.IN_PROGRESS, raw=lambda: {"id": task_id})
            else:
                self.finish(task_id, self.submit_status)
            running = [task for task in self.tasks.values() if task.status is TaskStatus.IN_PROGRESS]
            self.max_running = max(self.max_running, len(running))
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


def finished_task(task_id: str, status: TaskStatus, *, video: bool = True) -> Task:
    if status is TaskStatus.FAILED:
        return Task(
            task_id, status, error_code="1", error_message="the model stumbled", raw=lambda: {"id": task_id}
        )
    url = f"https://cdn.example/{task_id}.mp4" if video else None
    return Task(task_id, status, video_url=url, cost_usd=Decimal("0.12"), raw=lambda: {"id": task_id})


@dataclass(frozen=True)
class Message:
    """A message in the channel. job_state: the job's state when it was last written."""

    id: int
    kind: str
    job_id: str
    job_state: JobState
    content: bytes = b""


class FakeMessenger(Faulty):
    """A channel that keeps every message, cards too. Avoiding duplicates is the stages' job, so it allows them."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: dict[int, Message] = {}
        self.next_id = 1000
        self.reported_limit_bytes = 10_000_000
        self.actual_limit_bytes = 10_000_000
        self.answers_live = False
        self.cards: dict[str, StatusCard] = {}  # as shown last, by job
        self.silent: set[str] = set()  # the jobs whose video pinged nobody
        self.clips: dict[str, Clip | None] = {}  # what each posted video is, by job

    def posted(self, kind: str, job: Job) -> list[Message]:
        return [one for one in self.messages.values() if (one.kind, one.job_id) == (kind, job.id)]

    async def show(self, job: Job, card: AnyCard, thumbnail: bytes | None, *, check_existing: bool) -> int:
        async with self._call("show_status"):
            assert card.has_thumbnail == (thumbnail is not None)
            self._note(job, card)
            message_id = job.status_message_id
            if message_id is None and check_existing:
                message_id = self._find_any(job, card.jobs if isinstance(card, VariationsCard) else ())
            if message_id is None:
                return self._post("status", job)
            self.messages[message_id] = replace(self.messages[message_id], job_state=job.state)
        return message_id

    async def edit(self, job: Job, card: AnyCard) -> None:
        async with self._call("edit_status"):
            self._note(job, card)

    async def remove(self, job: Job, shared_with: Collection[str] = ()) -> None:
        async with self._call("remove_status"):
            others = [replace(job, id=job_id) for job_id in shared_with]
            message_id = job.status_message_id or self._find_any(job, others)
            self.messages.pop(message_id or 0, None)

    def _note(self, job: Job, card: AnyCard) -> None:
        if isinstance(card, VariationsCard):
            self.cards |= {one.id: said for one, said in zip(card.jobs, card.cards, strict=True)}
        else:
            self.cards[job.id] = card

    def _find_any(self, job: Job, others: Iterable[Job]) -> int | None:
        return next((found for one in (job, *others) if (found := self._find("status", one)) is not None), None)

    async def close(self, job: Job) -> None:
        async with self._call("close_status"):
            if job.status_message_id in self.messages:
                self.messages[job.status_message_id] = replace(
                    self.messages[job.status_message_id], job_state=job.state
                )

    async def notify_failure(self, job: Job, *, check_existing: bool) -> None:
        async with self._call("notify_failure"):
            if not check_existing or self._find("failure", job) is None:
                self._post("failure", job)

    async def post_video(self, job: Job, video: Path, clip: Clip | None = None, *, pings: bool = True) -> int:
        async with self._call("post_video"):
            if not pings:
                self.silent.add(job.id)
            content = video.read_bytes()  # noqa: ASYNC240 - a few bytes
            if len(content) > self.actual_limit_bytes:
                raise TooLargeToPost("too large", limit_bytes=self.actual_limit_bytes)
            self.clips[job.id] = clip
            return self._post("video", job, content)

    async def find_video(self, job: Job) -> int | None:
        async with self._call("find_video"):
            return self._find("video", job)

    async def send_video(self, job: Job, video: Path, clip: Clip | None = None) -> DirectMessage:
        async with self._call("send_video"):
            self.clips[job.id] = clip
            return DirectMessage(DIRECT_CHANNEL, self._post("sent video", job, video.read_bytes()))  # noqa: ASYNC240 - a few bytes

    async def send_link(self, job: Job, expires_at: datetime) -> DirectMessage:
        async with self._call("send_link"):
            return DirectMessage(DIRECT_CHANNEL, self._post("sent link", job, expires_at.isoformat().encode()))

    async def find_sent_video(self, job: Job) -> DirectMessage | None:
        async with self._call("find_sent_video"):
            found = self._find("sent video", job) or self._find("sent link", job)
            return None if found is None else DirectMessage(DIRECT_CHANNEL, found)

    async def send_failure(self, job: Job, *, check_existing: bool) -> None:
        async with self._call("send_failure"):
            if not check_existing or self._find("sent failure", job) is None:
                self._post("sent failure", job)

    async def answer_order(self, job: Job) -> bool:
        async with self._call("answer_order"):
            if self.answers_live:
                self._post("answer", job)
            return self.answers_live

    async def remove_video(self, job: Job) -> None:
        async with self._call("remove_video"):
            self.messages.pop(job.result_message_id or 0, None)

    async def upload_limit_bytes(self, job: Job) -> int:  # noqa: ARG002 - the protocol's
        async with self._call("upload_limit_bytes"):
            return self.reported_limit_bytes

    def _find(self, kind: str, job: Job) -> int | None:
        return next((one.id for one in self.posted(kind, job)), None)

    def _post(self, kind: str, job: Job, content: bytes = b"") -> int:
        message_id, self.next_id = self.next_id, self.next_id + 1
        self.messages[message_id] = Message(message_id, kind, job.id, job.state, content)
        return message_id


class FakeStatusCards(StatusCards):
    """Posts cards that say nothing but the job's state."""

    def __init__(self, messenger: FakeMessenger) -> None:
        self._messenger = messenger

    async def post(self, job: Job, *, check_existing: bool) -> int:
        return await self._messenger.show(job, StatusCard(job.state), None, check_existing=check_existing)

    async def remove(self, job: Job) -> None:
        await self._messenger.remove(job)

    async def close(self, job: Job) -> None:
        await self._messenger.close(job)


def status_cards(store: JobStore, messenger: StatusMessenger, clock: Clock) -> StatusCards:
    """The cards of a store's jobs, whose durations nobody knows."""
    return StatusCards(StatusCardStore(store._db), messenger, lambda *_: None, slots=5, clock=clock)


@dataclass
class ApprovalRequest:
    """A request in the log channel. closed: the job and the decision it was closed with."""

    id: int
    job_id: str
    channel_id: int
    frame: Frame
    closed: tuple[Job, Decision | None] | None = None
    count: int = 1


class FakeApprovalMessenger(Faulty):
    """A log channel that keeps every request. Avoiding duplicates is the stages' job, so it allows them."""

    def __init__(self) -> None:
        super().__init__()
        self.requests: dict[int, ApprovalRequest] = {}

    def requests_for(self, job: Job) -> list[ApprovalRequest]:
        return [one for one in self.requests.values() if one.job_id == job.id]

    async def post(self, job: Job, frame: Frame, channel_id: int, *, check_existing: bool, count: int = 1) -> int:
        async with self._call("post"):
            if check_existing and (existing := self.requests_for(job)):
                return existing[0].id
            message_id = 5000 + len(self.requests)
            self.requests[message_id] = ApprovalRequest(message_id, job.id, channel_id, frame, count=count)
        return message_id

    async def close(self, job: Job, decision: Decision | None, channel_id: int, *, count: int = 1) -> None:
        async with self._call("close"):
            assert all(one.count == count for one in self.requests_for(job))
            unclosed = [one for one in self.requests_for(job) if one.closed is None]
            found = unclosed[0] if job.approval_message_id is None and unclosed else None
            request = self.requests.get(job.approval_message_id or 0, found)
            if request is not None and request.channel_id == channel_id:
                request.closed = (job, decision)


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

    async def gate(self) -> Gate:
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


async def prepare_frame_in_thread(data: bytes) -> PreparedFrame:
    """Prepares a first frame in a thread, because starting a process takes longer than the rest of an order."""
    return await asyncio.to_thread(prepare_first_frame, data)
