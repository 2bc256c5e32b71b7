"""The client of the Vtrix gateway and its model `wan22_i2v_flash`.

A create costs money, has no idempotency key and can't be found again: so at most one POST goes on the wire for
one submit, on a connection of its own, and unless it is certain that nothing was sent or that the gateway
refused, the outcome is unknown. A look can be had again, so whatever goes wrong with one is only an ill gateway.
What an answer says is read in `answers`; what a link may lead to is decided in `origins` and `downloads`.

A gateway may refuse a picture that is still on its way, and hang up at once (RFC 9112, 9.6): `sockets` sees to it
that such an answer is read. Asking before the body (`Expect: 100-continue`) is no way: aiohttp awaits the
go-ahead without an end of its own, and behind a server or proxy that never gives it no order would go out at all.
"""

import asyncio
import io
import json
import logging
from collections import OrderedDict
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

import aiohttp
from yarl import URL

from bot.domain.errors import (
    OutcomeUnknown,
    UpstreamBusy,
    UpstreamClosed,
    UpstreamError,
    UpstreamIll,
    UpstreamRefused,
    UpstreamUnreached,
)
from bot.domain.jobs import Frame, Order
from bot.providers.base import Task, TaskStatus
from bot.providers.downloads import UNSENT, Downloads
from bot.providers.ssrf_guard import INTERNET, Network, environment_proxy, guarded
from bot.providers.vtrix.half_close_socket import listening_socket
from bot.providers.vtrix.requests import BodyForm, create_body
from bot.providers.vtrix.responses import (
    Answer,
    Complaint,
    Unreadable,
    read_answer,
    read_complaint,
    retry_after_s,
    tidy,
)
from bot.seams import Seam, around

__all__ = ["BodyForm", "Timeouts", "Vtrix"]

_log = logging.getLogger(__name__)

_CREATE_PATH = "model/v1/generation"
_LOOK_PATH = "model/v1/generation/task"
_IMPOSSIBLE_ID = "zoetrope-check"
_MAX_JSON_BYTES = 1_000_000
_LARGE_FRAME_BYTES = 256 * 1024
_STATUSES_REMEMBERED = 100
_TASKS_REMEMBERED = 10_000
_SHOWN_LENGTH = 120

PROBE_S = 10.0
"""How long the look before a create may take, after an answer was lost."""

PROBES = 32
"""After so many looks in a row that were not answered well, a create is sent all the same: some gateways may have
no better answer to a task that can't exist. With the growing pauses of the submissions that is over an hour."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long each phase may take, in seconds.

    connect_s: name, connection and TLS. submit_s: a create after that, its upload included. look_s: a look
    after that. download_s: a whole video. stall_s: the longest silence within a download.
    """

    connect_s: float = 10
    submit_s: float = 90
    look_s: float = 20
    download_s: float = 300
    stall_s: float = 30


@dataclass(frozen=True, slots=True)
class _Open:
    """What is open between `__aenter__` and `__aexit__`."""

    looks: aiohttp.ClientSession
    creates: aiohttp.ClientSession
    downloads: Downloads


