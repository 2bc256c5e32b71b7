"""The local gateway in every dialect that the vendor has published, with ends of tasks as a test says.

Addresses, fields and words are those of the vendor's pages; see docs/gateway.md.
"""

import json
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

from bot.demo.gateway import LocalTask
from bot.demo.request_parsing import MODEL, InvalidRequest
from tests.faulty_gateway import Fault, FaultyGateway

_INPUT = ("prompt", "negative_prompt", "img_url")


class Speaks(StrEnum):
    """What a gateway takes and answers.

    ENVELOPE, FLAT: that body, and bare answers. WRAPPED: the envelope, and answers in `data` and `status`.
    """

    ENVELOPE = "envelope"
    FLAT = "flat"
    WRAPPED = "wrapped"
    QUEUE = "queue"


class Fate(StrEnum):
    """What a gateway says of a task. UNHEARD: a word that nobody knows."""

    WAITING = "waiting"
    RUNNING = "running"
    UNHEARD = "unheard"
    DONE = "done"
    FAILED = "failed"
    BLOCKED = "blocked"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    GONE = "gone"


WORDS: dict[Speaks, dict[Fate, str]] = {
    Speaks.ENVELOPE: {
        Fate.WAITING: "pending",
        Fate.RUNNING: "in_progress",
        Fate.UNHEARD: "warming",
        Fate.DONE: "completed",
        Fate.FAILED: "failed",
        Fate.BLOCKED: "failed",
        Fate.CANCELLED: "cancelled",
        Fate.EXPIRED: "expired",
        Fate.GONE: "UNKNOWN",
    },
    Speaks.WRAPPED: {
        Fate.WAITING: "in_queue",
        Fate.RUNNING: "processing",
        Fate.UNHEARD: "warming",
        Fate.DONE: "success",
        Fate.FAILED: "failed",
        Fate.BLOCKED: "failed",
        Fate.CANCELLED: "canceled",
        Fate.EXPIRED: "expired",
        Fate.GONE: "UNKNOWN",
    },
    Speaks.QUEUE: {
        Fate.WAITING: "IN_QUEUE",
        Fate.RUNNING: "IN_PROGRESS",
        Fate.UNHEARD: "WARMING",
    },
}
WORDS[Speaks.FLAT] = WORDS[Speaks.ENVELOPE]

ERRORS = {
    Fate.FAILED: ("INFERENCE_FAILURE", "Task execution failed"),
    Fate.BLOCKED: ("CONTENT_BLOCKED", "The output was blocked"),
    Fate.CANCELLED: ("CANCELED", "The task was cancelled"),
    Fate.EXPIRED: ("INFERENCE_TIMEOUT", "The task took too long"),
}
"""The code and the message of a task that ended so, in each dialect."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """What is wrong with a request. code: a name, or one of the wrapped answers' numbers."""

    status: int
    code: str | int
    message: str

    def fault(self, speaks: Speaks) -> Fault:
        """The answer to such a request."""
        match speaks:
            case Speaks.ENVELOPE | Speaks.FLAT:
                return Fault(self.status, {"error": {"code": self.code, "message": self.message}})
            case Speaks.WRAPPED:
                said = {"code": self.status, "message": self.message, "error_code": self.code}
                return Fault(200, {"data": None, "status": said})
            case Speaks.QUEUE if self.status in {401, 429}:
                error = {"code": self.code, "message": self.message}
                return Fault(self.status, {"error": error, "request_id": "of-the-request"})
            case Speaks.QUEUE:
                return Fault(self.status, {"detail": self.message})


