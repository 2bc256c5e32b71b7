"""The client of the Vtrix gateway and its model `wan22_i2v_flash`.

A create costs money, has no idempotency key and can't be looked up later. So one submit sends at most one POST, on
a fresh connection, and unless it is certain that nothing was sent or that the gateway refused, the outcome is
unknown. A poll can be repeated, so any failure of one only means that the gateway is unavailable.

A gateway may refuse a picture that is still being uploaded and hang up at once (RFC 9112, 9.6); half_close_socket
makes sure that such a response is read. `Expect: 100-continue` does not help: aiohttp waits for the go-ahead
without a time limit, so behind a proxy that never sends one, no order would go out.
"""

import asyncio
import io
import json
import logging
from collections import OrderedDict
from contextlib import AsyncExitStack
from importlib.metadata import version
from pathlib import Path
from typing import Self
from urllib.parse import quote

import aiohttp
from yarl import URL

from bot.domain.errors import (
    ContentRefused,
    OutcomeUnknown,
    UpstreamBusy,
    UpstreamClosed,
    UpstreamError,
    UpstreamIll,
    UpstreamRefused,
    UpstreamUnreached,
)
from bot.domain.jobs import Frame, Order
from bot.operations.clock import utc_now
from bot.providers.base import Task, TaskStatus, Timeouts
from bot.providers.content_refusals import is_content_refusal
from bot.providers.downloads import Downloads
from bot.providers.http_client import UNSENT, environment_proxy, retry_after_s
from bot.providers.ssrf_guard import GuardedResolver, Network
from bot.providers.vtrix.half_close_socket import half_close_socket
from bot.providers.vtrix.requests import BodyForm, create_body
from bot.providers.vtrix.responses import (
    ErrorDetails,
    GatewayResponse,
    InvalidResponse,
    parse_error,
    parse_response,
    sanitize,
)

__all__ = ["BodyForm", "Timeouts", "Vtrix"]

_log = logging.getLogger(__name__)

_CREATE_PATH = "model/v1/generation"
_POLL_PATH = "model/v1/generation/task"
_IMPOSSIBLE_ID = "zoetrope-check"
_MAX_JSON_BYTES = 1_000_000
_MAX_LOGGED_STATUSES = 100
_MAX_KNOWN_TASKS = 10_000
_EXCERPT_CHARS = 120

PROBE_S = 10.0
"""Time limit, in seconds, for the poll that precedes a create after a lost response."""

