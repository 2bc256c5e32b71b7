"""Sends discord.py's traffic to other addresses than Discord's own.

This is for a REST or gateway proxy in front of Discord, and for tests against a local server. discord.py has no
public setting for it. Every REST call, including interaction responses and webhooks, takes its address from
`Route.BASE`; every gateway connection, first, resumed or sharded, is opened by `DiscordWebSocket.from_client`.
Only these two are replaced, for the whole process. Pictures and attachments are not redirected: they are fetched
from the address in their own object.
"""

import re
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from discord.client import Client
from discord.gateway import DiscordWebSocket
from discord.http import INTERNAL_API_VERSION, Route
from yarl import URL


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where Discord is reached; None leaves Discord's own address.

    api_url: http(s), with or without the API's version: `http://127.0.0.1:8000/api` or `…/api/v10`.
    gateway_url: ws(s), without a query: `ws://127.0.0.1:8000`.

    Both are well-formed: the settings check them.
    """

    api_url: str | None = None
    gateway_url: str | None = None


def redirect(endpoints: Endpoints) -> ExitStack:
    """Redirects every discord.py client of this process, from its next request and gateway connection on.

    Takes effect at once; closing the result (or leaving its `with` block) puts back what was there before.
    """
    undo = ExitStack()
    if endpoints.api_url is not None:
        _replace(undo, Route, "BASE", _rest_base(endpoints.api_url))
    if endpoints.gateway_url is not None:
        _replace(undo, DiscordWebSocket, "from_client", _always_at(URL(endpoints.gateway_url)))
    return undo


_from_client: Any = DiscordWebSocket.__dict__["from_client"].__func__


def _always_at(gateway: URL) -> Any:
    # READY names the address for resuming, and discord.py brings it here as `gateway`: it would lead past a proxy.
    async def from_client(cls: type[DiscordWebSocket], /, client: Client, **options: Any) -> DiscordWebSocket:
        websocket: DiscordWebSocket = await _from_client(cls, client, **{**options, "gateway": gateway})
        return websocket

    return classmethod(from_client)


def _replace(undo: ExitStack, owner: type, name: str, value: object) -> None:
    undo.callback(setattr, owner, name, owner.__dict__[name])
    setattr(owner, name, value)


def _rest_base(text: str) -> str:
    """The address as `Route` wants it: with the version, without a trailing slash."""
    url = URL(text)
    path = url.path.rstrip("/") or "/api"
    if re.search(r"/v\d+$", path) is None:
        path = f"{path}/v{INTERNAL_API_VERSION}"
    return str(url.with_path(path))
