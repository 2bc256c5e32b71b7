"""The URLs of a task of the queue: the key never leaves the gateway's origin, whatever a gateway names."""

import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from bot.domain.errors import (
    UpstreamBusy,
    UpstreamClosed,
    UpstreamIll,
    UpstreamRefused,
    UpstreamUnreached,
)
from bot.domain.jobs import Frame, Order, StopResult
from bot.providers.base import TaskRef, TaskStatus
from bot.providers.vtrix.addresses import Addresses
from bot.providers.vtrix.client import BodyForm, Vtrix
from tests.providers.conftest import JOB_ID, KEY
from tests.providers.servers import ScriptedServer, raw_server, scripted_server

PLACE = "/model/v1/queue/wan22_i2v_flash/requests/t-1"
VIDEO = {"type": "video", "url": "https://cdn.example/x.mp4", "duration": 5}


@pytest.fixture
async def elsewhere() -> AsyncIterator[ScriptedServer]:
    """Another origin, which nobody should ask."""
    async with scripted_server() as running:
        running.answers({"id": "t-1", "status": "completed"})
        yield running


@pytest.fixture
async def queue(server: ScriptedServer) -> AsyncIterator[Vtrix]:
    async with Vtrix(server.url, KEY, body=BodyForm.QUEUE) as client:
        yield client


def task(server: ScriptedServer, **urls: str) -> TaskRef:
    given = {f"{end}_url": f"{server.url}{PLACE}/{end}" for end in ("status", "response", "cancel")}
    return TaskRef("t-1", given | urls)


def replies(server: ScriptedServer, **answers: tuple[int, Any]) -> None:
    """Answers by the last segment of the path; bytes are sent as they are."""

    async def reply(request: web.Request) -> web.StreamResponse:
        status, body = answers[request.path.rsplit("/", 1)[-1]]
        if isinstance(body, bytes):
            return web.Response(status=status, body=body)
        return web.json_response(body, status=status)

    server.reply = reply


async def test_urls_of_another_host_are_asked_at_the_base_url_and_logged_once(
    server: ScriptedServer,
    elsewhere: ScriptedServer,
    queue: Vtrix,
    order: Order,
    frame: Frame,
    caplog: pytest.LogCaptureFixture,
) -> None:
    named = {f"{end}_url": f"{elsewhere.url}/x/{end}?a=%2F~" for end in ("status", "response", "cancel")}
    server.answers({"request_id": "t-1", **named})
    created = await queue.submit(order, frame, request_id=JOB_ID)
    server.seen.clear()
    replies(server, status=(200, {"status": "COMPLETED"}), response=(200, {"outputs": [VIDEO]}), cancel=(202, {}))
    for urls in (created.urls, named):
        await queue.status(TaskRef("t-1", urls))
        await queue.stop(TaskRef("t-1", urls))
    asked = ["/x/status?a=%2F~", "/x/response?a=%2F~", "/x/cancel?a=%2F~"]
    assert [request.path for request in server.seen] == asked * 2
    assert elsewhere.seen == []
    assert len([record for record in caplog.records if "another host" in record.getMessage()]) == 1


@pytest.mark.parametrize("name", ["status_url", "response_url", "cancel_url"])
async def test_a_redirect_is_never_followed(
    server: ScriptedServer, elsewhere: ScriptedServer, queue: Vtrix, name: str
) -> None:
    end = name.removesuffix("_url")

    async def reply(request: web.Request) -> web.StreamResponse:
        if request.path.endswith(end):
            return web.Response(status=307, headers={"Location": elsewhere.url})
        return web.json_response({"status": "COMPLETED", "request_id": "t-1"})

    server.reply = reply
    with pytest.raises(UpstreamIll, match="redirects"):
        await (queue.stop(task(server)) if end == "cancel" else queue.status(task(server)))
    assert elsewhere.seen == []


@pytest.mark.parametrize(
    "named",
    [
        None,
        "",
        7,
        ["https://h/x"],
        "ftp://h/x",
        "javascript:alert(1)",
        "https://",
        "http://[::1",
        "https://h",
        "/",
        "x" * 10_000,
        "/\ud800",
        f"/x?key={KEY}",
    ],
)
async def test_unusable_urls_are_replaced_by_the_documented_ones(
    server: ScriptedServer, queue: Vtrix, order: Order, frame: Frame, named: object
) -> None:
    server.answers({"request_id": "t/1", "queue_position": 0, "status_url": named, "cancel_url": named})
    created = await queue.submit(order, frame, request_id=JOB_ID)
    place = f"{server.url}/model/v1/queue/wan22_i2v_flash/requests/t%2F1"
    assert created.urls == {f"{end}_url": f"{place}/{end}" for end in ("status", "response", "cancel")}


