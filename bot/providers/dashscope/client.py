"""The client of Alibaba Model Studio (DashScope) and its video models. Its requests are those of `GatewaySession`.

It sends each create once: a task whose answer was lost may run and cost money. DashScope's own SDK sends a create
again when its connection drops before the answer (dashscope 2.0.2), which makes and bills a second task.

A job's id is not sent along. DashScope gives each request an id of its own (`request_id`) and documents none of
the caller's. What its servers make of an `X-Request-Id` that comes twice, after a 429 for example, is not known.
"""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Self
from urllib.parse import quote

from aiolimiter import AsyncLimiter
from yarl import URL

from bot.domain.errors import OutcomeUnknown, UpstreamError, UpstreamIll, UpstreamRefused
from bot.domain.jobs import Frame, Order, ProviderName, StopResult
from bot.domain.models import DECLARED, DEFAULT_USD_PER, Model
from bot.providers.base import Task, TaskRef, TaskStatus, Timeouts
from bot.providers.content_refusals import is_content_refusal
from bot.providers.dashscope.prices import Prices, cost_usd, usd_per_second
from bot.providers.dashscope.requests import create_body
from bot.providers.dashscope.responses import TaskResponse, parse_error, parse_response
from bot.providers.gateway_session import GatewaySession
from bot.providers.http_errors import error_for
from bot.providers.json_responses import ErrorDetails
from bot.providers.lost_answers import LostAnswers
from bot.providers.request_times import ObserveRequest, ignore_request
from bot.providers.ssrf_guard import Network

_CREATE_PATH = "services/aigc/video-generation/video-synthesis"
_TASKS_PATH = "tasks"
_ASYNC = {"X-DashScope-Async": "enable"}
"""Without it DashScope refuses a create of a video model."""

_IMPOSSIBLE_ID = "00000000-0000-0000-0000-000000000000"

PUBLISHED_POLLS_PER_SECOND = 20.0
"""How often one account may ask about tasks (Alibaba Model Studio, asynchronous tasks, read 2026-11-28)."""


