"""Runs jobs against a gateway that misbehaves over real HTTP and a fake Discord channel, and reports how they end.

The worker, client and store are real; the clock is fake, so that no pause takes time.
"""

import asyncio
import json
import socket
import struct
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from aiohttp import web
from sqlalchemy import func, select

from bot.chat.messages import member_texts
from bot.domain.jobs import ENDED, FailureReason, Job, JobState, NewJob, Order, new_job_id
from bot.domain.policy import Requester
from bot.domain.schedule import PollSchedule
from bot.providers.vtrix.client import BodyForm, Timeouts, Vtrix
from bot.store import money_tables
from bot.store.jobs.approvals import ApprovalStore
from bot.store.jobs.job_store import JobStore
from bot.store.outbox.notifications import TO_OPERATOR
from bot.worker.loop import Worker
from bot.worker.stages.context import StageConfig, StageContext
from tests.fake_messengers import FakeApprovalMessenger, FakeMessenger, status_cards
from tests.fakes import FRAME, FakeClock
from tests.harness import WORKER_CONFIG, run_until_idle
from tests.providers.servers import MP4, ScriptedServer, scripted_server
from tests.providers_asked import VTRIX
from tests.store.factories import notified_texts

KEY = "vtx-0123456789-secret"
GUILD = 10
SHORT_HTTP_TIMEOUTS = Timeouts(connect_s=1, submit_s=0.5, poll_s=0.5, download_s=1, stall_s=0.5)
"""For responses that never end; all others use the defaults."""
DEFAULT_HTTP_TIMEOUTS = Timeouts()

Reply = Callable[[web.Request], Awaitable[web.StreamResponse]]


def responds(body: object, status: int = 200, **headers: str) -> Reply:
    """Responds with text and bytes unchanged, and with anything else as JSON."""
    data = (
        body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else json.dumps(body).encode()
    )
    named = {name.replace("_", "-"): value for name, value in headers.items()}

    async def reply(_: web.Request) -> web.StreamResponse:
        return web.Response(body=data, status=status, headers=named)

    return reply


async def resets(request: web.Request) -> web.StreamResponse:
    """Resets the connection after reading the request, which may therefore have taken effect."""
    assert request.transport is not None
    connection: socket.socket = request.transport.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    request.transport.abort()
    return web.Response()


async def hangs(_: web.Request) -> web.StreamResponse:
    await asyncio.Event().wait()
    raise AssertionError


