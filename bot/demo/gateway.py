"""A local upstream: it implements the gateway's HTTP API and renders real videos, without a key or a bill.

The demo runs the whole bot against it, and so do the tests, which can make it misbehave (`faults`). It runs inside
another process or as its own: `python -m bot.demo.gateway --port 8080 --folder /tmp/videos`.
"""

import argparse
import asyncio
import contextlib
import hmac
import json
import logging
import math
import os
import secrets
import signal
import time
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from bot.demo.faults import Fault, Route
from bot.demo.render_pool import RenderPool
from bot.demo.request_parsing import MODEL, InvalidRequest, parse_create
from bot.domain.jobs import Resolution

_log = logging.getLogger(__name__)

_BODY_BYTES = 16_000_000
_TYPICAL_S = 4.0
_PRICES = {Resolution.P480: "0.05", Resolution.P720: "0.10"}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Received:
    """One create request as it arrived, accepted or not. `body`: its JSON, None if it wasn't JSON."""

    body: Any
    header_names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LocalTask:
    """One task. `made_at`: seconds of the monotonic clock; `rendering`: the finished video's file."""

    id: str
    prompt: str
    resolution: Resolution
    seed: int
    made_at: float
    created_at: int
    rendering: asyncio.Future[Path]


class LocalGateway:
    """`async with LocalGateway(folder=…) as gateway:` serves at `gateway.url` until the block ends.

    api_key: the key that callers need; None accepts any. render: False serves one tiny ready-made video for every
    task. task_seconds: the minimum duration of a task; may be changed at any time. remember: how many create
    requests are kept in `received`, each with its picture.
    """

    def __init__(
        self,
        *,
        folder: Path,
        api_key: str | None = None,
        port: int = 0,
        render: bool = True,
        task_seconds: float = 0,
        remember: int = 1000,
    ) -> None:
        self.received: deque[Received] = deque(maxlen=remember)
        self.tasks: dict[str, LocalTask] = {}
        self.task_seconds = task_seconds
        self.url = ""
        self._folder = folder
        self._api_key = api_key
        self._port = port
        self._faults: dict[Route, deque[Fault]] = {route: deque() for route in Route}
        self._pool = RenderPool(folder, render=render)
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self._pool)
        app = web.Application(client_max_size=_BODY_BYTES)
        app.router.add_post("/model/v1/generation", self._guarded(Route.CREATE, self._create))
        app.router.add_get("/model/v1/generation/task/{id}", self._guarded(Route.LOOK, self._look))
        app.router.add_get("/results/{name}", self._guarded(Route.RESULT, self._result))
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
        self._stack.push_async_callback(runner.cleanup)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", self._port).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for task in self.tasks.values():
            task.rendering.cancel()
        await self._stack.aclose()

    def fault(self, route: Route, fault: Fault, *, times: int = 1) -> None:
        """The next `times` requests of that kind get `fault`, after the faults queued before."""
        self._faults[route].extend([fault] * times)

    def _guarded(self, route: Route, handler: Handler) -> Handler:
        """`handler` behind the faults and the key."""

        async def handle(request: web.Request) -> web.StreamResponse:
            if route is Route.CREATE:
                await self._record(request)
            fault = self._faults[route].popleft() if self._faults[route] else None
            if fault is None:
                return await self._authorised(route, request, handler)
            await asyncio.sleep(fault.delay_s)
            real = await self._authorised(route, request, handler) if fault.works else None
            return await fault.play(request, real)

        return handle

    async def _record(self, request: web.Request) -> None:
        body = None
        # A request that can't be parsed is recorded too; the handler reports what is wrong with it.
        with contextlib.suppress(ValueError, web.HTTPRequestEntityTooLarge):
            body = json.loads(await request.read())
        self.received.append(Received(body, tuple(request.headers)))

    async def _authorised(self, route: Route, request: web.Request, handler: Handler) -> web.StreamResponse:
        if self._api_key is not None and route is not Route.RESULT:
            given = request.headers.get("Authorization", "").encode()
            if not hmac.compare_digest(given, f"Bearer {self._api_key}".encode()):
                return _error(401, "invalid_api_key", "The API key is missing or invalid.")
        return await handler(request)

    async def _create(self, request: web.Request) -> web.StreamResponse:
        try:
            create = await asyncio.to_thread(parse_create, json.loads(await request.read()))
        except InvalidRequest as exc:
            return _error(400, "InvalidParameter", str(exc))
        except ValueError:
            return _error(400, "InvalidParameter", "the body is not JSON")
        task_id = secrets.token_hex(12)
        self.tasks[task_id] = task = LocalTask(
            id=task_id,
            prompt=create.prompt,
            resolution=create.resolution,
            seed=create.seed,
            made_at=time.monotonic(),
            created_at=int(time.time()),
            rendering=asyncio.ensure_future(self._pool.render(task_id, create)),
        )
        return web.json_response({**_head(task), "status": "in_progress"})

    async def _look(self, request: web.Request) -> web.StreamResponse:
        task = self.tasks.get(request.match_info["id"])
        if task is None:
            return _error(404, "not_found", "There is no such task.")
        return web.json_response(self._report(task))

    def _report(self, task: LocalTask) -> dict[str, Any]:
        age_s = time.monotonic() - task.made_at
        if not task.rendering.done() or age_s < self.task_seconds:
            progress = 1 - math.exp(-2 * age_s / max(self.task_seconds, _TYPICAL_S))
            return {**_head(task), "status": "in_progress", "progress": round(progress, 3)}
        if task.rendering.cancelled() or (error := task.rendering.exception()) is not None:
            _log.warning("task %s failed: %r", task.id, None if task.rendering.cancelled() else error)
            reason = {"code": "002014001", "message": "Video generation failed"}
            return {**_head(task), "status": "failed", "error": reason}
        url = f"{self.url}/results/{task.rendering.result().name}"
        return {
            **_head(task),
            "status": "completed",
            "output": [{"content": [{"type": "video", "url": url, "jobId": task.id}]}],
            "usage": {"cost": _PRICES[task.resolution], "discount": 1},
            "metadata": {"seed": task.seed},
        }

    async def _result(self, request: web.Request) -> web.StreamResponse:
        done = {task.rendering.result() for task in self.tasks.values() if _is_rendered(task)}
        path = self._folder / request.match_info["name"]
        if path not in done:
            return _error(404, "not_found", "There is no such video.")
        return web.FileResponse(path, headers={"Content-Type": "video/mp4"})


