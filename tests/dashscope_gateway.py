"""A local DashScope: the addresses, answers and errors that Alibaba Model Studio documents, over real HTTP.

Tasks move on with each poll as a test says; faults are those of `tests.faulty_gateway`. Each task that was made is
billed when it succeeds, whether or not anybody asks about it.
"""

import asyncio
import json
import uuid
from collections import deque
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Self

from aiohttp import web
from aiohttp.typedefs import Handler

from bot.domain.jobs import ProviderName, Resolution
from bot.domain.models import DECLARED, Model
from tests.faulty_gateway import Fault
from tests.providers.servers import MP4

PATH = "/api/v1"
_BODY_BYTES = 16_000_000
_TIME = "%Y-%m-%d %H:%M:%S.%f"


class Route(StrEnum):
    """The kinds of request."""

    CREATE = "create"
    POLL = "poll"
    CANCEL = "cancel"
    RESULT = "result"


def error_body(code: str, message: str) -> dict[str, str]:
    return {"code": code, "message": message, "request_id": str(uuid.uuid4())}


ARREARS = Fault(400, error_body("Arrearage", "Access denied, please make sure your account is in good standing."))
THROTTLED = Fault(429, error_body("Throttling.RateQuota", "Requests rate limit exceeded, please try again later."))
QUOTA_USED_UP = Fault(429, error_body("Throttling.AllocationQuota", "Allocated quota exceeded."))
FORBIDDEN_CONTENT = Fault(400, error_body("DataInspectionFailed", "Input data may contain inappropriate content."))


@dataclass(slots=True)
class DashScopeTask:
    """One task. statuses: what the coming polls say; the last one stays. body: its create."""

    id: str
    model: Model
    body: dict[str, Any]
    statuses: deque[str]
    status: str = "PENDING"
    error: tuple[str, str] = ("InternalError.Algo", "The video could not be made.")
    is_forgotten: bool = False
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def resolution(self) -> Resolution:
        return Resolution(self.body["parameters"]["resolution"])

    @property
    def duration_s(self) -> int:
        duration: int = self.body["parameters"].get("duration", self.model.durations_s[0])
        return duration

    @property
    def is_billed(self) -> bool:
        """Whether it succeeds in the end."""
        return [self.status, *self.statuses][-1] == "SUCCEEDED"

    @property
    def price_cny(self) -> Decimal:
        offering = self.model.offering(ProviderName.DASHSCOPE)
        assert offering is not None
        return offering.per_second[self.resolution] * self.duration_s

    def advance(self) -> None:
        if self.statuses:
            self.status = self.statuses.popleft()


