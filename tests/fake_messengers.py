"""Fakes of the messages that the worker writes on Discord: status cards, videos, requests to moderators.

A message stays posted even if the response was lost.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from bot.domain.approvals import Decision
from bot.domain.errors import TooLargeToPost
from bot.domain.extensions import Clip
from bot.domain.jobs import Frame, Job, JobState
from bot.domain.status_cards import AnyCard, StatusCard, VariationsCard
from bot.operations.clock import Clock
from bot.store.jobs.job_store import JobStore
from bot.store.jobs.status_cards import StatusCardStore
from bot.worker.stages.context import DirectMessage
from bot.worker.status_cards import StatusCards, StatusMessenger
from tests.fakes import Faulty

DIRECT_CHANNEL = 800


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