PROBES = 32
"""After this many failed probes in a row a create is sent anyway: some gateways may have no better answer for a
task that can't exist. With the growing pauses between submissions that takes over an hour."""


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
        url = URL(base_url)
        if url.scheme not in {"http", "https"} or not url.host or url.raw_user is not None or url.query_string:
            raise ValueError("the base URL must be http(s)://host[:port][/path]")
        if not (api_key.isascii() and api_key.isprintable() and api_key.strip()):
            raise ValueError("the API key must be printable ASCII")
        self._base = url
        self._poll_url = str(url / _POLL_PATH)
        self._key = api_key.strip()
        self._body = body
        self._timeouts = timeouts
        self._max_result_bytes = max_result_bytes
        self._network = network
        self._unknown_statuses: set[str] = set()
        self._known_tasks: OrderedDict[str, None] = OrderedDict()
        self._response_lost = False
        self._failed_probes = 0
        self._proxy = environment_proxy(url)  # read once: that takes as long as the rest of a poll
        self._stack = AsyncExitStack()
        self._polls: aiohttp.ClientSession
        self._creates: aiohttp.ClientSession
        self._downloads: Downloads

    def __repr__(self) -> str:
        return f"Vtrix({str(self._base.origin())!r})"

    async def __aenter__(self) -> Self:
        resolver = GuardedResolver(self._network, gateway=self._base)
        self._stack.push_async_callback(resolver.close)
        ssl = self._network.ssl
        # The worker limits what it does at once. A limit here would make polls wait for a connection, and aiohttp
        # counts that as connecting.
        unlimited = aiohttp.TCPConnector(limit=0, resolver=resolver, ssl=ssl)
        # When the gateway closes a kept-alive connection just as a POST goes out, nobody can tell whether the POST
        # was read. A fresh connection for each create avoids that doubt.
        fresh = aiohttp.TCPConnector(
            resolver=resolver, ssl=ssl, force_close=True, socket_factory=half_close_socket
        )
        # Headers and timeouts are the sessions', since aiohttp merges those of a request anew each time.
        key = {"Authorization": f"Bearer {self._key}", "Content-Type": "application/json"}
        self._polls = await self._open(unlimited, self._timeouts.poll_s, key)
        self._creates = await self._open(fresh, self._timeouts.submit_s, key)
        elsewhere = await self._open(aiohttp.TCPConnector(limit=0, resolver=resolver, ssl=ssl), None, {})
        self._downloads = Downloads(
            elsewhere, self._base, self._network.is_public, self._timeouts, self._max_result_bytes
        )
        return self

    async def _open(
        self, connector: aiohttp.BaseConnector, limit_s: float | None, headers: dict[str, str]
    ) -> aiohttp.ClientSession:
        """limit_s: how long a request may take once it is connected; None if each has its own limit."""
        connect_s = self._timeouts.connect_s
        # Connecting has its own limit within the total, so the total expires only after it.
        total_s = None if limit_s is None else connect_s + limit_s
        session = aiohttp.ClientSession(
            connector=connector,
            headers={"User-Agent": f"zoetrope/{version('zoetrope')}", **headers},
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=total_s, connect=connect_s),
        )
        return await self._stack.enter_async_context(session)

    async def __aexit__(self, *exc_info: object) -> None:
        await self._stack.aclose()

    async def submit(self, order: Order, frame: Frame) -> Task:
        """As `Provider.submit`."""
        data = await asyncio.to_thread(create_body, order, frame, self._body)
        if self._response_lost:
            await self._probe()
        try:
            parsed = await self._create(data)
        except (OutcomeUnknown, asyncio.CancelledError):
            self._response_lost = True
            raise
        if parsed.id is None:
            raise _refused(parsed.error or ErrorDetails(), status=200)
        self._remember(parsed.id)
        return self._task(parsed.id, parsed)

    async def status(self, task_id: str) -> Task:
        """As `Provider.status`."""
        # Quoted by hand: an id is one path segment, whatever characters it contains.
        url = URL(f"{self._poll_url}/{quote(task_id, safe='')}", encoded=True)
        parsed = await self._request("GET", url, ambiguous=UpstreamIll)
        if parsed.id is None and parsed.status is None:
            if parsed.error is not None:
                raise _refused(parsed.error, status=200)
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
        return await self._downloads.fetch(url, to)

    async def check(self) -> None:
        """As `Provider.check`: polls a task that can't exist; only a good key is told so."""
        try:
            await self.status(_IMPOSSIBLE_ID)
        except UpstreamRefused:
            return

    async def _create(self, data: bytes) -> GatewayResponse:
        parsed = await self._request("POST", self._base / _CREATE_PATH, ambiguous=OutcomeUnknown, data=data)
        if parsed.id is None and parsed.error is None:
            said = self._excerpt(json.dumps(parsed.raw(), ensure_ascii=False).encode())
            raise OutcomeUnknown(f"The gateway's response to a create has neither a task nor an error: {said}.")
        return parsed

    async def _probe(self) -> None:
        """After a lost response, finds out with a free poll whether the gateway is back.

        Raises: UpstreamClosed, UpstreamBusy, UpstreamUnreached; nothing that costs money was sent.
        """
        try:
            async with asyncio.timeout(PROBE_S):
                await self.check()
        except (UpstreamIll, UpstreamClosed, UpstreamBusy, TimeoutError) as exc:
            self._failed_probes += 1
            if self._failed_probes < PROBES:
                if isinstance(exc, UpstreamClosed | UpstreamBusy):
                    raise
                said = exc if isinstance(exc, UpstreamIll) else "it does not answer"
                raise UpstreamUnreached(f"The gateway is unavailable, nothing was submitted: {said}") from None
        self._response_lost = False
        self._failed_probes = 0

    def _remember(self, task_id: str) -> None:
        self._known_tasks[task_id] = None
        self._known_tasks.move_to_end(task_id)
        if len(self._known_tasks) > _MAX_KNOWN_TASKS:
            self._known_tasks.popitem(last=False)

    async def _request(
        self, method: str, url: URL, *, ambiguous: type[UpstreamError], data: bytes | None = None
    ) -> GatewayResponse:
        """One request and its parsed response. ambiguous: what to raise if the gateway may have acted."""
        session = self._polls if data is None else self._creates
        proxy, proxy_headers = self._proxy
        problem: UpstreamError
        try:
            async with session.request(
                method,
                url,
                # As a file: aiohttp writes large bytes in one piece, but a file chunk by chunk.
                data=io.BytesIO(data) if data is not None else None,
                allow_redirects=False,
                proxy=proxy,
                proxy_headers=proxy_headers,
            ) as response:
                if response.ok and response.status < 300:  # noqa: PLR2004  a status reads best as its number
                    body = bytearray()
                    try:
                        return parse_response(await _read_capped(response, body), secret=self._key)
                    except InvalidResponse:
                        problem = ambiguous(self._describe_unreadable(response, body))
                else:
                    problem = await self._error_for(response, ambiguous)
        except UNSENT as exc:
            problem = UpstreamUnreached(self._without_key("The gateway can't be reached", exc))
        except (aiohttp.ClientError, OSError) as exc:
            problem = ambiguous(self._without_key("The gateway's response was lost", exc))
        # Raised out here without context: aiohttp's errors hold the request headers, including the key.
        raise problem

    def _describe_unreadable(self, response: aiohttp.ClientResponse, body: bytearray) -> str:
        """What came instead of a usable response, in enough detail to find out why."""
        what = "far too large" if len(body) > _MAX_JSON_BYTES else "not a JSON object"
        kind = sanitize(response.headers.get("Content-Type", "of no type"), secret=self._key, length=60)
        text = f"The gateway's response is {what} (HTTP {response.status}, {kind}"
        return f"{text}): {self._excerpt(body)}." if body else f"{text}, empty)."

    def _excerpt(self, body: bytes | bytearray) -> str:
        start = bytes(body[: _EXCERPT_CHARS * 10]).decode("utf-8", "replace")
        return sanitize(start, secret=self._key, length=_EXCERPT_CHARS) or "nothing that can be shown"

    def _without_key(self, what: str, exc: Exception) -> str:
        detail = sanitize(str(exc), secret=self._key)
        return f"{what} ({type(exc).__name__}{': ' if detail else ''}{detail})."

    async def _error_for(self, response: aiohttp.ClientResponse, ambiguous: type[UpstreamError]) -> UpstreamError:
        """What an HTTP status other than success means.

        Beyond the contract's table: 402 and 407 stand for money and access like 403; 408, 425 and 499 tell of a
        request that got lost on the way, so nothing is sure; any other 4xx is a refusal. A redirect is not
        followed, and whether the gateway acted before it is not known.
        """
        try:
            error = parse_error(await _read_capped(response, bytearray()), secret=self._key)
        except (aiohttp.ClientError, OSError, InvalidResponse):
            error = ErrorDetails()  # the status alone says what to do
        said = error.message or sanitize(response.reason or "", secret=self._key) or "no reason given"
        text = f"The gateway answered {response.status}: {said}"
        match response.status:
            # Some gateways answer 403 for content as well: that is about one order, and must not stop all others.
            case 403 if is_content_refusal(error.code, None):
                return _refused(error, status=response.status)
            case 401 | 402 | 403 | 407:
                return UpstreamClosed(text, status=response.status)
            case 429:
                return UpstreamBusy(text, retry_after_s=retry_after_s(response.headers, now=utc_now()))
            case 408 | 425 | 499:
                return ambiguous(text)
            case status if 400 <= status < 500:  # noqa: PLR2004  a status reads best as its number
                return _refused(error, status=status)
            case status if 300 <= status < 400:  # noqa: PLR2004
                return ambiguous(f"{text}. It redirects elsewhere: is the base URL right?")
            case _:
                return ambiguous(text)

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


def _refused(error: ErrorDetails, *, status: int) -> UpstreamRefused:
    message = error.message or f"The gateway refused without a reason (HTTP {status})."
    kind = ContentRefused if is_content_refusal(error.code, error.message) else UpstreamRefused
    return kind(message, code=error.code or str(status), said=error.message)


async def _read_capped(response: aiohttp.ClientResponse, body: bytearray) -> bytes:
    """Reads the decompressed body into `body`. Raises: InvalidResponse as soon as it exceeds the cap."""
    while chunk := await response.content.readany():
        body += chunk
        if len(body) > _MAX_JSON_BYTES:
            raise InvalidResponse
    return bytes(body)