class DashScope:
    """A `Provider`: `async with DashScope(…) as provider`. One instance serves the whole process.

    base_url: `http` or `https`, of the key's region, with its path (`/api/v1`). models: those that can be ordered;
    what they are called and whether they take a duration is declared with them. prices: None for those
    that are declared with `models`. polls_per_second: polls beyond it wait for their turn.
    max_result_bytes: larger videos are not downloaded.
    observe: is told of each request.
    Raises: ValueError for an unusable URL or key; its text contains neither.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str,
        *,
        models: Sequence[Model] = DECLARED,
        prices: Prices | None = None,
        polls_per_second: float = PUBLISHED_POLLS_PER_SECOND,
        timeouts: Timeouts = Timeouts(),
        max_result_bytes: int = 200_000_000,
        network: Network = Network(),
        observe: ObserveRequest = ignore_request,
    ) -> None:
        self._session = GatewaySession(
            base_url,
            api_key,
            timeouts=timeouts,
            max_result_bytes=max_result_bytes,
            network=network,
            parse_error=self._parse_error,
            observe=observe,
        )
        self._create_url = self._session.base / _CREATE_PATH
        self._tasks_url = str(self._session.base / _TASKS_PATH)
        self._key = api_key.strip()
        self._models = {model.name: model for model in models}
        self._prices = usd_per_second(models, DEFAULT_USD_PER) if prices is None else prices
        # A burst of one, so that no second has more than it may, wherever it begins.
        self._polls = AsyncLimiter(1, 1 / polls_per_second)
        self._lost_answers = LostAnswers(self.check)

    def __repr__(self) -> str:
        return f"DashScope({str(self._session.base.origin())!r})"

    async def __aenter__(self) -> Self:
        await self._session.open()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._session.close()

    async def submit(self, order: Order, frame: Frame, *, request_id: str) -> Task:
        """As `Provider.submit`. request_id: not sent; see the module."""
        del request_id
        model = self._models.get(order.model)
        offering = None if model is None else model.offering(ProviderName.DASHSCOPE)
        if model is None or offering is None:
            raise UpstreamRefused(f"DashScope does not offer the model {order.model}.", code="ModelNotFound")
        with_duration = len(model.durations_s) > 1
        name = offering.upstream_name
        data = await asyncio.to_thread(create_body, order, frame, model=name, with_duration=with_duration)
        async with self._lost_answers.create():
            parsed = await self._request("POST", self._create_url, ambiguous=OutcomeUnknown, data=data)
            if parsed.id is None:  # a refusal comes with a 4xx; this may be anything
                said = self._session.excerpt(json.dumps(parsed.raw(), ensure_ascii=False).encode())
                raise OutcomeUnknown(f"DashScope's response to a create names no task: {said}.")
        task = self._task(parsed.id, parsed, order.model)
        if task.status is TaskStatus.GONE:  # it was just created: its status isn't known yet
            return replace(task, status=TaskStatus.IN_PROGRESS, may_be_billed=False)
        return task

    async def status(self, task: TaskRef) -> Task:
        """As `Provider.status`."""
        async with self._polls:
            parsed = await self._request("GET", self._url(task), ambiguous=UpstreamIll)
        if parsed.status is None:
            if parsed.error is not None and parsed.error.code is not None:
                raise _refusal(parsed.error)
            raise UpstreamIll("DashScope's response to a poll describes no task.")
        if parsed.id is not None and parsed.id != task.id:
            # Another task's response is another member's video.
            raise UpstreamIll(f"Polled task {task.id}, but DashScope answered about another: {parsed.id}.")
        return self._task(task.id, parsed, task.model)

    async def stop(self, task: TaskRef) -> StopResult:
        """As `Provider.stop`. DashScope stops what is queued, at no cost, and nothing that runs."""
        try:
            parsed = await self._request("POST", self._url(task, "cancel"), ambiguous=UpstreamIll)
            if parsed.error is not None and parsed.error.code is not None:
                raise _refusal(parsed.error)
        except UpstreamRefused:
            # It says the same of tasks that run, that ended, and that an earlier request has stopped.
            return await self._why_not_stopped(task)
        return StopResult.STOPPED

    async def download(self, url: str, to: Path) -> int:
        """As `Provider.download`."""
        return await self._session.download(url, to)

    async def check(self) -> None:
        """As `Provider.check`: polls a task that can't exist; only a good key is told so."""
        try:
            await self.status(TaskRef(_IMPOSSIBLE_ID))
        except UpstreamRefused:
            return

    async def _why_not_stopped(self, task: TaskRef) -> StopResult:
        try:
            found = await self.status(task)
        except UpstreamRefused:
            return StopResult.UNKNOWN
        match found.status:
            case TaskStatus.CANCELLED:
                return StopResult.STOPPED
            case TaskStatus.COMPLETED | TaskStatus.FAILED:
                return StopResult.ENDED
            case TaskStatus.GONE:
                return StopResult.UNKNOWN
            case TaskStatus.IN_PROGRESS:
                return StopResult.RUNNING

    async def _request(
        self, method: str, url: URL, *, ambiguous: type[UpstreamError], data: bytes | None = None
    ) -> TaskResponse:
        headers = None if data is None else _ASYNC
        return await self._session.request(
            method, url, read=self._read, ambiguous=ambiguous, data=data, headers=headers
        )

    def _url(self, task: TaskRef, *more: str) -> URL:
        # Quoted by hand: an id is one path segment, whatever characters it contains.
        return URL("/".join([self._tasks_url, quote(task.id, safe=""), *more]), encoded=True)

    def _read(self, body: bytes) -> TaskResponse:
        return parse_response(body, secret=self._key)

    def _parse_error(self, body: bytes) -> ErrorDetails:
        return parse_error(body, secret=self._key)

    def _task(self, task_id: str, parsed: TaskResponse, model: str) -> Task:
        status = parsed.status or TaskStatus.IN_PROGRESS
        self._session.log_unknown_status(parsed.unknown_status)
        error = parsed.error if status is TaskStatus.FAILED else None
        completed = status is TaskStatus.COMPLETED
        return Task(
            id=task_id,
            status=status,
            video_url=parsed.video_url if completed else None,
            cost_usd=cost_usd(parsed.usage, model, self._prices) if completed and parsed.usage else None,
            error_code=error.code if error else None,
            error_message=error.message if error else None,
            is_content_refused=error is not None and is_content_refusal(error.code, error.message),
            can_be_stopped=parsed.is_pending or parsed.status is None,
            # What failed or was cancelled is free; what became of a task that is gone, nobody knows.
            may_be_billed=status in {TaskStatus.COMPLETED, TaskStatus.GONE},
            is_unclear=parsed.unknown_status is not None,
            raw=parsed.raw,
        )


def _refusal(error: ErrorDetails) -> UpstreamError:
    """What an error with HTTP 200 means: the same as with 400."""
    text = f"DashScope answered {error.code}: {error.message or 'no reason given'}"
    return error_for(400, error, text, ambiguous=UpstreamIll, retry_after_s=None)