class DashScopeGateway:
    """`async with DashScopeGateway(key) as gateway:` serves at `gateway.url` until the block ends.

    statuses: what the polls of the next tasks say; may be changed at any time. models: those that may be ordered.
    received: the bodies of the creates that were understood. polls: how many there were.
    """

    def __init__(self, api_key: str, *, models: Sequence[Model] = DECLARED) -> None:
        self.url = ""
        self.statuses: Sequence[str] = ("RUNNING", "SUCCEEDED")
        self.tasks: dict[str, DashScopeTask] = {}
        self.received: list[dict[str, Any]] = []
        self.polls = 0
        self._authorization = f"Bearer {api_key}"
        self._models = {}
        for model in models:
            if (offering := model.offering(ProviderName.DASHSCOPE)) is not None:
                self._models[offering.upstream_name] = model
        self._faults: dict[Route, deque[Fault]] = {route: deque() for route in Route}
        self._stack = AsyncExitStack()

    @property
    def billed(self) -> list[DashScopeTask]:
        """The tasks that cost money."""
        return [task for task in self.tasks.values() if task.is_billed]

    @property
    def billed_cny(self) -> Decimal:
        """What all of them cost."""
        return sum((task.price_cny for task in self.billed), Decimal(0))

    def fault(self, route: Route, fault: Fault, *, times: int = 1) -> None:
        """The next `times` requests of that kind get `fault`, after the faults queued before."""
        self._faults[route].extend([fault] * times)

    def forget(self, task_id: str) -> None:
        """As DashScope does after a day; the task stays billed."""
        self.tasks[task_id].is_forgotten = True

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=_BODY_BYTES, middlewares=[self._inject, self._check_key])
        create = f"{PATH}/services/aigc/video-generation/video-synthesis"
        app.router.add_post(create, self._create, name=Route.CREATE)
        app.router.add_get(f"{PATH}/tasks/{{id}}", self._poll, name=Route.POLL)
        app.router.add_post(f"{PATH}/tasks/{{id}}/cancel", self._cancel, name=Route.CANCEL)
        app.router.add_get("/results/{id}.mp4", self._result, name=Route.RESULT)
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
        self._stack.push_async_callback(runner.cleanup)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}{PATH}"
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._stack.aclose()

    @web.middleware
    async def _inject(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        name = request.match_info.route.name
        if name is None or not (queued := self._faults[Route(name)]):
            return await handler(request)
        fault = queued.popleft()
        await asyncio.sleep(fault.delay_s)
        return await fault.play(request, await handler(request) if fault.works else None)

    @web.middleware
    async def _check_key(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        is_result = request.match_info.route.name == Route.RESULT
        if not is_result and request.headers.get("Authorization") != self._authorization:
            return _error(401, "InvalidApiKey", "Invalid API-key provided.")
        return await handler(request)

    async def _create(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("X-DashScope-Async") != "enable":
            return _error(403, "AccessDenied", "current user api does not support synchronous calls.")
        try:
            body = json.loads(await request.read())
        except ValueError:
            return _error(400, "InvalidParameter", "The request body is not JSON.")
        problem = self._problem(body)
        if problem is not None:
            return problem
        self.received.append(body)
        task = DashScopeTask(str(uuid.uuid4()), self._models[body["model"]], body, deque(self.statuses))
        self.tasks[task.id] = task
        return _answer({"task_status": task.status, "task_id": task.id})

    def _problem(self, body: Any) -> web.Response | None:
        match body:
            case {"model": str(name), "input": {"prompt": str(), "img_url": str(url)}, "parameters": dict(given)}:
                pass
            case _:
                return _error(400, "InvalidParameter", "Required parameter(s) missing or invalid.")
        if (model := self._models.get(name)) is None:
            return _error(404, "ModelNotFound", f"The model {name} is not found.")
        if not url.startswith(("data:image/", "http://", "https://")):
            return _error(400, "InvalidURL", "The image URL is invalid.")
        offering = model.offering(ProviderName.DASHSCOPE)
        wrong = [
            offering is None or given.get("resolution") not in offering.per_second,
            given.get("duration", model.durations_s[0]) not in model.durations_s,
            not isinstance(given.get("prompt_extend", True), bool),
            not isinstance(given.get("watermark", False), bool),
            not isinstance(given.get("seed", 0), int) or not 0 <= given.get("seed", 0) < 2**31,
        ]
        if any(wrong):
            return _error(400, "InvalidParameter", "A parameter is out of range.")
        return None

    async def _poll(self, request: web.Request) -> web.StreamResponse:
        self.polls += 1
        task_id = request.match_info["id"]
        task = self.tasks.get(task_id)
        if task is None or task.is_forgotten:
            return _answer({"task_id": task_id, "task_status": "UNKNOWN"})
        task.advance()
        output = {
            "task_id": task.id,
            "task_status": task.status,
            "submit_time": task.created_at.strftime(_TIME)[:-3],
        }
        match task.status:
            case "SUCCEEDED":
                return _answer(
                    {**output, "orig_prompt": task.body["input"]["prompt"], "video_url": self._video_url(task)},
                    usage={
                        "video_count": 1,
                        "video_duration": task.duration_s,
                        "SR": int(task.resolution.value.removesuffix("P")),
                    },
                )
            case "FAILED":
                code, message = task.error
                return _answer({**output, "code": code, "message": message})
            case _:
                return _answer(output)

    def _video_url(self, task: DashScopeTask) -> str:
        signature = "Expires=1790000000&Signature=a%2Fb%2Bc~%3D"
        return f"{self.url.removesuffix(PATH)}/results/{task.id}.mp4?{signature}"

    async def _cancel(self, request: web.Request) -> web.StreamResponse:
        task = self.tasks.get(request.match_info["id"])
        if task is None:
            return _error(404, "NotFound", "The task does not exist.")
        if task.status != "PENDING":
            said = "Failed to cancel the task, please confirm if the task is in PENDING status."
            return _error(400, "UnsupportedOperation", said)
        task.status = "CANCELED"
        task.statuses.clear()
        return web.json_response({"request_id": str(uuid.uuid4())})

    async def _result(self, request: web.Request) -> web.StreamResponse:
        task = self.tasks.get(request.match_info["id"])
        if task is None or task.status != "SUCCEEDED" or not request.raw_path.endswith("?" + self._query(task)):
            return web.Response(status=403)
        return web.Response(body=MP4, content_type="video/mp4")

    def _query(self, task: DashScopeTask) -> str:
        return self._video_url(task).partition("?")[2]


def _answer(output: dict[str, Any], **more: Any) -> web.Response:
    return web.json_response({"request_id": str(uuid.uuid4()), "output": output, **more})


def _error(status: int, code: str, message: str) -> web.Response:
    return web.json_response(error_body(code, message), status=status)