def _is_rendered(task: LocalTask) -> bool:
    return task.rendering.done() and not task.rendering.cancelled() and task.rendering.exception() is None


def _head(task: LocalTask) -> dict[str, Any]:
    return {"id": task.id, "model": MODEL, "created_at": task.created_at}


def _error(status: int, code: str, message: str) -> web.Response:
    return web.json_response({"error": {"code": code, "message": message}}, status=status)


async def serve(gateway: LocalGateway) -> None:
    """Serves until SIGTERM or SIGINT; prints the address once it is ready."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with gateway:
        print(gateway.url, flush=True)  # noqa: T201 - the address is this program's output
        await stop.wait()


def main() -> None:
    """The command line: `python -m bot.demo.gateway`."""
    parser = argparse.ArgumentParser(prog="python -m bot.demo.gateway", description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--folder", type=Path, required=True, help="where the videos are stored")
    parser.add_argument("--key-env", metavar="NAME", help="the variable that holds the key callers need")
    parser.add_argument("--task-seconds", type=float, default=0, help="the minimum duration of a task")
    parser.add_argument("--ready-made", action="store_true", help="serve a tiny ready-made video for every task")
    given = parser.parse_args()
    api_key = os.environ.get(given.key_env) if given.key_env else None
    if given.key_env and not api_key:
        parser.error(f"the variable {given.key_env} holds no key")
    asyncio.run(
        serve(
            LocalGateway(
                folder=given.folder,
                api_key=api_key,
                port=given.port,
                render=not given.ready_made,
                task_seconds=given.task_seconds,
                remember=0,
            )
        )
    )


if __name__ == "__main__":
    main()
