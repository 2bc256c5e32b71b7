"""Reports to an observer how long Discord's REST API takes, through the trace hooks of discord.py's HTTP session.

A route is told by its words alone: whatever else a path holds is an id, a token or an emoji, and must not become a
label, of which there would be as many as there are channels.
"""

import time
from types import SimpleNamespace

import aiohttp
from discord.http import Route

from bot.operations.observer import Observer

WORDS = frozenset(
    {
        "applications", "callback", "channels", "commands", "gateway", "guilds", "interactions", "members",
        "messages", "oauth2", "permissions", "users", "webhooks", "@me", "@original",
    }
)  # fmt: skip
"""The words of the routes that the bot uses; `bot` in `/gateway/bot` would match an emoji or a name."""

NO_ANSWER = "none"
"""The status of a request that was not answered."""

_SCOPES = frozenset({"user", "global", "shared"})
_BANNED = "ip"
_TOO_MANY = 429


class RequestTimes:
    """Reports each request to Discord's REST API."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer

    def add_to(self, config: aiohttp.TraceConfig) -> aiohttp.TraceConfig:
        """Adds its hooks to those of a discord.py client's `http_trace`."""
        config.on_request_start.append(self._before)
        config.on_request_end.append(self._after)
        config.on_request_exception.append(self._failed)
        return config

    async def _before(
        self, session: aiohttp.ClientSession, context: SimpleNamespace, request: aiohttp.TraceRequestStartParams
    ) -> None:
        del session, request
        context.began_s = time.perf_counter()

    async def _after(
        self, session: aiohttp.ClientSession, context: SimpleNamespace, request: aiohttp.TraceRequestEndParams
    ) -> None:
        del session
        status = request.response.status
        if not self._report(context, request.method, str(request.url), f"{status // 100}xx"):
            return
        if status == _TOO_MANY:
            # Without `Via` it comes from Cloudflare, which bans addresses.
            headers = request.response.headers
            scope = headers.get("X-RateLimit-Scope", "") if "Via" in headers else _BANNED
            self._observer.discord_rate_limited(scope if scope in _SCOPES else _BANNED)

    async def _failed(
        self,
        session: aiohttp.ClientSession,
        context: SimpleNamespace,
        request: aiohttp.TraceRequestExceptionParams,
    ) -> None:
        del session
        self._report(context, request.method, str(request.url), NO_ANSWER)

    def _report(self, context: SimpleNamespace, method: str, url: str, status: str) -> bool:
        """Whether it was a request to the REST API, and reported."""
        began_s: float | None = getattr(context, "began_s", None)
        if began_s is None or not url.startswith(Route.BASE):
            return False
        route = route_of(url.removeprefix(Route.BASE))
        self._observer.discord_request(method, route, status, time.perf_counter() - began_s)
        return True


def route_of(path: str) -> str:
    """The words of a route: `/channels/messages` for `/channels/1/messages/2`; `/other` if it has none."""
    words = [part for part in path.partition("?")[0].split("/") if part in WORDS]
    return "/" + ("/".join(words) or "other")
