"""The client of the Vtrix gateway and its model `wan22_i2v_flash`. Its requests are those of `GatewaySession`."""

import asyncio
import json
import logging
from collections import OrderedDict
from pathlib import Path
from typing import Self
from urllib.parse import quote

from yarl import URL

from bot.domain.errors import (
    OutcomeUnknown,
    UpstreamError,
    UpstreamIll,
    UpstreamRefused,
)
from bot.domain.jobs import Frame, Order
from bot.providers.base import Task, TaskStatus, Timeouts
from bot.providers.content_refusals import is_content_refusal
from bot.providers.gateway_session import GatewaySession
from bot.providers.http_errors import refused
from bot.providers.json_responses import ErrorDetails
from bot.providers.lost_answers import LostAnswers
from bot.providers.ssrf_guard import Network
from bot.providers.vtrix.requests import BodyForm, create_body
from bot.providers.vtrix.responses import GatewayResponse, parse_error, parse_response

__all__ = ["BodyForm", "Timeouts", "Vtrix"]

_log = logging.getLogger(__name__)

_CREATE_PATH = "model/v1/generation"
_POLL_PATH = "model/v1/generation/task"
_IMPOSSIBLE_ID = "zoetrope-check"
_MAX_LOGGED_STATUSES = 100
_MAX_KNOWN_TASKS = 10_000


class Vtrix:
    """A `Provider`: `async with Vtrix(…) as provider`. One instance serves the whole process.

    base_url: `http` or `https`; a path is kept. max_result_bytes: larger videos are not downloaded.
    Raises: ValueError for an unusable URL or key; its text contains neither.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str,
        *,
        body: BodyForm = BodyForm.ENVELOPE,
        timeouts: Timeouts = Timeouts(),
        max_result_bytes: int = 200_000_000,
        network: Network = Network(),
    ) -> None:
        self._session = GatewaySession(
            base_url,
            api_key,
            timeouts=timeouts,
            max_result_bytes=max_result_bytes,
            network=network,
            parse_error=self._parse_error,
        )
        self._base = self._session.base
        self._poll_url = str(self._base / _POLL_PATH)
        self._key = api_key.strip()
        self._body = body
        self._unknown_statuses: set[str] = set()
        self._known_tasks: OrderedDict[str, None] = OrderedDict()
        self._lost_answers = LostAnswers(self.check)

    def __repr__(self) -> str:
        return f"Vtrix({str(self._base.origin())!r})"

    async def __aenter__(self) -> Self:
        await self._session.open()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._session.close()

    async def submit(self, order: Order, frame: Frame) -> Task:
        """As `Provider.submit`."""
        data = await asyncio.to_thread(create_body, order, frame, self._body)
        async with self._lost_answers.create():
            parsed = await self._create(data)
        if parsed.id is None:
            raise refused(parsed.error or ErrorDetails(), status=200)
        self._remember(parsed.id)
        return self._task(parsed.id, parsed)

    async def status(self, task_id: str) -> Task:
        """As `Provider.status`."""
        # Quoted by hand: an id is one path segment, whatever characters it contains.
        url = URL(f"{self._poll_url}/{quote(task_id, safe='')}", encoded=True)
        parsed = await self._request("GET", url, ambiguous=UpstreamIll)
        if parsed.id is None and parsed.status is None:
            if parsed.error is not None:
                raise refused(parsed.error, status=200)
            raise UpstreamIll("The gateway's response to a poll describes no task.")
        if parsed.id is not None and parsed.id != task_id:
            # Some gateways know a task under a second id. But another task's response is another member's video.
            if parsed.id in self._known_tasks:
                raise UpstreamIll(f"Polled task {task_id}, but the gateway answered about another: {parsed.id}.")
            _log.warning("polled task %s, but the gateway answered about %s", task_id, parsed.id)
        self._remember(task_id)
        return self._task(task_id, parsed)

    async def download(self, url: str, to: Path) -> int:
        """As `Provider.download`."""
        return await self._session.download(url, to)

    async def check(self) -> None:
        """As `Provider.check`: polls a task that can't exist; only a good key is told so."""
        try:
            await self.status(_IMPOSSIBLE_ID)
        except UpstreamRefused:
            return

    async def _create(self, data: bytes) -> GatewayResponse:
        parsed = await self._request("POST", self._base / _CREATE_PATH, ambiguous=OutcomeUnknown, data=data)
        if parsed.id is None and parsed.error is None:
            said = self._session.excerpt(json.dumps(parsed.raw(), ensure_ascii=False).encode())
            raise OutcomeUnknown(f"The gateway's response to a create has neither a task nor an error: {said}.")
        return parsed

    def _remember(self, task_id: str) -> None:
        self._known_tasks[task_id] = None
        self._known_tasks.move_to_end(task_id)
        if len(self._known_tasks) > _MAX_KNOWN_TASKS:
            self._known_tasks.popitem(last=False)

    async def _request(
        self, method: str, url: URL, *, ambiguous: type[UpstreamError], data: bytes | None = None
    ) -> GatewayResponse:
        """One request and its parsed response. ambiguous: what to raise if the gateway may have acted."""
        return await self._session.request(method, url, read=self._read, ambiguous=ambiguous, data=data)

    def _read(self, body: bytes) -> GatewayResponse:
        return parse_response(body, secret=self._key)

    def _parse_error(self, body: bytes) -> ErrorDetails:
        return parse_error(body, secret=self._key)

    def _task(self, task_id: str, parsed: GatewayResponse) -> Task:
        status = parsed.status or TaskStatus.IN_PROGRESS
        self._log_unknown_status(parsed.unknown_status)
        error = parsed.error if status is TaskStatus.FAILED else None
        return Task(
            id=task_id,
            status=status,
            progress=parsed.progress if status is TaskStatus.IN_PROGRESS else None,
            video_url=parsed.video_url if status is TaskStatus.COMPLETED else None,
            cost_usd=parsed.cost_usd,
            error_code=error.code if error else None,
            error_message=error.message if error else None,
            is_content_refused=error is not None and is_content_refusal(error.code, error.message),
            raw=parsed.raw,
        )

    def _log_unknown_status(self, status: str | None) -> None:
        known = self._unknown_statuses
        if status is not None and status not in known and len(known) < _MAX_LOGGED_STATUSES:
            known.add(status)
            _log.warning("the gateway reports the unknown status %r; it counts as in progress", status)
