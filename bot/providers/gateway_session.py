"""The HTTP side of a gateway's client: its connections, one request and what its failures mean, and downloads.

A create costs money, has no idempotency key and can't be looked up later. So each goes out once, on a fresh
connection, and unless it is certain that nothing was sent or that the gateway refused, the outcome is unknown. A
poll can be repeated, so any failure of one only means that the gateway is unavailable.

A gateway may refuse a picture that is still being uploaded and hang up at once (RFC 9112, 9.6); half_close_socket
makes sure that such a response is read. `Expect: 100-continue` does not help: aiohttp waits for the go-ahead
without a time limit, so behind a proxy that never sends one, no order would go out.
"""

import io
import logging
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

import aiohttp
from yarl import URL

from bot.domain.errors import LeaseOver, UpstreamError, UpstreamUnreached
from bot.operations.clock import utc_now
from bot.operations.held_lease import is_overtaken
from bot.providers.base import Timeouts
from bot.providers.downloads import Downloads
from bot.providers.half_close_socket import half_close_socket
from bot.providers.http_client import UNSENT, environment_proxy, retry_after_s
from bot.providers.http_errors import error_for
from bot.providers.json_responses import ErrorDetails, InvalidResponse, sanitize
from bot.providers.request_times import ObserveRequest, ignore_request, operation_of, timed
from bot.providers.ssrf_guard import GuardedResolver, Network

_MAX_JSON_BYTES = 1_000_000
_EXCERPT_CHARS = 120
_MAX_LOGGED_STATUSES = 100

_log = logging.getLogger(__name__)

_Response = TypeVar("_Response")