class DialectGateway(FaultyGateway):
    """All that follows may be changed at any time.

    speaks: the dialect. fates: of tasks, by id; others are as they are rendered. is_fast: whether a create is
    answered with the video, where the dialect can. names: the origin in the URLs of the queue, its own if None.
    queue: the path of the queue. asked: each request, as its method and path.
    """

    def __init__(self, folder: Path, api_key: str, *, speaks: Speaks = Speaks.ENVELOPE) -> None:
        super().__init__(folder, api_key)
        self._middlewares = [self._note, *self._middlewares]
        self.speaks = speaks
        self.fates: dict[str, Fate] = {}
        self.is_fast = False
        self.names: str | None = None
        self.queue = "/model/v1/queue"
        self.asked: list[tuple[str, str]] = []

    def _add_routes(self, router: web.UrlDispatcher) -> None:
        super()._add_routes(router)
        router.add_get("/api/v1/multi-models-generate/{id}", self._poll, name="poll.wrapped")
        for number, path in enumerate(("/model/v1/queue", "/v1/queue")):
            task = f"{path}/{{model}}/requests/{{id}}"
            router.add_post(f"{path}/{{model}}", self._create, name=f"create.queue{number}")
            router.add_get(f"{task}/status", self._poll, name=f"poll.status{number}")
            router.add_get(f"{task}/response", self._poll, name=f"poll.response{number}")
            router.add_put(f"{task}/cancel", self._cancel, name=f"cancel.queue{number}")

    @web.middleware
    async def _note(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self.asked.append((request.method, request.path))
        return await handler(request)

    def _serves(self, request: web.Request) -> bool:
        """Whether this address exists in the dialect."""
        place = request.path
        match self.speaks:
            case Speaks.QUEUE:
                return place.startswith(f"{self.queue}/{MODEL}")
            case Speaks.WRAPPED:
                return place == "/model/v1/generation" or place.startswith("/api/")
            case _:
                return place.startswith("/model/v1/generation")

    async def _create(self, request: web.Request) -> web.StreamResponse:
        if not self._serves(request):
            return await self._refuse(request, 404, "Not Found")
        body = json.loads(await request.read())
        is_envelope = isinstance(body.get("input"), list)
        if self.speaks is not Speaks.QUEUE and is_envelope != (self.speaks is not Speaks.FLAT):
            return await self._refuse(request, 400, "input has another form")
        if self.speaks is Speaks.QUEUE:
            parameters = {name: value for name, value in body.items() if name not in _INPUT}
            given = {name: body[name] for name in _INPUT if name in body}
            body = {"model": MODEL, "input": given, "parameters": parameters}
        try:
            task = await self._make(body)
        except InvalidRequest as exc:
            return await self._refuse(request, 400, str(exc))
        if self.is_fast:
            await task.rendering
        if self.speaks is Speaks.QUEUE:
            urls = {f"{end}_url": self._url_of(task, end) for end in ("status", "response", "cancel")}
            return web.json_response({"request_id": task.id, "queue_position": 0, **urls})
        return web.json_response(self._said(task, self._fate(task) if self.is_fast else Fate.WAITING))

    async def _poll(self, request: web.Request) -> web.StreamResponse:
        task = self.tasks.get(request.match_info["id"])
        if task is None or not self._serves(request):
            return await self._refuse(request, 404, "There is no such task.")
        fate = self._fate(task)
        if self.speaks is not Speaks.QUEUE:
            return web.json_response(self._said(task, fate))
        if fate is Fate.GONE:
            return await self._refuse(request, 404, "Request not found")
        if request.path.endswith("/status"):
            return web.json_response(self._queue_status(task, fate))
        if fate is Fate.DONE:
            return web.json_response({"request_id": task.id, "outputs": [self._video(task)], "metadata": {}})
        return web.json_response({"detail": "Request is still in progress"}, status=202)

    async def _cancel(self, request: web.Request) -> web.StreamResponse:
        task = self.tasks.get(request.match_info["id"])
        if task is None or not self._serves(request):
            return web.json_response({"status": "NOT_FOUND"}, status=404)
        if self._fate(task) not in {Fate.WAITING, Fate.RUNNING, Fate.UNHEARD}:
            return web.json_response({"status": "ALREADY_COMPLETED"}, status=400)
        self.fates[task.id] = Fate.CANCELLED
        return web.json_response({"status": "CANCELLATION_REQUESTED"}, status=202)

    async def _refuse(self, request: web.Request, status: int, message: str) -> web.StreamResponse:
        return await Refusal(status, f"E{status}", message).fault(self.speaks).play(request, None)

    def _fate(self, task: LocalTask) -> Fate:
        if (fate := self.fates.get(task.id)) is not None:
            return fate
        if super()._report(task)["status"] == "in_progress":
            return Fate.RUNNING
        return Fate.DONE if task.rendering.result() is not None else Fate.FAILED

    def _said(self, task: LocalTask, fate: Fate) -> dict[str, Any]:
        """The task as a create and a poll give it, except in the queue."""
        is_wrapped = self.speaks is Speaks.WRAPPED
        said: dict[str, Any] = {"id": task.id, "model": MODEL, "status": WORDS[self.speaks][fate]}
        said["created_at"] = int(task.created_at * 1000) if is_wrapped else int(task.created_at)
        if fate is Fate.RUNNING:
            said["progress"] = 0.5
        if fate is Fate.DONE:
            said["output"] = [self._video(task)] if is_wrapped else [{"content": [self._video(task)]}]
            said["usage"] = {"quantity": 1} if is_wrapped else {"cost": "0.05", "discount": 1}
        if fate in {Fate.FAILED, Fate.BLOCKED}:
            code, message = ERRORS[fate]
            said["error"] = {"code": code, "message": message}
        return {"data": said, "status": {"code": 200, "message": "success"}} if is_wrapped else said

    def _queue_status(self, task: LocalTask, fate: Fate) -> dict[str, Any]:
        said: dict[str, Any] = {
            "status": WORDS[Speaks.QUEUE].get(fate, "COMPLETED"),
            "request_id": task.id,
            "response_url": self._url_of(task, "response"),
        }
        if fate is Fate.WAITING:
            said["queue_position"] = 0
        if fate in ERRORS:
            said["error_type"], said["error"] = ERRORS[fate]
        return said

    def _video(self, task: LocalTask) -> dict[str, Any]:
        return {"type": "video", "url": f"{self.url}/results/{task.id}.mp4", "duration": 5, "jobId": task.id}

    def _url_of(self, task: LocalTask, end: str) -> str:
        return f"{self.names or self.url}{self.queue}/{MODEL}/requests/{task.id}/{end}"