def trickles(start: bytes = b"{") -> Reply:
    """Sends a byte every 50 ms, forever."""

    async def reply(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        await answer.write(start)
        while True:
            await answer.write(b" ")
            await asyncio.sleep(0.05)

    return reply


def sends_raw(data: bytes) -> Reply:
    """Sends these bytes, valid HTTP or not, and closes the connection."""

    async def reply(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.write(data)
        request.transport.close()
        return web.Response()

    return reply


def floods(size_bytes: int, start: bytes = b"", *, declared: bool = True) -> Reply:
    """Sends up to `size_bytes`, for as long as the client reads."""

    async def reply(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Length": str(size_bytes)} if declared else None)
        await answer.prepare(request)
        sent, left = start, size_bytes
        while left > 0 and request.transport is not None and not request.transport.is_closing():
            await answer.write(sent)
            left -= len(sent)
            sent = bytes(min(1_000_000, max(left, 0)))
        return answer

    return reply


@dataclass
class StubGateway:
    """Sends the scripted replies for each kind of request, then normal ones.

    next_replies: used once each. permanent_replies: used until they are removed.
    """

    server: ScriptedServer
    next_replies: dict[str, deque[Reply]] = field(default_factory=lambda: defaultdict(deque))
    permanent_replies: dict[str, Reply] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)
    prompts: list[str] = field(default_factory=list)
    tasks: int = 0

    def __post_init__(self) -> None:
        self.server.reply = self.reply

    def count(self, kind: str) -> int:
        return sum(asked == kind for asked, _ in self.requests)

    async def reply(self, request: web.Request) -> web.StreamResponse:
        if request.path.startswith("/api/"):
            return web.json_response({"message": "Not Found"}, status=404)  # the address of another dialect
        kind = "create" if request.method == "POST" else "result" if request.path.startswith("/r/") else "poll"
        self.requests.append((kind, request.path))
        if kind == "create":
            self.prompts.append((await request.json())["input"][0]["params"]["input"]["prompt"])
        if self.next_replies[kind]:
            return await self.next_replies[kind].popleft()(request)
        if kind in self.permanent_replies:
            return await self.permanent_replies[kind](request)
        return await self.default_reply(kind, request)

    async def default_reply(self, kind: str, request: web.Request) -> web.StreamResponse:
        if kind == "create":
            self.tasks += 1
            return web.json_response({"id": f"t-{self.tasks}", "status": "in_progress"})
        if kind == "result":
            return web.Response(body=MP4)
        if request.path.endswith("zoetrope-check"):
            return web.json_response({"error": "no such task"}, status=404)
        return web.json_response(self.completed(request.path.rsplit("/", 1)[-1]))

    def completed(self, task_id: str, **changes: Any) -> dict[str, Any]:
        """The response to a poll of a finished task."""
        url = f"{self.server.url}/r/{task_id}.mp4"
        output = [{"content": [{"type": "video", "url": url}]}]
        whole = {"id": task_id, "status": "completed", "output": output, "usage": {"cost": "0.12"}}
        return whole | changes


@dataclass(frozen=True)
class JobResult:
    """How a job ended. `member`: the failure text for its requester; `operator`: the operator's notifications."""

    state: JobState
    failure: FailureReason | None
    creates: int
    usd: Decimal
    charged_count: int
    member: str
    operator: str
    videos: int


@dataclass
class UpstreamHarness:
    gateway: StubGateway
    store: JobStore
    vtrix: Vtrix
    folder: Path
    messenger: FakeMessenger = field(default_factory=FakeMessenger)
    clock: FakeClock = field(default_factory=FakeClock)

    def worker(self, **config: Any) -> Worker:
        stage_config = StageConfig(
            timedelta(minutes=30),
            timedelta(hours=2),
            PollSchedule(min_s=5, max_s=30),
        )
        context = StageContext(
            {VTRIX: self.vtrix},
            self.messenger,
            status_cards(self.store, self.messenger, self.clock),
            self.store,
            stage_config,
            self.clock,
            self.folder,
            jitter=lambda: 0.0,
            approval_messenger=FakeApprovalMessenger(),
            approvals=ApprovalStore(self.store._db),
        )
        return Worker(self.store, context, replace(WORKER_CONFIG, **config))

    async def order(self, user_id: int) -> Job:
        new = NewJob(new_job_id(), GUILD, 100, user_id, Order(f"member {user_id}"))
        self.clock.move(microseconds=1)
        return await self.store.add(new, FRAME, Requester(GUILD, 100, user_id), self.clock())

    async def reload(self, job: Job) -> Job:
        found = await self.store.get(job.id)
        assert found is not None
        return found

    async def run_until_ended(self, worker: Worker, *jobs: Job) -> None:
        """Advances the clock until the jobs have ended and no stage of theirs is due."""
        for _ in range(300):
            await run_until_idle(worker)
            if all(now.state in ENDED and now.due_at is None for now in [await self.reload(job) for job in jobs]):
                return
            self.clock.move(seconds=60)
        raise AssertionError("a job never ends")

    async def job_result(self, job: Job) -> JobResult:
        current = await self.reload(job)
        failures = self.messenger.posted("failure", job)
        assert len(failures) == (current.state is JobState.FAILED), "a failure is posted once"
        rows = money_tables.ledger
        async with self.store._db.read() as connection:
            usd = await connection.execute(select(func.sum(rows.c.usd)).where(rows.c.job_id == job.id))
            operator_texts = await notified_texts(self.store._db, TO_OPERATOR)
            requester = Requester(GUILD, 100, job.user_id)
            return JobResult(
                state=current.state,
                failure=current.failure_reason,
                creates=self.gateway.prompts.count(job.order.prompt),
                usd=usd.scalar_one(),
                charged_count=len((await self.store.allowance(requester, self.clock())).usage.charged_at),
                member=member_texts.failure(current) if failures else "",
                operator="\n".join(operator_texts),
                videos=len(self.messenger.posted("video", job)),
            )


@asynccontextmanager
async def upstream_harness(
    store: JobStore, folder: Path, *, timeouts: Timeouts = DEFAULT_HTTP_TIMEOUTS
) -> AsyncIterator[UpstreamHarness]:
    async with scripted_server() as server:
        gateway = StubGateway(server)
        async with Vtrix(
            server.url, KEY, body=BodyForm.ENVELOPE, timeouts=timeouts, max_result_bytes=1_000_000
        ) as vtrix:
            yield UpstreamHarness(gateway, store, vtrix, folder)
