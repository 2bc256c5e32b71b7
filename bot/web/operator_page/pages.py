"""The routes of the operator's page: who may see what, and what is read for it.

Everything is GET or HEAD, but for signing in and out. A response loads nothing from elsewhere, runs no script and
can't be framed. At most two pages are read at a time, so that the page can't keep the bot from its database.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs, quote

from aiohttp import hdrs, web

from bot.domain.cost_history import providers_of, total_usd
from bot.domain.errors import StoreError
from bot.domain.jobs import ACTIVE, JobState
from bot.domain.ledger import total
from bot.operations.process_name import process_name
from bot.services.operator.cost_history import CostHistoryService
from bot.services.operator.page import OperatorPageService
from bot.web.operator_page.access import SESSION, Access
from bot.web.operator_page.rendering import REFRESH_S, render, static

log = logging.getLogger(__name__)

COOKIE = "zoetrope_operator"

_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_AT_A_TIME = 2
_TIMEOUT_S = 15.0
_CHART_KEPT_S = 30.0
_NO_USD = Decimal(0)

Names = Callable[[], Awaitable[Mapping[int, str]]]
"""The names of the servers that the bot is in, by id."""

Handler = Callable[[web.Request], Awaitable[web.Response]]


@dataclass(frozen=True, slots=True)
class _Chart:
    """A chart that was drawn, and when by the event loop's clock."""

    png: bytes
    drawn_at: float


class OperatorPage:
    """Answers requests."""

    def __init__(
        self,
        service: OperatorPageService,
        costs: CostHistoryService,
        access: Access,
        names: Names,
    ) -> None:
        self._service = service
        self._costs = costs
        self._access = access
        self._names = names
        self._reading = asyncio.Semaphore(_AT_A_TIME)
        self._chart: _Chart | None = None

    def routes(self) -> list[web.RouteDef]:
        """All routes. The last takes any path, so these follow all others."""
        return [
            web.get("/", self._private(self._overview)),
            web.get("/jobs", self._private(self._jobs)),
            web.get("/jobs/{id}", self._private(self._job)),
            web.get("/costs", self._private(self._show_costs)),
            web.get("/costs.png", self._private(self._costs_chart)),
            web.get("/failures", self._private(self._failures)),
            web.get("/login", self._public(self._ask_token)),
            web.post("/login", self._public(self._sign_in)),
            web.post("/logout", self._public(self._sign_out)),
            web.get("/style.css", self._public(self._style)),
            web.get("/icon.svg", self._public(self._icon)),
            web.get("/{path:.*}", self._private(self._unknown)),
        ]

    def _public(self, handler: Handler) -> Handler:
        """For whoever reaches the server."""

        async def answer(request: web.Request) -> web.Response:
            if _is_another_sites_form(request):
                response = _page(request, "message.html", 403, problem="foreign")
            else:
                response = await handler(request)
            response.headers.update(_HEADERS)
            return response

        return answer

    def _private(self, handler: Handler) -> Handler:
        """For whoever is signed in; others are asked for the token. Whatever fails becomes a page that says so."""

        async def answer(request: web.Request) -> web.Response:
            refusal = self._refusal(request)
            if refusal is not None:
                return refusal
            try:
                async with asyncio.timeout(_TIMEOUT_S), self._reading:
                    return await handler(request)
            except (StoreError, TimeoutError) as error:
                log.warning("the operator's page could not be read: %s", str(error) or "it took too long")
                return _page(request, "message.html", 503, problem="database")
            except Exception:
                log.exception("the operator's page failed")
                return _page(request, "message.html", 500, problem="bug")

        return self._public(answer)

    def _refusal(self, request: web.Request) -> web.Response | None:
        """The answer to whoever isn't signed in; None for whoever is."""
        if self._access.is_session(request.cookies.get(COOKIE, "")):
            return None
        scheme, _, token = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
        if scheme.lower() != "bearer":
            return self._token_form(request, 401, comes_from=_path_of(request))
        wait = self._access.retry_in()
        if wait is not None:
            return self._throttled(request, wait)
        return None if self._access.is_token(token.strip()) else self._token_form(request, 401, is_wrong=True)

    def _token_form(
        self, request: web.Request, status: int, *, comes_from: str = "/", is_wrong: bool = False
    ) -> web.Response:
        response = _page(request, "login.html", status, comes_from=comes_from, is_wrong=is_wrong, wait=None)
        if status == 401:  # noqa: PLR2004 - what HTTP asks of this status
            response.headers[hdrs.WWW_AUTHENTICATE] = 'Bearer realm="zoetrope"'
        return response

    def _throttled(self, request: web.Request, wait: timedelta) -> web.Response:
        response = _page(request, "login.html", 429, comes_from="/", is_wrong=False, wait=wait)
        response.headers[hdrs.RETRY_AFTER] = str(int(wait.total_seconds()) + 1)
        return response

    async def _ask_token(self, request: web.Request) -> web.Response:
        return self._token_form(request, 200)

    async def _sign_in(self, request: web.Request) -> web.Response:
        """Takes the token from the form and opens a session."""
        body = await request.read()  # one that is longer than the server allows is answered with 413
        form = parse_qs(body.decode("utf-8", "surrogateescape"))
        comes_from = _own_path(form.get("comes_from", ["/"])[0])
        wait = self._access.retry_in()
        if wait is not None:
            return self._throttled(request, wait)
        if not self._access.is_token(form.get("token", [""])[0].strip()):
            log.warning("a wrong token for the operator's page came from %s", request.remote)
            return self._token_form(request, 401, comes_from=comes_from, is_wrong=True)
        response = _redirect(comes_from)
        encrypted = request.secure or request.headers.get("X-Forwarded-Proto") == "https"
        response.set_cookie(
            COOKIE,
            self._access.new_session(),
            max_age=int(SESSION.total_seconds()),
            httponly=True,
            samesite="Strict",
            secure=encrypted,
        )
        return response

    async def _sign_out(self, _: web.Request) -> web.Response:
        response = _redirect("/login")
        response.del_cookie(COOKIE, httponly=True, samesite="Strict")
        return response

    async def _style(self, _: web.Request) -> web.Response:
        return web.Response(body=static("style.css"), content_type="text/css", charset="utf-8")

    async def _icon(self, _: web.Request) -> web.Response:
        return web.Response(body=static("icon.svg"), content_type="image/svg+xml")

    async def _overview(self, request: web.Request) -> web.Response:
        return await self._present(request, "overview.html", view=await self._service.overview())

    async def _jobs(self, request: web.Request) -> web.Response:
        if job_id := request.query.get("id", "").strip():
            return _redirect(f"/jobs/{quote(job_id, safe='')}")
        late_only = request.query.get("late") == "1"
        asked = request.query.get("state", JobState.RUNNING)
        state = JobState.RUNNING if late_only or asked not in ACTIVE else JobState(asked)
        page = await self._service.in_progress(state, _number(request), late_only=late_only)
        states = [one for one in JobState if one in ACTIVE]
        return await self._present(
            request,
            "jobs.html",
            page=page,
            state=state,
            states=states,
            late_only=late_only,
            path=_list_path(request),
        )

    async def _job(self, request: web.Request) -> web.Response:
        record = await self._service.job(request.match_info["id"])
        if record is None:
            return await self._signed_in_page(request, "message.html", 404, problem="job")
        line = self._service.line(record.job)
        usd = total(record.entries).usd
        return await self._signed_in_page(request, "job.html", record=record, job=record.job, line=line, total=usd)

    async def _show_costs(self, request: web.Request) -> web.Response:
        history = await self._costs.history()
        days = history.days
        sums = {
            name: sum((day.by_provider.get(name, _NO_USD) for day in days), _NO_USD) for name in providers_of(days)
        }
        return await self._signed_in_page(
            request,
            "costs.html",
            history=history,
            held=await self._service.held(),
            providers=list(sums),
            sums=sums,
            total=total_usd(days),
        )

    async def _costs_chart(self, _: web.Request) -> web.Response:
        """The chart of `/costs`; drawing takes a moment, so one is kept for half a minute."""
        now = asyncio.get_running_loop().time()
        if self._chart is None or now - self._chart.drawn_at > _CHART_KEPT_S:
            png = await self._costs.chart(await self._costs.history())
            if png is None:
                return web.Response(status=503, text="")
            self._chart = _Chart(png, now)
        return web.Response(body=self._chart.png, content_type="image/png")

    async def _failures(self, request: web.Request) -> web.Response:
        page = await self._service.failures(_number(request))
        return await self._signed_in_page(request, "failures.html", page=page, path=_list_path(request))

    async def _unknown(self, request: web.Request) -> web.Response:
        return await self._signed_in_page(request, "message.html", 404, problem="page")

    async def _present(self, request: web.Request, template: str, **values: Any) -> web.Response:
        """A page that shows the present, and loads itself again unless it is told not to."""
        refreshes = request.query.get("refresh") != "off"
        query = {key: value for key, value in request.query.items() if key != "refresh"}
        other = request.rel_url.with_query(query | ({"refresh": "off"} if refreshes else {}))
        every = REFRESH_S if refreshes else None
        return await self._signed_in_page(request, template, refresh_s=every, other_refresh=str(other), **values)

    async def _signed_in_page(
        self, request: web.Request, template: str, status: int = 200, **values: Any
    ) -> web.Response:
        return _page(request, template, status, names=await self._names(), is_signed_in=True, **values)


