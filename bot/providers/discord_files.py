"""Reads files from Discord's own file servers by their links.

Members give such links, and messages that others wrote hold them. So only Discord's hosts are asked, over https,
no redirect is followed, no cookie is kept, and the size is capped whatever the headers say.
"""

import asyncio
import re
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Self

import aiohttp
from yarl import URL

from bot.domain.errors import FileGone, FileTooLarge, FileUnreachable
from bot.providers.http_client import environment_proxy, parse_link
from bot.providers.ssrf_guard import Network

_HOST = re.compile(r"cdn\.discordapp\.com|media\.discordapp\.net|images-ext-[0-9]{1,2}\.discordapp\.net")
_UPLOADED = re.compile(r"/(?:ephemeral-)?attachments/")
_SIGNATURE = frozenset({"ex", "is", "hm"})
_GONE = frozenset({401, 403, 404, 410, 415})
"""Also of a link whose signature has expired: Discord answers 404."""

_TIMEOUT_S = 60.0
_CONNECT_S = 15.0
_STALL_S = 30.0
_PAUSES_S = (0.5, 1.5, 4.0)
"""Before each further attempt."""


def parse_file_link(text: str) -> URL | None:
    """The link to a file on Discord's servers that was typed; None if it is anything else."""
    url = parse_link(text.strip().removeprefix("<").removesuffix(">"))
    if url is None or url.scheme != "https" or _HOST.fullmatch(url.raw_host or "") is None:
        return None
    if url.raw_user is not None or url.raw_password is not None or url.explicit_port is not None:
        return None
    if url.path in {"", "/"}:
        return None
    if _UPLOADED.match(url.raw_path):
        # The rest asks for a smaller or converted copy; the signature doesn't cover it.
        kept = [part for part in url.raw_query_string.split("&") if part.partition("=")[0] in _SIGNATURE]
        return URL.build(
            scheme="https", host=url.host or "", path=url.raw_path, query_string="&".join(kept), encoded=True
        )
    return url


def is_uploaded(url: URL) -> bool:
    """Whether the link is to a file that somebody uploaded: only such links expire."""
    return _UPLOADED.match(url.raw_path) is not None


class DiscordFiles:
    """Reads files: `async with DiscordFiles() as files`. max_bytes: the largest that is read."""

    def __init__(
        self, max_bytes: int, *, network: Network = Network(), pauses_s: Sequence[float] = _PAUSES_S
    ) -> None:
        self._max_bytes = max_bytes
        self._network = network
        self._pauses_s = pauses_s
        self._stack = AsyncExitStack()
        self._session: aiohttp.ClientSession

    async def __aenter__(self) -> Self:
        # A link comes once in a while, so no connection is worth keeping.
        network = self._network
        connector = aiohttp.TCPConnector(resolver=network.resolver, ssl=network.ssl, force_close=True)
        session = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())
        self._session = await self._stack.enter_async_context(session)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._stack.aclose()

    async def read(self, url: URL) -> bytes:
        """The file. url: as `parse_file_link` returns it. Asks again a few times, within a minute in total.

        Raises: FileGone, FileTooLarge, FileUnreachable.
        """
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                for pause_s in self._pauses_s:
                    try:
                        return await self._read(url)
                    except FileUnreachable:
                        await asyncio.sleep(pause_s)
                return await self._read(url)
        except TimeoutError as error:
            raise FileUnreachable(f"{url.host} took too long") from error

    async def _read(self, url: URL) -> bytes:
        proxy, proxy_headers = environment_proxy(url)
        try:
            async with self._session.get(
                url,
                allow_redirects=False,
                headers={"Accept-Encoding": "identity"},
                proxy=proxy,
                proxy_headers=proxy_headers,
                timeout=aiohttp.ClientTimeout(total=None, connect=_CONNECT_S, sock_read=_STALL_S),
            ) as response:
                if response.status in _GONE:
                    raise FileGone(f"{url.host} answered {response.status}")
                if response.status != 200:  # noqa: PLR2004 - a status reads best as its number
                    raise FileUnreachable(f"{url.host} answered {response.status}")
                return await self._body(response)
        except (aiohttp.ClientError, OSError) as error:
            raise FileUnreachable(f"{url.host}: {type(error).__name__}") from error

    async def _body(self, response: aiohttp.ClientResponse) -> bytes:
        """Raises: FileTooLarge as soon as that is known."""
        data = bytearray()
        if (response.content_length or 0) > self._max_bytes:
            raise FileTooLarge(response.content_length or 0)
        async for chunk, _ in response.content.iter_chunks():
            data += chunk
            if len(data) > self._max_bytes:
                raise FileTooLarge(None)
        return bytes(data)
