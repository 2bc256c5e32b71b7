"""The client of the Vtrix gateway. Its requests are those of `GatewaySession`.

Which dialect the gateway speaks is found out from what it answers; see `bot.providers.vtrix.dialects`.
"""

import asyncio
import json
import logging
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Self

from yarl import URL

from bot.domain.errors import (
    OutcomeUnknown,
    UpstreamClosed,
    UpstreamError,
    UpstreamIll,
    UpstreamRefused,
)
from bot.domain.jobs import Frame, Order, ProviderName, StopResult
from bot.domain.models import DECLARED, Model
from bot.providers.base import Task, TaskRef, TaskStatus, Timeouts
from bot.providers.content_refusals import is_content_refusal
from bot.providers.gateway_session import GatewaySession
from bot.providers.http_errors import error_for, refused
from bot.providers.json_responses import ErrorDetails, InvalidResponse
from bot.providers.lost_answers import LostAnswers
from bot.providers.request_times import ObserveRequest, ignore_request
from bot.providers.ssrf_guard import Network
from bot.providers.vtrix.addresses import Addresses, PollAddress
from bot.providers.vtrix.dialects import Dialect
from bot.providers.vtrix.forms import Attempt, FormChoice
from bot.providers.vtrix.requests import BodyForm, create_body
from bot.providers.vtrix.responses import (
    GatewayResponse,
    parse_error,
    parse_http_status,
    parse_response,
    parse_stop,
)

__all__ = ["BodyForm", "Timeouts", "Vtrix", "upstream_names"]

_log = logging.getLogger(__name__)

_IMPOSSIBLE_ID = "zoetrope-check"
_MAX_KNOWN_TASKS = 10_000
_NOT_HERE = frozenset({404, 405, 410})


def upstream_names(models: Iterable[Model] = DECLARED) -> dict[str, str]:
    """What this gateway calls the models that it offers, by their names."""
    offerings = ((model.name, model.offering(ProviderName.VTRIX)) for model in models)
    return {name: offering.upstream_name for name, offering in offerings if offering is not None}