class GatewaySession:
    """The connections to one gateway, for use between `open` and `close`.

    base_url: `http` or `https`; a path is kept. max_result_bytes: larger videos are not downloaded. parse_error:
    reads the body of an HTTP error; may raise InvalidResponse. observe: is told of each request.
    Raises: ValueError for an unusable URL or key; its text contains neither.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str,
        *,
        timeouts: Timeouts,
        max_result_bytes: int,
        network: Network,
        parse_error: Callable[[bytes], ErrorDetails],
        observe: ObserveRequest = ignore_request,
    ) -> None:
        url = URL(base_url)
        if url.scheme not in {"http", "https"} or not url.host or url.raw_user is not None or url.query_string:
            raise ValueError("the base URL must be http(s)://host[:port][/path]")
        if not (api_key.isascii() and api_key.isprintable() and api_key.strip()):
            raise ValueError("the API key must be printable ASCII")
        self.base = url
        self._key = api_key.strip()
        self.timeouts = timeouts
        self._max_result_bytes = max_result_bytes
        self._network = network
        self._parse_error = parse_error
        self._observe = observe
        self._proxy = environment_proxy(url)  # read once: that takes as long as the rest of a poll
        self._unknown_statuses: set[str] = set()
        self._stack = AsyncExitStack()
        self._polls: aiohttp.ClientSession
        self._creates: aiohttp.ClientSession
        self._downloads: Downloads

    async def open(self) -> None:
        """Opens the connections, inside the event loop that uses them."""
        resolver = GuardedResolver(self._network, gateway=self.base)
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
        self._polls = await self._open(unlimited, self.timeouts.poll_s, key)
        creates = aiohttp.TraceConfig()
        creates.on_request_headers_sent.append(_refuse_overtaken)  # called right before they are
        self._creates = await self._open(fresh, self.timeouts.submit_s, key, [creates])
        elsewhere = await self._open(aiohttp.TCPConnector(limit=0, resolver=resolver, ssl=ssl), None, {})
        self._downloads = Downloads(
            elsewhere, self.base, self._network.is_public, self.timeouts, self._max_result_bytes
        )

    async def _open(
        self,
        connector: aiohttp.BaseConnector,
        limit_s: float | None,
        headers: dict[str, str],
        traces: list[aiohttp.TraceConfig] | None = None,
    ) -> aiohttp.ClientSession:
        """limit_s: how long a request may take once it is connected; None if each has its own limit."""
        connect_s = self.timeouts.connect_s
        # Connecting has its own limit within the total, so the total expires only after it.
        total_s = None if limit_s is None else connect_s + limit_s
        session = aiohttp.ClientSession(
            connector=connector,
            headers={"User-Agent": f"zoetrope/{version('zoetrope')}", **headers},
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=total_s, connect=connect_s),
            trace_configs=traces,
        )
        return await self._stack.enter_async_context(session)

    async def close(self) -> None:
        """Closes the connections."""
        await self._stack.aclose()

    async def download(self, url: str, to: Path) -> int:
        """As `Provider.download`."""
        with timed(self._observe, "download"):
            return await self._downloads.fetch(url, to)

    async def request(
        self,
        method: str,
        url: URL,
        *,
        read: Callable[[bytes], _Response],
        ambiguous: type[UpstreamError],
        data: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        recognise: Callable[[int, bytes], _Response | None] = lambda _, __: None,
    ) -> _Response:
        """One request and its parsed response.

        read: parses the body of a success; may raise InvalidResponse. ambiguous: what to raise if the gateway may
        have acted. data: the body of a create. recognise: is given the status and the body of each response first,
        also of an HTTP error; returns None for what means the same as ever; may raise UpstreamError.
        Raises: UpstreamError; for a create whose job may be another process's by now, LeaseOver.
        """
        with timed(self._observe, operation_of(method, is_create=data is not None)):
            session = self._polls if data is None else self._creates
            proxy, proxy_headers = self._proxy
            problem: UpstreamError
            try:
                async with session.request(
                    method,
                    url,
                    # As a file: aiohttp writes large bytes in one piece, but a file chunk by chunk.
                    data=io.BytesIO(data) if data is not None else None,
                    headers=headers,
                    allow_redirects=False,
                    proxy=proxy,
                    proxy_headers=proxy_headers,
                ) as response:
                    body = bytearray()
                    if response.ok and response.status < 300:  # noqa: PLR2004  a status reads best as its number
                        try:
                            whole = await _read_capped(response, body)
                            found = recognise(response.status, whole)
                            return read(whole) if found is None else found
                        except InvalidResponse:
                            problem = ambiguous(self._describe_unreadable(response, body))
                    else:
                        whole = await _read_error(response, body)
                        if (found := recognise(response.status, whole)) is not None:
                            return found
                        problem = self._error_for(response, whole, ambiguous)
            except UNSENT as exc:
                problem = UpstreamUnreached(self._without_key("The gateway can't be reached", exc))
            except (aiohttp.ClientError, OSError) as exc:
                problem = ambiguous(self._without_key("The gateway's response was lost", exc))
            # Raised out here without context: aiohttp's errors hold the request headers, including the key.
            raise problem

    def log_unknown_status(self, status: str | None) -> None:
        """Logs the status of a task that isn't known, once each. None: it is known."""
        known = self._unknown_statuses
        if status is not None and status not in known and len(known) < _MAX_LOGGED_STATUSES:
            known.add(status)
            _log.warning("%s reports the unknown status %r; it counts as in progress", self.base.host, status)

    def excerpt(self, body: bytes | bytearray) -> str:
        """The start of a body, for the operator."""
        start = bytes(body[: _EXCERPT_CHARS * 10]).decode("utf-8", "replace")
        return sanitize(start, secret=self._key, length=_EXCERPT_CHARS) or "nothing that can be shown"

    def _describe_unreadable(self, response: aiohttp.ClientResponse, body: bytearray) -> str:
        """What came instead of a usable response, in enough detail to find out why."""
        what = "far too large" if len(body) > _MAX_JSON_BYTES else "not a JSON object"
        kind = sanitize(response.headers.get("Content-Type", "of no type"), secret=self._key, length=60)
        text = f"The gateway's response is {what} (HTTP {response.status}, {kind}"
        return f"{text}): {self.excerpt(body)}." if body else f"{text}, empty)."

    def _without_key(self, what: str, exc: Exception) -> str:
        detail = sanitize(str(exc), secret=self._key)
        return f"{what} ({type(exc).__name__}{': ' if detail else ''}{detail})."

    def _error_for(
        self, response: aiohttp.ClientResponse, body: bytes, ambiguous: type[UpstreamError]
    ) -> UpstreamError:
        """What an HTTP status other than success means."""
        try:
            error = self._parse_error(body)
        except InvalidResponse:
            error = ErrorDetails()  # the status alone says what to do
        said = error.message or sanitize(response.reason or "", secret=self._key) or "no reason given"
        text = f"The gateway answered {response.status}: {said}"
        wait_s = retry_after_s(response.headers, now=utc_now())
        return error_for(response.status, error, text, ambiguous=ambiguous, retry_after_s=wait_s)


async def _refuse_overtaken(*_: object) -> None:
    """Called when a create is connected and has sent nothing."""
    if is_overtaken():
        raise LeaseOver("nothing was sent: another process may have taken the job over")


async def _read_error(response: aiohttp.ClientResponse, body: bytearray) -> bytes:
    """The body of an HTTP error; empty if it can't be read, since the status alone says what to do."""
    try:
        return await _read_capped(response, body)
    except (aiohttp.ClientError, OSError, InvalidResponse):
        return b""


async def _read_capped(response: aiohttp.ClientResponse, body: bytearray) -> bytes:
    """Reads the decompressed body into `body`. Raises: InvalidResponse as soon as it exceeds the cap."""
    while chunk := await response.content.readany():
        body += chunk
        if len(body) > _MAX_JSON_BYTES:
            raise InvalidResponse
    return bytes(body)