class Vtrix:
    """A `Provider`: `async with Vtrix(…) as provider`. One serves the whole process.

    base_url: `http` or `https`, a path is kept. max_result_bytes: a larger video is not fetched.
    Raises: ValueError for an address or a key that can't be used; its text holds neither.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str,
        *,
        body: BodyForm = BodyForm.ENVELOPE,
        timeouts: Timeouts = Timeouts(),
        max_result_bytes: int = 200_000_000,
        network: Network = INTERNET,
    ) -> None:
        url = URL(base_url)
        if url.scheme not in {"http", "https"} or not url.host or url.raw_user is not None or url.query_string:
            raise ValueError("the base URL must be http(s)://host[:port][/path]")
        if not (api_key.isascii() and api_key.isprintable() and api_key.strip()):
            raise ValueError("the API key must be printable ASCII")
        self._base = url
        self._key = api_key.strip()
        self._body = body
        self._timeouts = timeouts
        self._max_result_bytes = max_result_bytes
        self._network = network
        self._unknown_statuses: set[str] = set()
        self._tasks: OrderedDict[str, None] = OrderedDict()
        self._in_doubt = False
        self._ill_probes = 0
        self._stack = AsyncExitStack()
        self._opened: _Open | None = None

    def __repr__(self) -> str:
        return f"Vtrix({str(self._base.origin())!r})"

    async def __aenter__(self) -> Self:
        inner = self._network.resolver or aiohttp.ThreadedResolver()
        resolver = guarded(self._network, inner=inner, own=self._base)
        self._stack.push_async_callback(resolver.close)

        async def session(*, creates: bool) -> aiohttp.ClientSession:
            connector = aiohttp.TCPConnector(
                resolver=resolver,
                ssl=self._network.ssl,
                force_close=creates,
                socket_factory=listening_socket if creates else None,
            )
            return await self._stack.enter_async_context(
                aiohttp.ClientSession(
                    connector=connector,
                    headers={"User-Agent": f"zoetrope/{version('zoetrope')}"},
                    cookie_jar=aiohttp.DummyCookieJar(),
                )
            )

        looks = await session(creates=False)
        # A kept connection that the gateway closes just as a POST goes out can't be told from one that was
        # closed after the POST was read. A fresh one for each create leaves that doubt out.
        creates = await session(creates=True)
        downloads = Downloads(
            looks,
            own=self._base,
            is_public=self._network.is_public,
            connect_s=self._timeouts.connect_s,
            stall_s=self._timeouts.stall_s,
            timeout_s=self._timeouts.download_s,
            max_bytes=self._max_result_bytes,
        )
        self._opened = _Open(looks, creates, downloads)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._opened = None
        await self._stack.aclose()

    @property
    def _now(self) -> _Open:
        if self._opened is None:
            raise RuntimeError("Vtrix is used as an async context manager")
        return self._opened

    @around(Seam.CREATE)
    async def submit(self, order: Order, frame: Frame) -> Task:
        """As `Provider.submit`."""
        if len(frame.data) > _LARGE_FRAME_BYTES:
            data = await asyncio.to_thread(create_body, order, frame, self._body)
        else:
            data = create_body(order, frame, self._body)
        if self._in_doubt:
            await self._probe()
        try:
            answer = await self._create(data)
        except (OutcomeUnknown, asyncio.CancelledError):
            self._in_doubt = True
            raise
        if answer.id is None:
            raise _refusal(answer.complaint or Complaint(), status=200)
        self._remember(answer.id)
        return self._task(answer.id, answer)

    @around(Seam.LOOK)
    async def status(self, task_id: str) -> Task:
        """As `Provider.status`."""
        # Quoted by hand: an id is one segment of the path, whatever characters it holds.
        url = URL(f"{self._base / _LOOK_PATH}/{quote(task_id, safe='')}", encoded=True)
        answer = await self._ask("GET", url, timeout_s=self._timeouts.look_s, doubt=UpstreamIll)
        if answer.id is None and answer.status is None:
            if answer.complaint is not None:
                raise _refusal(answer.complaint, status=200)
            raise UpstreamIll("The gateway's answer to a look says nothing of a task.")
        if answer.id is not None and answer.id != task_id:
            # Some gateways know a task by a second name. But another one's answer is another member's video.
            if answer.id in self._tasks:
                raise UpstreamIll(f"Asked for task {task_id}, the gateway answered about another, {answer.id}.")
            _log.warning("asked for task %s, the gateway answered about %s", task_id, answer.id)
        self._remember(task_id)
        return self._task(task_id, answer)

    @around(Seam.DOWNLOAD)
    async def download(self, url: str, to: Path) -> int:
        """As `Provider.download`."""
        return await self._now.downloads.fetch(url, to)

    async def check(self) -> None:
        """As `Provider.check`: looks at a task that can't exist, which the gateway refuses only to a good key."""
        try:
            await self.status(_IMPOSSIBLE_ID)
        except UpstreamRefused:
            return

    async def _create(self, data: bytes) -> Answer:
        answer = await self._ask(
            "POST", self._base / _CREATE_PATH, timeout_s=self._timeouts.submit_s, doubt=OutcomeUnknown, data=data
        )
        if answer.id is None and answer.complaint is None:
            said = self._shown(json.dumps(answer.raw, ensure_ascii=False).encode())
            raise OutcomeUnknown(f"The gateway's answer to a create names neither a task nor an error: {said}.")
        return answer

    async def _probe(self) -> None:
        """After a lost answer: a look, which is free, tells whether the gateway is there again.

        Raises: UpstreamClosed, UpstreamBusy, UpstreamUnreached; nothing was sent that costs.
        """
        try:
            async with asyncio.timeout(PROBE_S):
                await self.check()
        except (UpstreamIll, UpstreamClosed, UpstreamBusy, TimeoutError) as exc:
            self._ill_probes += 1
            if self._ill_probes < PROBES:
                if isinstance(exc, UpstreamClosed | UpstreamBusy):
                    raise
                said = exc if isinstance(exc, UpstreamIll) else "It does not answer."
                raise UpstreamUnreached(f"The gateway is ill, nothing was handed in: {said}") from None
        self._in_doubt = False
        self._ill_probes = 0

    def _remember(self, task_id: str) -> None:
        self._tasks[task_id] = None
        self._tasks.move_to_end(task_id)
        if len(self._tasks) > _TASKS_REMEMBERED:
            self._tasks.popitem(last=False)

    async def _ask(
        self, method: str, url: URL, *, timeout_s: float, doubt: type[UpstreamError], data: bytes | None = None
    ) -> Answer:
        """One request and what its answer says. `doubt`: what to raise where the gateway may have acted."""
        session = self._now.looks if data is None else self._now.creates
        headers = {"Authorization": f"Bearer {self._key}", "Content-Type": "application/json"}
        proxy = environment_proxy(url)
        problem: UpstreamError
        try:
            async with session.request(
                method,
                url,
                # As a file: aiohttp hands large bytes to the socket in one piece, a file piece by piece.
                data=io.BytesIO(data) if data is not None else None,
                headers=headers,
                allow_redirects=False,
                proxy=proxy.url,
                proxy_headers=proxy.headers,
                # The connection has a limit of its own within the whole, so the whole runs out only after it.
                timeout=aiohttp.ClientTimeout(
                    total=self._timeouts.connect_s + timeout_s, connect=self._timeouts.connect_s
                ),
            ) as response:
                if response.ok and response.status < 300:  # noqa: PLR2004  a status reads best as its number
                    body = bytearray()
                    try:
                        return read_answer(await _read_capped(response, body), secret=self._key)
                    except Unreadable:
                        problem = doubt(self._unreadable(response, body))
                else:
                    problem = await self._problem(response, doubt)
        except UNSENT as exc:
            problem = UpstreamUnreached(self._told("The gateway can't be reached", exc))
        except (aiohttp.ClientError, OSError) as exc:
            problem = doubt(self._told("The gateway's answer was lost", exc))
        # Raised out here to carry no context: the errors of aiohttp hold the request's headers, the key with them.
        raise problem

    def _unreadable(self, response: aiohttp.ClientResponse, body: bytearray) -> str:
        """What came instead of an answer, for whoever has to find out what it meant."""
        what = "far too large" if len(body) > _MAX_JSON_BYTES else "not a JSON object"
        kind = tidy(response.headers.get("Content-Type", "of no type"), secret=self._key, length=60)
        text = f"The gateway's answer is {what} (HTTP {response.status}, {kind}"
        return f"{text}): {self._shown(body)}." if body else f"{text}, empty)."

    def _shown(self, body: bytes | bytearray) -> str:
        start = bytes(body[: _SHOWN_LENGTH * 10]).decode("utf-8", "replace")
        return tidy(start, secret=self._key, length=_SHOWN_LENGTH) or "nothing that can be shown"

    def _told(self, what: str, exc: Exception) -> str:
        detail = tidy(str(exc), secret=self._key)
        return f"{what} ({type(exc).__name__}{': ' if detail else ''}{detail})."

    async def _problem(self, response: aiohttp.ClientResponse, doubt: type[UpstreamError]) -> UpstreamError:
        """What an HTTP status other than success means.

        Beyond the contract's table: 402 and 407 stand for money and access like 403; 408, 425 and 499 tell of a
        request that got lost on the way, so nothing is sure; any other 4xx is a refusal. A redirect is not
        followed, and whether the gateway acted before it is not known.
        """
        try:
            complaint = read_complaint(await _read_capped(response, bytearray()), secret=self._key)
        except (aiohttp.ClientError, OSError, Unreadable):
            complaint = Complaint()  # the status alone says what to do
        said = complaint.message or tidy(response.reason or "", secret=self._key) or "no reason given"
        text = f"The gateway answered {response.status}: {said}"
        match response.status:
            case 401 | 402 | 403 | 407:
                return UpstreamClosed(text, status=response.status)
            case 429:
                wait_s = retry_after_s(response.headers, now=datetime.now(UTC))
                return UpstreamBusy(text, retry_after_s=wait_s)
            case 408 | 425 | 499:
                return doubt(text)
            case status if 400 <= status < 500:  # noqa: PLR2004  a status reads best as its number
                return _refusal(complaint, status=status)
            case status if 300 <= status < 400:  # noqa: PLR2004
                return doubt(f"{text}. It leads elsewhere: is the base URL right?")
            case _:
                return doubt(text)

    def _task(self, task_id: str, answer: Answer) -> Task:
        status = answer.status or TaskStatus.IN_PROGRESS
        self._note_unknown(answer.unknown_status)
        complaint = answer.complaint if status is TaskStatus.FAILED else None
        return Task(
            id=task_id,
            status=status,
            progress=answer.progress if status is TaskStatus.IN_PROGRESS else None,
            video_url=answer.video_url if status is TaskStatus.COMPLETED else None,
            cost_usd=answer.cost_usd,
            error_code=complaint.code if complaint else None,
            error_message=complaint.message if complaint else None,
            raw=answer.raw,
        )

    def _note_unknown(self, status: str | None) -> None:
        if (
            status is None
            or status in self._unknown_statuses
            or len(self._unknown_statuses) >= _STATUSES_REMEMBERED
        ):
            return
        self._unknown_statuses.add(status)
        _log.warning("the gateway reports the unknown status %r; it counts as in progress", status)


def _refusal(complaint: Complaint, *, status: int) -> UpstreamRefused:
    message = complaint.message or f"The gateway refused without a reason (HTTP {status})."
    return UpstreamRefused(message, code=complaint.code or str(status), said=complaint.message)


async def _read_capped(response: aiohttp.ClientResponse, body: bytearray) -> bytes:
    """The body, unpacked, gathered in `body`. Raises Unreadable once it passes the cap: nothing more is read."""
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > _MAX_JSON_BYTES:
            raise Unreadable
    return bytes(body)
