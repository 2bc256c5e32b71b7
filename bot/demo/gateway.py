"""A local upstream: it implements the gateway's HTTP API and renders real videos, without a key or a bill.

The demo runs the whole bot against it. So do the tests, with `tests/faulty_gateway.py`, which fails on demand.
"""

import asyncio
import hmac
import json
import logging
import math
import secrets
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from bot.demo.fake_renderer import RenderPool
from bot.demo.request_parsing import MODEL, CreateRequest, InvalidRequest, parse_create
from bot.domain.jobs import Resolution

_log = logging.getLogger(__name__)

_BODY_BYTES = 16_000_000
_TYPICAL_S = 4.0
_PRICES = {Resolution.P480: "0.05", Resolution.P720: "0.10"}


@dataclass(frozen=True, slots=True)
class LocalTask:
    """One task. created_at: a Unix time. rendering: gives the video's file, or None if it failed."""

    id: str
    create: CreateRequest
    created_at: float
    rendering: asyncio.Task[Path | None]


class LocalGateway:
    """`async with LocalGateway(folder, api_key) as gateway:` serves at `gateway.url` until the block ends.

    folder: where the videos are stored. api_key: the key that callers need. middlewares: run before the key is
    checked.
    """

    def __init__(
        self, folder: Path, api_key: str, *, pool: RenderPool | None = None, middlewares: Sequence[Middleware] = ()
    ) -> None:
        self.tasks: dict[str, LocalTask] = {}
        self.url = ""
        self._authorization = f"Bearer {api_key}".encode()
        self._pool = pool or RenderPool(folder)
        self._middlewares = middlewares
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self._pool)
        app = web.Application(client_max_size=_BODY_BYTES, middlewares=[*self._middlewares, self._check_key])
        self._add_routes(app.router)
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
        self._stack.push_async_callback(runner.cleanup)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        for task in self.tasks.values():
            task.rendering.cancel()
        await self._stack.aclose()

    def _add_routes(self, router: web.UrlDispatcher) -> None:
        router.add_post("/model/v1/generation", self._create, name="create")
        router.add_get("/model/v1/generation/task/{id}", self._poll, name="poll")
        router.add_get("/results/{id}.mp4", self._result, name="result")

    @web.middleware
    async def _check_key(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        given = request.headers.get("Authorization", "").encode()
        if request.match_info.route.name != "result" and not hmac.compare_digest(given, self._authorization):
            return _error(401, "invalid_api_key", "The API key is missing or invalid.")
        return await handler(request)

    async def _create(self, request: web.Request) -> web.StreamResponse:
        try:
            task = await self._make(json.loads(await request.read()))
        except InvalidRequest as exc:
            return _error(400, "InvalidParameter", str(exc))
        except ValueError:
            return _error(400, "InvalidParameter", "the body is not JSON")
        return web.json_response({**_head(task), "status": "in_progress"})

    async def _make(self, body: object) -> LocalTask:
        """Starts the task that a create asks for. Raises: InvalidRequest."""
        create = await asyncio.to_thread(parse_create, body)
        task_id = secrets.token_hex(12)
        rendering = asyncio.create_task(self._render(task_id, create))
        self.tasks[task_id] = task = LocalTask(task_id, create, time.time(), rendering)
        return task

    async def _render(self, task_id: str, create: CreateRequest) -> Path | None:
        try:
            return await self._pool.render(task_id, create)
        except Exception as error:  # noqa: BLE001  # whatever it is, this task failed
            _log.warning("task %s failed: %r", task_id, error)
            return None

    async def _poll(self, request: web.Request) -> web.StreamResponse:
        task = self.tasks.get(request.match_info["id"])
        if task is None:
            return _error(404, "not_found", "There is no such task.")
        return web.json_response(self._report(task))

    def _report(self, task: LocalTask) -> dict[str, Any]:
        if not task.rendering.done():
            return in_progress(task)
        if task.rendering.result() is None:
            reason = {"code": "002014001", "message": "Video generation failed"}
            return {**_head(task), "status": "failed", "error": reason}
        video = {"type": "video", "url": f"{self.url}/results/{task.id}.mp4", "jobId": task.id}
        return {
            **_head(task),
            "status": "completed",
            "output": [{"content": [video]}],
            "usage": {"cost": _PRICES[task.create.resolution], "discount": 1},
            "metadata": {"seed": task.create.seed},
        }

    async def _result(self, request: web.Request) -> web.StreamResponse:
        task = self.tasks.get(request.match_info["id"])
        path = task.rendering.result() if task is not None and task.rendering.done() else None
        if path is None:
            return _error(404, "not_found", "There is no such video.")
        return web.FileResponse(path, headers={"Content-Type": "video/mp4"})


def in_progress(task: LocalTask) -> dict[str, Any]:
    """The response to a poll of a task that isn't over."""
    progress = 1 - math.exp(-2 * (time.time() - task.created_at) / _TYPICAL_S)
    return {**_head(task), "status": "in_progress", "progress": round(progress, 3)}


def _head(task: LocalTask) -> dict[str, Any]:
    return {"id": task.id, "model": MODEL, "created_at": int(task.created_at)}


def _error(status: int, code: str, message: str) -> web.Response:
    return web.json_response({"error": {"code": code, "message": message}}, status=status)