def _page(request: web.Request, template: str, status: int = 200, **values: Any) -> web.Response:
    shown: dict[str, Any] = {
        "is_signed_in": False,
        "refresh_s": None,
        "other_refresh": "",
        "process": process_name(),
        "here": request.path,
    }
    body = render(template, **shown | values)
    return web.Response(text=body, status=status, content_type="text/html", charset="utf-8")


def _is_another_sites_form(request: web.Request) -> bool:
    if request.method != hdrs.METH_POST or request.headers.get("Sec-Fetch-Site") == "same-origin":
        return False  # browsers let no site set that header; behind a proxy, Host isn't the name in Origin
    origin = request.headers.get(hdrs.ORIGIN)
    return origin is not None and origin.partition("://")[2] != request.headers.get(hdrs.HOST, "")


def _redirect(path: str) -> web.Response:
    return web.Response(status=303, headers={hdrs.LOCATION: path})


def _number(request: web.Request) -> int:
    """Which page of a list is asked for."""
    asked = request.query.get("page", "1")
    return int(asked) if asked.isascii() and asked.isdigit() and len(asked) < 6 else 1  # noqa: PLR2004 - more pages than there are


def _list_path(request: web.Request) -> str:
    """The address of a list, to which a page's number is added."""
    query = {key: value for key, value in request.query.items() if key in {"state", "late", "refresh"}}
    return str(request.rel_url.with_query(query)) + ("&" if query else "?")


def _path_of(request: web.Request) -> str:
    return request.path_qs if request.method in {hdrs.METH_GET, hdrs.METH_HEAD} else "/"


def _own_path(asked: str) -> str:
    """A path of this server; `/` for what may lead elsewhere."""
    is_own = (
        asked.isascii() and asked.isprintable() and asked.startswith("/") and not asked.startswith(("//", "/\\"))
    )
    return asked if is_own else "/"
