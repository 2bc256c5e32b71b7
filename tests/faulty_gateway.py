"""The local gateway without its renderer, and with faults on demand.

A real gateway loses responses, closes connections midway and is slow. Each of these is a value that a test queues
for the next request of a kind. Each task gets the same tiny video, which is enough to test everything else.
"""

import asyncio
import contextlib
import json
import socket
import struct
import tempfile
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler
from PIL import Image

from bot.demo.fake_renderer import RenderPool, render
from bot.demo.gateway import LocalGateway, LocalTask, in_progress
from bot.demo.request_parsing import CreateRequest
from bot.domain.jobs import Resolution

_SOME_VIDEO = b"\x00\x00\x00\x18ftypisom" + bytes(10_000)
"""The start of an MP4, to be truncated."""


class Route(StrEnum):
    """The kinds of request."""

    CREATE = "create"
    POLL = "poll"
    CANCEL = "cancel"
    RESULT = "result"


def route_of(request: web.Request) -> Route | None:
    """The kind of a request: the name of its route up to a dot; None if there is no such address."""
    name = request.match_info.route.name
    return None if name is None else Route(name.partition(".")[0])


class Ending(StrEnum):
    """How a request ends.

    ANSWER: with a response. RESET: the connection is reset. HANG: never, until the client disconnects. HALF: the
    response is truncated.
    """

    ANSWER = "answer"
    RESET = "reset"
    HANG = "hang"
    HALF = "half"


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to one request.

    status: of the response, None for the real response. body: sent as JSON unless it is text or bytes.
    takes_effect: whether the gateway does its work first (creates the task, say). delay_s: before anything.
    """

    status: int | None = None
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    ending: Ending = Ending.ANSWER
    takes_effect: bool = False
    delay_s: float = 0

    @property
    def works(self) -> bool:
        """Whether the gateway does its work: if `takes_effect`, or if the fault is a mere delay."""
        return self.takes_effect or (self.status is None and self.body is None and self.ending is Ending.ANSWER)

    async def play(self, request: web.Request, real: web.StreamResponse | None) -> web.StreamResponse:
        """Ends the request. `real`: the response of a gateway that did its work."""
        match self.ending:
            case Ending.HANG:
                await asyncio.Event().wait()
            case Ending.RESET:
                _reset(request)
            case Ending.HALF:
                return await _truncate(request, self._bytes() or _SOME_VIDEO, dict(self.headers))
            case Ending.ANSWER:
                pass
        if self.status is None and real is not None:
            return real
        answer = web.Response(status=self.status or 200, body=self._bytes(), headers=self.headers)
        if "Content-Type" not in self.headers and not isinstance(self.body, str | bytes):
            answer.content_type = "application/json"
        return answer

    def _bytes(self) -> bytes:
        match self.body:
            case None:
                return b""
            case bytes(data):
                return data
            case str(text):
                return text.encode()
            case value:
                return json.dumps(value).encode()


@dataclass(frozen=True, slots=True)
class Received:
    """One create request as it arrived, accepted or not.

    body: its JSON, None if it wasn't JSON. request_id: its `X-Request-Id`.
    """

    body: Any
    header_names: tuple[str, ...]
    request_id: str | None = None


class FaultyGateway(LocalGateway):
    """task_seconds: the minimum duration of a task; may be changed at any time. received: the latest creates."""

    def __init__(self, folder: Path, api_key: str, *, task_seconds: float = 0) -> None:
        super().__init__(folder, api_key, pool=_OneVideo(folder), middlewares=[self._record, self._inject])
        self.task_seconds = task_seconds
        self.received: deque[Received] = deque(maxlen=1000)
        self._faults: dict[Route, deque[Fault]] = {route: deque() for route in Route}

    def fault(self, route: Route, fault: Fault, *, times: int = 1) -> None:
        """The next `times` requests of that kind get `fault`, after the faults queued before."""
        self._faults[route].extend([fault] * times)

    @property
    def is_any_fault_left(self) -> bool:
        """Whether a fault waits for its request."""
        return any(self._faults.values())

    @web.middleware
    async def _record(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if route_of(request) is Route.CREATE:
            body = None
            # A request that can't be parsed is recorded too; the handler reports what is wrong with it.
            with contextlib.suppress(ValueError, web.HTTPRequestEntityTooLarge):
                body = json.loads(await request.read())
            self.received.append(Received(body, tuple(request.headers), request.headers.get("X-Request-Id")))
        return await handler(request)

    @web.middleware
    async def _inject(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        route = route_of(request)
        if route is None or not (queued := self._faults[route]):
            return await handler(request)
        fault = queued.popleft()
        await asyncio.sleep(fault.delay_s)
        return await fault.play(request, await handler(request) if fault.works else None)

    def _report(self, task: LocalTask) -> dict[str, Any]:
        if time.time() - task.created_at < self.task_seconds:
            return in_progress(task)
        return super()._report(task)


class _OneVideo(RenderPool):
    """Renders nothing: each task gets the same video."""

    def _start(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._path.write_bytes(_tiny_video())

    async def render(self, name: str, create: CreateRequest) -> Path:
        del name, create
        return self._path

    @property
    def _path(self) -> Path:
        return self._folder / "same.mp4"


@cache
def _tiny_video() -> bytes:
    """Encoded once in the life of this process."""
    picture = BytesIO()
    Image.new("RGB", (360, 360), "teal").save(picture, "PNG")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tiny.mp4"
        render(picture.getvalue(), path, resolution=Resolution.P480, seed=1, duration_s=0.2)
        return path.read_bytes()


def _reset(request: web.Request) -> None:
    """Ends the connection with an RST, so that the client sees a reset rather than an orderly close."""
    transport = request.transport
    if transport is None:
        return
    connection: socket.socket = transport.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


async def _truncate(request: web.Request, body: bytes, headers: dict[str, str]) -> web.StreamResponse:
    answer = web.StreamResponse(headers={**headers, "Content-Length": str(len(body))})
    await answer.prepare(request)
    await answer.write(body[: len(body) // 2])
    if request.transport is not None:
        request.transport.close()
    return answer
