"""Streams a finished video from its link into a file.

The link is not trusted: each redirect is checked, the size is capped whatever the headers say, and the first bytes
must be those of a video. No key is sent. The result is all that was sent, or nothing; whether that is all of the
video is for `bot.media.video_layout` to say.
"""

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import aiohttp
from yarl import URL

from bot.domain.errors import (
    ResultIncomplete,
    ResultRefused,
    ResultUnusable,
    UpstreamBusy,
    UpstreamIll,
    UpstreamUnreached,
)
from bot.operations.clock import utc_now
from bot.providers.base import Timeouts
from bot.providers.http_client import UNSENT, environment_proxy, parse_link, retry_after_s
from bot.providers.ssrf_guard import Address, ForbiddenAddress, forbidden_reason

_MAX_REDIRECTS = 5
_MAGIC_BYTES = 12
_WRITE_BYTES = 512 << 10
"""How much is written in one call in a thread; what arrives at once is far less."""

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_LINK_REFUSED = frozenset({401, 403, 404, 410})
"""Statuses of a link that is handed out before its file is there, or whose signature has expired."""

_TRANSIENT = frozenset({408, 425, 499})
"""4xx statuses that say nothing about the file: timeouts and closed requests."""


@dataclass(frozen=True, slots=True)
class Downloads:
    """Downloads results. gateway: its origin. is_public: which addresses results may come from."""

    session: aiohttp.ClientSession
    gateway: URL
    is_public: Callable[[Address], bool]
    timeouts: Timeouts
    max_bytes: int

    async def fetch(self, url: str, to: Path) -> int:
        """As `Provider.download`. Errors of the local disk (no space left) are raised as they are: OSError."""
        _remove(to)
        try:
            return await self._follow(url, to)
        except BaseException:
            _remove(to)
            raise

    async def _follow(self, url: str, to: Path) -> int:
        target = parse_link(url)
        if target is None:
            raise ResultUnusable("The video's link is not a valid URL.")
        try:
            async with asyncio.timeout(self.timeouts.download_s):
                for _ in range(_MAX_REDIRECTS + 1):
                    outcome = await self._request(target, to)
                    if isinstance(outcome, int):
                        return outcome
                    target = outcome
        except UNSENT as exc:
            if isinstance(exc, aiohttp.ClientConnectorError) and isinstance(exc.os_error, ForbiddenAddress):
                raise ResultUnusable(f"The video's link is not allowed: {exc.os_error}.") from exc
            raise UpstreamUnreached(
                f"{target.host} can't be reached for the video ({type(exc).__name__})."
            ) from exc
        except aiohttp.InvalidURL as exc:
            raise ResultUnusable("The video's link is not a valid URL.") from exc
        except (aiohttp.ClientError, TimeoutError) as exc:
            raise UpstreamIll(f"The download from {target.host} broke off ({type(exc).__name__}).") from exc
        raise ResultUnusable(f"The video's link redirects more than {_MAX_REDIRECTS} times.")

    async def _request(self, target: URL, to: Path) -> int | URL:
        """One request: the size of the downloaded file, or the URL it redirects to."""
        reason = forbidden_reason(target, gateway=self.gateway, is_public=self.is_public)
        if reason is not None:
            raise ResultUnusable(f"The video's link is not allowed: {reason}.")
        proxy, proxy_headers = environment_proxy(target)
        connect_s, stall_s = self.timeouts.connect_s, self.timeouts.stall_s
        async with self.session.get(
            target,
            allow_redirects=False,
            headers={"Accept-Encoding": "identity"},
            proxy=proxy,
            proxy_headers=proxy_headers,
            timeout=aiohttp.ClientTimeout(total=None, connect=connect_s, sock_read=stall_s),
        ) as response:
            if response.status in _REDIRECTS:
                return _redirect_target(target, response)
            _check_status(response)
            return await self._save(response, to)

    async def _save(self, response: aiohttp.ClientResponse, to: Path) -> int:
        self._check_size(response.content_length or 0)
        try:
            head = await response.content.readexactly(_MAGIC_BYTES)
        except asyncio.IncompleteReadError as exc:
            raise ResultIncomplete(f"The video's link returned only {len(exc.partial)} bytes.") from exc
        _require_video(head)
        size_bytes = len(head)
        with _new_private_file(to) as file:
            chunks = [head]
            written_bytes = 0
            async for chunk, _ in response.content.iter_chunks():  # as they came; others would be joined copies
                size_bytes += len(chunk)
                self._check_size(size_bytes)
                chunks.append(chunk)
                if size_bytes - written_bytes >= _WRITE_BYTES:
                    await asyncio.to_thread(file.writelines, chunks)
                    chunks, written_bytes = [], size_bytes
            await asyncio.to_thread(file.writelines, chunks)
        return size_bytes

    def _check_size(self, size_bytes: int) -> None:
        if size_bytes > self.max_bytes:
            raise ResultUnusable(f"The video is larger than {self.max_bytes} bytes.")


def _redirect_target(target: URL, response: aiohttp.ClientResponse) -> URL:
    location = response.headers.get("Location")
    url = parse_link(location, target) if location else None
    if url is None:
        raise ResultUnusable("The video's link redirects to no valid URL.")
    return url


def _check_status(response: aiohttp.ClientResponse) -> None:
    """Returns if the body may be a video; raises what the status means otherwise."""
    host, status = response.url.host, response.status
    if status == 200:  # noqa: PLR2004  a status reads best as its number
        return
    if status == 429:  # noqa: PLR2004
        wait_s = retry_after_s(response.headers, now=utc_now())
        raise UpstreamBusy(f"{host} limits the rate of downloads.", retry_after_s=wait_s)
    if status in _LINK_REFUSED:
        raise ResultRefused(f"{host} answered {status} instead of the video.")
    if 400 <= status < 500 and status not in _TRANSIENT:  # noqa: PLR2004
        raise ResultUnusable(f"The video can't be fetched: {host} answered {status}.")
    raise UpstreamIll(f"{host} answered {status} instead of the video.")


def _require_video(head: bytes) -> None:
    """Requires an MP4 (ISO 14496-12: it begins with a `ftyp` box) or a WebM (an EBML header)."""
    if head[4:8] != b"ftyp" and head[:4] != b"\x1a\x45\xdf\xa3":
        raise ResultUnusable("The video's link returned something that is not a video.")


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)


def _new_private_file(path: Path) -> BinaryIO:
    """A new file that only this user can read."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