@pytest.mark.parametrize(
    ("named", "asked"),
    [
        ("/queue/1/status", "/queue/1/status"),
        ("//evil.example/queue/1/status", "/queue/1/status"),
        ("https://me:pass@evil.example/q?a=%2F#part", "/q?a=%2F"),
        ("https://evil.example:1/a//b/../c~%7e", "/a//b/../c~%7e"),
        ("HTTPS://EVIL.example/Ü x", "/%C3%9C%20x"),
    ],
)
async def test_a_url_is_asked_byte_for_byte(server: ScriptedServer, queue: Vtrix, named: str, asked: str) -> None:
    server.answers({"status": "IN_QUEUE", "request_id": "t-1"})
    await queue.status(task(server, status_url=named))
    assert [request.path for request in server.seen] == [asked]


async def test_a_task_whose_stored_urls_are_unusable_is_looked_for_at_the_usual_address(
    server: ScriptedServer, vtrix: Vtrix
) -> None:
    server.answers({"id": "t-1", "status": "in_progress"})
    await vtrix.status(TaskRef("t-1", {"status_url": "gopher://x/y"}))
    assert [request.path for request in server.seen] == ["/model/v1/generation/task/t-1"]


@given(st.text() | st.from_regex(r"[a-zA-Z]{0,6}:?/{0,3}[^\s]{0,30}"))
def test_any_text_gives_a_url_of_the_gateway_or_none(text: str) -> None:
    base = URL("http://gateway.example:8080/prefix")
    addresses = Addresses(base)
    url = addresses.own(text)
    assert url is None or (url.origin() == base.origin() and url.raw_user is None and str(url).isascii())
    addresses.is_foreign(text)
    urls = addresses.queue_urls(base / "q", "t", {"status_url": text}, secret=KEY)
    assert all(URL(one).origin() == base.origin() for one in urls.values())


async def test_a_completed_task_has_the_video_of_its_result(server: ScriptedServer, queue: Vtrix) -> None:
    replies(
        server,
        status=(200, {"status": "COMPLETED", "request_id": "t-1", "metrics": {"inference_time": 12.3}}),
        response=(200, {"request_id": "t-1", "outputs": [VIDEO], "usage": {"cost": "0.1"}}),
    )
    done = await queue.status(task(server))
    assert (done.status, done.video_url, str(done.cost_usd)) == (TaskStatus.COMPLETED, VIDEO["url"], "0.1")
    assert (done.raw()["metrics"], done.raw()["outputs"]) == ({"inference_time": 12.3}, [VIDEO])


@pytest.mark.parametrize("told", [{}, {"response_url": "https://other.example/elsewhere/response"}])
async def test_the_result_is_found_without_a_stored_url(
    server: ScriptedServer, queue: Vtrix, told: dict[str, str]
) -> None:
    replies(server, status=(200, {"status": "COMPLETED", **told}), response=(200, {"outputs": [VIDEO]}))
    done = await queue.status(TaskRef("t-1", {"status_url": f"{PLACE}/status"}))
    assert done.video_url == VIDEO["url"]
    assert server.seen[-1].path == ("/elsewhere/response" if told else f"{PLACE}/response")


@pytest.mark.parametrize(
    ("answer", "status", "message"),
    [
        ((202, {"detail": "in progress"}), TaskStatus.IN_PROGRESS, None),
        ((202, b""), TaskStatus.IN_PROGRESS, None),
        ((200, {"status": "IN_PROGRESS"}), TaskStatus.IN_PROGRESS, None),
        ((200, {"outputs": []}), TaskStatus.COMPLETED, None),
        ((200, {"error": "broken", "error_type": "INFERENCE_FAILURE"}), TaskStatus.FAILED, "broken"),
        (
            (422, {"detail": [{"loc": ["body", "seed"], "msg": "no number"}]}),
            TaskStatus.FAILED,
            "body.seed: no number",
        ),
        ((200, {"data": {"outputs": [VIDEO]}, "status": {"code": 200}}), TaskStatus.COMPLETED, None),
    ],
)
async def test_a_result_may_be_late_or_an_error(
    server: ScriptedServer, queue: Vtrix, answer: tuple[int, Any], status: TaskStatus, message: str | None
) -> None:
    replies(server, status=(200, {"status": "COMPLETED", "request_id": "t-1"}), response=answer)
    task_now = await queue.status(task(server))
    assert (task_now.status, task_now.error_message) == (status, message)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ((404, {"detail": "Request not found"}), UpstreamIll),
        ((410, b""), UpstreamIll),
        ((500, b"<html>"), UpstreamIll),
        ((200, b"<html>"), UpstreamIll),
        ((200, {"status": {"code": 404, "message": "?"}}), UpstreamIll),
        ((401, {}), UpstreamClosed),
        ((429, {}), UpstreamBusy),
    ],
)
async def test_a_completed_task_without_a_result_is_asked_about_again(
    server: ScriptedServer, queue: Vtrix, answer: tuple[int, Any], error: type[Exception]
) -> None:
    replies(server, status=(200, {"status": "COMPLETED", "request_id": "t-1"}), response=answer)
    with pytest.raises(error):
        await queue.status(task(server))