class Vtrix:
    """A `Provider`: `async with Vtrix(…) as provider`. One instance serves the whole process.

    base_url: `http` or `https`; a path is kept. body: AUTO sends a create that was certainly refused for its form
    or its address in the next form, until one was accepted, and then only in that; any other form is the only one.
    models: what the gateway calls each model. max_result_bytes: larger videos are not downloaded.
    observe: is told of each request.
    Raises: ValueError for an unusable URL or key; its text contains neither.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str,
        *,
        body: BodyForm = BodyForm.AUTO,
        models: Mapping[str, str] | None = None,
        timeouts: Timeouts = Timeouts(),
        max_result_bytes: int = 200_000_000,
        network: Network = Network(),
        observe: ObserveRequest = ignore_request,
    ) -> None:
        self._session = GatewaySession(
            base_url,
            api_key,
            timeouts=timeouts,
            max_result_bytes=max_result_bytes,
            network=network,
            parse_error=self._parse_error,
            observe=observe,
        )
        self._addresses = Addresses(self._session.base)
        self._key = api_key.strip()
        self._forms = FormChoice(body, self._addresses)
        self._models = dict(upstream_names() if models is None else models)
        self._poll_address: int | None = None
        self._known_tasks: OrderedDict[str, int | None] = OrderedDict()  # and where each was found
        self._foreign_is_logged = False
        self._lost_answers = LostAnswers(self.check)

    def __repr__(self) -> str:
        return f"Vtrix({str(self._session.base.origin())!r})"

    async def __aenter__(self) -> Self:
        await self._session.open()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._session.close()

    async def submit(self, order: Order, frame: Frame, *, request_id: str) -> Task:
        """As `Provider.submit`."""
        model = self._models.get(order.model)
        if model is None:
            raise UpstreamRefused(f"The gateway offers no model {order.model}.")
        async with self._lost_answers.create():
            attempt, parsed = await self._create(order, frame, model, request_id)
        task = self._task(parsed.ids[0], parsed)
        if task.status is TaskStatus.GONE:
            task = replace(task, status=TaskStatus.IN_PROGRESS, may_be_billed=False)
        if parsed.dialect is not Dialect.QUEUE:
            if self._poll_address is None and parsed.dialect is Dialect.WRAPPED:
                self._poll_address = PollAddress.WRAPPED
            self._remember(task.id, None)
            return task
        if task.status is TaskStatus.COMPLETED and task.video_url is None:
            # The queue gives the result at an address of its own, at the next poll.
            task = replace(task, status=TaskStatus.IN_PROGRESS)
        self._remember(task.id, None)
        self._log_foreign(parsed.urls)
        queue = attempt if attempt.form is BodyForm.QUEUE else self._forms.documented_queue(model)
        urls = self._addresses.queue_urls(queue.url, task.id, parsed.urls, secret=self._key)
        return replace(task, urls=urls, can_be_stopped=task.status is TaskStatus.IN_PROGRESS)

    async def status(self, task: TaskRef) -> Task:
        """As `Provider.status`."""
        self._log_foreign(task.urls)
        url = self._addresses.own(task.urls.get("status_url", ""))
        found: int | None = None
        if url is None:
            found, url, parsed = await self._find(task.id)
        else:
            parsed = await self._poll(url, is_queue=True)
        if (found is None or found >= PollAddress.QUEUE) and _lacks_result(parsed):
            parsed = await self._result(self._addresses.result(url, *_response_urls(task, parsed)), parsed)
        others = [task_id for task_id in parsed.ids if task_id != task.id]
        if others and len(others) == len(parsed.ids):
            # Some gateways know a task under a second id. But another task's response is another member's video.
            if not self._known_tasks.keys().isdisjoint(others):
                raise UpstreamIll(f"Polled task {task.id}, but the gateway answered about another: {others[0]}.")
            _log.warning("polled task %s, but the gateway answered about %s", task.id, others[0])
        self._remember(task.id, found)
        return self._task(task.id, parsed)

    async def stop(self, task: TaskRef) -> StopResult:
        """As `Provider.stop`. Only the queue can stop tasks; nothing says that this saves their cost."""
        url = self._addresses.own(task.urls.get("cancel_url", ""))
        if url is None:
            return StopResult.UNKNOWN

        def read(body: bytes) -> StopResult:
            self._raise_error(parse_response(body, secret=self._key, is_queue=True), UpstreamIll)
            return StopResult.ASKED

        try:
            return await self._session.request("PUT", url, read=read, recognise=parse_stop, ambiguous=UpstreamIll)
        except UpstreamRefused:
            return StopResult.UNKNOWN

    async def download(self, url: str, to: Path) -> int:
        """As `Provider.download`."""
        return await self._session.download(url, to)

    async def check(self) -> None:
        """As `Provider.check`: polls a task that can't exist; only a good key is told so."""
        number = self._first_poll_address()
        url = self._addresses.poll(_IMPOSSIBLE_ID, number, self._queue_models())
        try:
            await self._poll(url, is_queue=number >= PollAddress.QUEUE)
        except UpstreamRefused:
            return

    async def _create(
        self, order: Order, frame: Frame, model: str, request_id: str
    ) -> tuple[Attempt, GatewayResponse]:
        """A created task, and how it was created."""
        attempts = self._forms.attempts(model)
        for attempt in attempts:
            data = await asyncio.to_thread(create_body, order, frame, attempt.form, model=model)
            try:
                parsed = await self._post(attempt, data, request_id)
            except (UpstreamRefused, UpstreamClosed) as exc:
                attempts.refused(attempt, exc)
            else:
                attempts.accepted(attempt)
                return attempt, parsed
        raise attempts.first_refusal()

    async def _post(self, attempt: Attempt, data: bytes, request_id: str) -> GatewayResponse:
        """One create. Its response names the task."""

        def read(body: bytes) -> GatewayResponse:
            return parse_response(body, secret=self._key, is_queue=attempt.form is BodyForm.QUEUE)

        def recognise(status: int, body: bytes) -> GatewayResponse | None:
            if status < 300:  # noqa: PLR2004  a status reads best as its number
                return None
            # A task that is there is paid for, whatever the HTTP status says.
            with suppress(InvalidResponse):
                if (found := read(body)).is_live_task:
                    return found
            self._raise_named(status, body, OutcomeUnknown)
            return None

        parsed = await self._session.request(
            "POST",
            attempt.url,
            read=read,
            recognise=recognise,
            ambiguous=OutcomeUnknown,
            data=data,
            headers={"X-Request-Id": request_id},
        )
        if parsed.id is not None:
            return parsed
        self._raise_error(parsed, OutcomeUnknown)
        said = self._session.excerpt(json.dumps(parsed.raw(), ensure_ascii=False).encode())
        raise OutcomeUnknown(f"The gateway's response to a create has neither a task nor an error: {said}.")

    async def _find(self, task_id: str) -> tuple[int, URL, GatewayResponse]:
        """Asks for a task whose URLs aren't known: where it was found before, else at one address after the other.

        Once it was found, only that address can say that it isn't known any more.
        """
        queue_models = self._queue_models()

        async def ask(number: int) -> tuple[int, URL, GatewayResponse]:
            url = self._addresses.poll(task_id, number, queue_models)
            return number, url, await self._poll(url, is_queue=number >= PollAddress.QUEUE)

        known = self._known_tasks.get(task_id)
        if known is not None:
            return await ask(known)
        likely = self._first_poll_address()
        refusals: list[UpstreamRefused] = []
        for number in sorted(range(self._addresses.count_polls(queue_models)), key=lambda one: one != likely):
            try:
                found = await ask(number)
            except UpstreamRefused as exc:
                refusals.append(exc)
                if exc.status not in _NOT_HERE:
                    break
            else:
                self._poll_address = number
                return found
        raise refusals[0]

    async def _poll(self, url: URL, *, is_queue: bool) -> GatewayResponse:
        """One poll. Its response describes a task."""

        def recognise(status: int, body: bytes) -> None:
            self._raise_named(status, body, UpstreamIll)

        parsed = await self._session.request(
            "GET",
            url,
            read=lambda body: parse_response(body, secret=self._key, is_queue=is_queue),
            recognise=recognise,
            ambiguous=UpstreamIll,
        )
        if parsed.status is None:
            self._raise_error(parsed, UpstreamIll)
            if parsed.id is None:
                raise UpstreamIll("The gateway's response to a poll describes no task.")
        return parsed

    async def _result(self, url: URL | None, completed: GatewayResponse) -> GatewayResponse:
        """What became of a completed task of the queue, which has its result at an address of its own."""
        if url is None:
            return completed

        def recognise(status: int, body: bytes) -> GatewayResponse | None:
            if status == 202:  # noqa: PLR2004  a status reads best as its number
                return replace(completed, status=TaskStatus.IN_PROGRESS)
            self._raise_named(status, body, UpstreamIll)
            return None

        try:
            parsed = await self._session.request(
                "GET",
                url,
                read=lambda body: parse_response(body, secret=self._key, is_queue=True, before=completed.said),
                recognise=recognise,
                ambiguous=UpstreamIll,
            )
            if parsed.http_status is not None and parsed.video_url is None:
                self._raise_error(parsed, UpstreamIll)
        except UpstreamRefused as exc:
            if exc.status in _NOT_HERE:
                raise UpstreamIll(f"The task is completed, but its result is not there: {exc}") from None
            return replace(completed, status=TaskStatus.FAILED, error=ErrorDetails(exc.code, exc.said))
        return parsed if parsed.status is not None else replace(parsed, status=TaskStatus.COMPLETED)

    def _raise_error(self, parsed: GatewayResponse, ambiguous: type[UpstreamError]) -> None:
        """Raises what a response with an error instead of a task means, if it is one."""
        error = parsed.error or ErrorDetails()
        if parsed.http_status is not None:
            text = f"The gateway answered {parsed.http_status}: {error.message or 'no reason given'}"
            raise error_for(parsed.http_status, error, text, ambiguous=ambiguous, retry_after_s=None)
        if parsed.error is not None:
            raise refused(error, status=200)

    def _raise_named(self, status: int, body: bytes, ambiguous: type[UpstreamError]) -> None:
        """Raises what a malformed request really is, if its body says so: the key, the balance or the rate."""
        named = parse_http_status(body) if status == 400 else None  # noqa: PLR2004
        if named in {401, 402, 403, 429}:
            error = parse_error(body, secret=self._key)
            text = f"The gateway answered {status}: {error.message or 'no reason given'}"
            raise error_for(named, error, text, ambiguous=ambiguous, retry_after_s=None)

    def _first_poll_address(self) -> int:
        """The number of the address that is asked first, see `Addresses.poll`."""
        if self._poll_address is not None:
            return self._poll_address
        return PollAddress.QUEUE if self._queue_models() else PollAddress.BARE

    def _queue_models(self) -> Sequence[str]:
        """The models of which the queue may have tasks."""
        return tuple(self._models.values()) if self._forms.has_queue else ()

    def _remember(self, task_id: str, found: int | None) -> None:
        self._known_tasks[task_id] = found
        self._known_tasks.move_to_end(task_id)
        if len(self._known_tasks) > _MAX_KNOWN_TASKS:
            self._known_tasks.popitem(last=False)

    def _parse_error(self, body: bytes) -> ErrorDetails:
        return parse_error(body, secret=self._key)

    def _task(self, task_id: str, parsed: GatewayResponse) -> Task:
        status = parsed.status or TaskStatus.IN_PROGRESS
        self._session.log_unknown_status(parsed.unknown_status)
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
            may_be_billed=parsed.may_be_billed,
            is_unclear=parsed.unknown_status is not None,
            raw=parsed.raw,
        )

    def _log_foreign(self, urls: Mapping[str, str]) -> None:
        if not self._foreign_is_logged and any(map(self._addresses.is_foreign, urls.values())):
            self._foreign_is_logged = True
            _log.warning(
                "the gateway names another host for its tasks; they are polled at VTRIX_BASE_URL, since the API "
                "key is sent nowhere else"
            )


def _lacks_result(parsed: GatewayResponse) -> bool:
    return parsed.status is TaskStatus.COMPLETED and parsed.video_url is None


def _response_urls(task: TaskRef, parsed: GatewayResponse) -> tuple[str | None, ...]:
    return task.urls.get("response_url"), parsed.urls.get("response_url")
