"""Redirects discord.py's traffic to other addresses, for a proxy in front of Discord and for tests.

discord.py has no public setting for this. Every REST call, including interaction responses and webhooks, takes its
address from `Route.BASE`, and every gateway connection, first, resumed or sharded, is opened by
`DiscordWebSocket.from_client`. Only these two are replaced, for the whole process. Attachments aren't redirected:
they are fetched from the address that Discord gives for each.
"""

import re
from contextlib import ExitStack
from typing import Any

from discord.client import Client
from discord.gateway import DiscordWebSocket
from discord.http import INTERNAL_API_VERSION, Route
from yarl import URL


def redirect(api_url: str | None = None, gateway_url: str | None = None) -> ExitStack:
    """Redirects every discord.py client of this process, starting with its next request and gateway connection.

    api_url: http(s), with or without the API's version: `http://127.0.0.1:8000/api` or `…/api/v10`. gateway_url:
    ws(s), without a query: `ws://127.0.0.1:8000`. None leaves Discord's own address. Both are well-formed: the
    settings check them. Closing the result, or leaving its `with` block, restores what was there before.
    """
    undo = ExitStack()
    if api_url is not None:
        _replace(undo, Route, "BASE", _rest_base(api_url))
    if gateway_url is not None:
        _replace(undo, DiscordWebSocket, "from_client", _always_at(URL(gateway_url)))
    return undo


_from_client: Any = DiscordWebSocket.__dict__["from_client"].__func__


def _always_at(gateway: URL) -> Any:
    # `gateway` may be the address for resuming that READY named, which would bypass a proxy.
    async def from_client(cls: type[DiscordWebSocket], /, client: Client, **options: Any) -> DiscordWebSocket:
        websocket: DiscordWebSocket = await _from_client(cls, client, **{**options, "gateway": gateway})
        return websocket

    return classmethod(from_client)


def _replace(undo: ExitStack, owner: type, name: str, value: object) -> None:
    undo.callback(setattr, owner, name, owner.__dict__[name])
    setattr(owner, name, value)


def _rest_base(text: str) -> str:
    """The address as `Route` needs it: with the version, without a trailing slash."""
    url = URL(text)
    path = url.path.rstrip("/") or "/api"
    if re.search(r"/v\d+$", path) is None:
        path = f"{path}/v{INTERNAL_API_VERSION}"
    return str(url.with_path(path))