async def test_a_result_of_another_members_task_is_rejected(
    server: ScriptedServer, queue: Vtrix, order: Order, frame: Frame
) -> None:
    server.answers({"request_id": "t-2", "queue_position": 0})
    await queue.submit(order, frame, request_id=JOB_ID)
    replies(
        server,
        status=(200, {"status": "COMPLETED", "request_id": "t-1"}),
        response=(200, {"request_id": "t-2", "outputs": [VIDEO]}),
    )
    with pytest.raises(UpstreamIll, match="about another"):
        await queue.status(task(server))


@pytest.mark.parametrize("word", ["IN_QUEUE", "in_progress", "In-Progress", "In Queue"])
async def test_letter_case_and_hyphens_of_a_status_do_not_matter(
    server: ScriptedServer, queue: Vtrix, word: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    server.answers({"status": word, "request_id": "t-1"})
    assert (await queue.status(task(server))).status is TaskStatus.IN_PROGRESS
    assert caplog.records == []


@pytest.mark.parametrize(
    ("status", "body", "result"),
    [
        (200, {}, StopResult.ASKED),
        (202, {"status": "CANCELLATION_REQUESTED"}, StopResult.ASKED),
        (202, b"", StopResult.ASKED),
        (200, {"status": "ALREADY_COMPLETED"}, StopResult.ENDED),
        (200, {"status": {"code": 404, "message": "?"}}, StopResult.UNKNOWN),
        (400, {"status": "ALREADY_COMPLETED"}, StopResult.ENDED),
        (400, b"<html>", StopResult.ENDED),
        (404, {"status": "NOT_FOUND"}, StopResult.UNKNOWN),
        (405, {}, StopResult.UNKNOWN),
        (422, {}, StopResult.UNKNOWN),
    ],
)
async def test_the_answer_to_a_cancellation(
    server: ScriptedServer, queue: Vtrix, status: int, body: Any, result: StopResult
) -> None:
    replies(server, cancel=(status, body))
    assert await queue.stop(task(server)) is result
    (seen,) = server.seen
    assert (seen.method, seen.path, seen.body) == ("PUT", f"{PLACE}/cancel", b"")
    assert seen.headers["Authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (401, {}, UpstreamClosed),
        (403, {}, UpstreamClosed),
        (429, {}, UpstreamBusy),
        (500, {}, UpstreamIll),
        (302, {}, UpstreamIll),
        (200, {"status": {"code": 503}}, UpstreamIll),
        (200, {"status": {"code": 401}}, UpstreamClosed),
    ],
)
async def test_a_cancellation_that_can_be_repeated(
    server: ScriptedServer, queue: Vtrix, status: int, body: dict[str, Any], error: type[Exception]
) -> None:
    replies(server, cancel=(status, body))
    with pytest.raises(error):
        await queue.stop(task(server))


async def test_a_cancellation_that_reaches_nobody_can_be_repeated() -> None:
    async with raw_server(b"") as closed:
        pass
    async with Vtrix(closed.url, KEY) as vtrix:
        with pytest.raises(UpstreamUnreached):
            await vtrix.stop(TaskRef("t-1", {"cancel_url": "/x/cancel"}))


@pytest.mark.parametrize("urls", [{}, {"cancel_url": "ftp://h/x"}, {"status_url": "/x/status"}])
async def test_a_task_without_a_usable_url_is_not_asked_to_stop(
    server: ScriptedServer, vtrix: Vtrix, urls: dict[str, str]
) -> None:
    assert await vtrix.stop(TaskRef("t-1", urls)) is StopResult.UNKNOWN
    assert server.seen == []


async def test_the_address_that_has_a_task_is_remembered_for_each(server: ScriptedServer, vtrix: Vtrix) -> None:
    """Two dialects at once: old tasks are at one address, new ones at the other."""

    async def reply(request: web.Request) -> web.StreamResponse:
        is_there = ("old" in request.path) == ("task" in request.path)
        return web.json_response({"status": "processing"}, status=200 if is_there else 404)

    server.reply = reply
    for _ in range(2):
        for task_id in ("old", "new"):
            await vtrix.status(TaskRef(task_id))
    server.seen.clear()
    for task_id in ("old", "new"):
        await vtrix.status(TaskRef(task_id))
    assert len(server.seen) == 2


@pytest.mark.parametrize("second", [400, 404, 410])
async def test_an_unknown_task_has_the_first_refusal(server: ScriptedServer, vtrix: Vtrix, second: int) -> None:
    async def reply(request: web.Request) -> web.StreamResponse:
        is_usual = "task" in request.path
        return web.json_response({"message": "usual" if is_usual else "other"}, status=404 if is_usual else second)

    server.reply = reply
    with pytest.raises(UpstreamRefused, match="usual") as refused:
        await vtrix.status(TaskRef("t-1"))
    assert refused.value.status == 404
    assert len(server.seen) == 2


async def test_a_gateway_that_fails_at_the_other_address_is_not_an_unknown_task(
    server: ScriptedServer, vtrix: Vtrix
) -> None:
    async def reply(request: web.Request) -> web.StreamResponse:
        return web.Response(status=404 if "task" in request.path else 503)

    server.reply = reply
    with pytest.raises(UpstreamIll):
        await vtrix.status(TaskRef("t-1"))
