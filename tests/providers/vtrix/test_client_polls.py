"""Polls over real HTTP, and the check, which is one."""

import logging
from decimal import Decimal

import pytest
from aiohttp import web

from bot.domain.errors import UpstreamBusy, UpstreamClosed, UpstreamIll, UpstreamRefused, UpstreamUnreached
from bot.providers.base import TaskRef, TaskStatus
from bot.providers.ssrf_guard import Network
from bot.providers.vtrix.client import Timeouts, Vtrix
from tests.providers.conftest import KEY, SHORT_TIMEOUTS
from tests.providers.servers import ScriptedServer, StaticResolver, raw_server


async def test_a_poll_requests_its_task_with_the_key(server: ScriptedServer, vtrix: Vtrix) -> None:
    server.answers({"id": "t-1", "status": "in_progress"})
    await vtrix.status(TaskRef("t-1"))
    (seen,) = server.seen
    assert (seen.method, seen.path, seen.body) == ("GET", "/model/v1/generation/task/t-1", b"")
    assert seen.headers["Authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize(
    ("task_id", "segment"), [("a/b?c#d", "a%2Fb%3Fc%23d"), ("../../x", "..%2F..%2Fx"), ("ü 1%", "%C3%BC%201%25")]
)
async def test_a_task_id_stays_one_segment_of_the_path(
    server: ScriptedServer, vtrix: Vtrix, task_id: str, segment: str
) -> None:
    server.answers({"id": task_id, "status": "in_progress"})
    await vtrix.status(TaskRef(task_id))
    assert server.seen[0].path == f"/model/v1/generation/task/{segment}"


async def test_a_running_task_has_its_progress(server: ScriptedServer, vtrix: Vtrix) -> None:
    server.answers({"id": "t-1", "status": "in_progress", "progress": 0.35})
    task = await vtrix.status(TaskRef("t-1"))
    assert (task.id, task.status, task.progress) == ("t-1", TaskStatus.IN_PROGRESS, 0.35)


async def test_a_completed_task_has_its_video_and_its_cost(server: ScriptedServer, vtrix: Vtrix) -> None:
    answer = {
        "id": "t-1",
        "status": "completed",
        "progress": 1,
        "output": [{"content": [{"type": "video", "url": "https://cdn.example/x.mp4", "jobId": "j"}]}],
        "usage": {"cost": "0.12", "discount": 0.9, "extra": [1]},
        "metadata": {"a": "b"},
    }
    server.answers(answer)
    task = await vtrix.status(TaskRef("t-1"))
    assert (task.status, task.progress, task.video_url) == (
        TaskStatus.COMPLETED,
        None,
        "https://cdn.example/x.mp4",
    )
    assert task.cost_usd == Decimal("0.12")
    assert task.raw() == answer


async def test_a_completed_task_may_have_no_video(server: ScriptedServer, vtrix: Vtrix) -> None:
    server.answers({"id": "t-1", "status": "done", "output": []})
    task = await vtrix.status(TaskRef("t-1"))
    assert (task.status, task.video_url) == (TaskStatus.COMPLETED, None)


async def test_a_failed_task_has_its_error(server: ScriptedServer, vtrix: Vtrix) -> None:
    server.answers({"id": "t-1", "status": "failed", "error": {"code": "002014001", "message": "Too\ndark"}})
    task = await vtrix.status(TaskRef("t-1"))
    assert (task.status, task.error_code, task.error_message) == (TaskStatus.FAILED, "002014001", "Too dark")


async def test_a_failed_task_may_have_no_error(server: ScriptedServer, vtrix: Vtrix) -> None:
    server.answers({"status": "failed"})
    task = await vtrix.status(TaskRef("t-1"))
    assert (task.id, task.status, task.error_code, task.error_message) == ("t-1", TaskStatus.FAILED, None, None)


async def test_a_poll_keeps_the_requested_task_id(
    server: ScriptedServer, vtrix: Vtrix, caplog: pytest.LogCaptureFixture
) -> None:
    server.answers({"id": "t-2", "status": "in_progress"})
    assert (await vtrix.status(TaskRef("t-1"))).id == "t-1"
    assert "t-2" in caplog.text


async def test_an_unknown_status_is_logged_once_and_its_answer_is_worth_keeping(
    server: ScriptedServer, vtrix: Vtrix, caplog: pytest.LogCaptureFixture
) -> None:
    server.answers({"id": "t-1", "status": "warming"})
    tasks = [await vtrix.status(TaskRef("t-1")) for _ in range(3)]
    assert {(task.status, task.is_unclear) for task in tasks} == {(TaskStatus.IN_PROGRESS, True)}
    assert [record.levelno for record in caplog.records if "warming" in record.getMessage()] == [logging.WARNING]


@pytest.mark.parametrize("status", [400, 404, 410, 413, 422])
async def test_an_unknown_task_is_refused(server: ScriptedServer, vtrix: Vtrix, status: int) -> None:
    server.answers({"message": "no such task"}, status=status)
    with pytest.raises(UpstreamRefused, match="no such task") as refused:
        await vtrix.status(TaskRef("t-1"))
    assert refused.value.code == str(status)


async def test_an_error_without_a_task_is_a_refusal(server: ScriptedServer, vtrix: Vtrix) -> None:
    server.answers({"error": {"code": 5, "message": "no such task"}})
    with pytest.raises(UpstreamRefused, match="no such task") as refused:
        await vtrix.status(TaskRef("t-1"))
    assert refused.value.code == "5"


@pytest.mark.parametrize("status", [401, 403])
async def test_a_poll_with_a_refused_key_is_not_a_failed_task(
    server: ScriptedServer, vtrix: Vtrix, status: int
) -> None:
    server.answers(b"", status=status)
    with pytest.raises(UpstreamClosed) as closed:
        await vtrix.status(TaskRef("t-1"))
    assert closed.value.status == status


async def test_a_rate_limited_poll_has_the_retry_time(server: ScriptedServer, vtrix: Vtrix) -> None:
    server.answers({"error": "slow down"}, status=429, Retry_After="3")
    with pytest.raises(UpstreamBusy) as busy:
        await vtrix.status(TaskRef("t-1"))
    assert busy.value.retry_after_s == 3.0


@pytest.mark.parametrize("status", [302, 308, 408, 500, 502, 503, 504])
async def test_a_server_error_or_redirect_counts_as_a_failing_gateway(
    server: ScriptedServer, vtrix: Vtrix, status: int
) -> None:
    server.answers(b"<html>", status=status, Location="/elsewhere")
    with pytest.raises(UpstreamIll, match=str(status)):
        await vtrix.status(TaskRef("t-1"))
    assert len(server.seen) == 1


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b'{"progress": 0.5}', b"x" * 2_000_000])
async def test_an_unreadable_response_counts_as_a_failing_gateway(
    server: ScriptedServer, vtrix: Vtrix, body: bytes
) -> None:
    server.answers(body)
    with pytest.raises(UpstreamIll):
        await vtrix.status(TaskRef("t-1"))


@pytest.mark.parametrize(
    ("answer", "hang"),
    [(None, False), (b"", False), (b"", True), (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{", False)],
    ids=["reset", "closed", "silent", "half a body"],
)
async def test_a_lost_response_counts_as_a_failing_gateway(answer: bytes | None, *, hang: bool) -> None:
    timeouts = SHORT_TIMEOUTS if hang else Timeouts()
    async with raw_server(answer, then_hang=hang) as server, Vtrix(server.url, KEY, timeouts=timeouts) as vtrix:
        with pytest.raises(UpstreamIll):
            await vtrix.status(TaskRef("t-1"))


async def test_a_refused_connection_counts_as_unreached() -> None:
    async with raw_server(b"") as server:
        pass
    async with Vtrix(server.url, KEY) as vtrix:
        with pytest.raises(UpstreamUnreached):
            await vtrix.status(TaskRef("t-1"))


async def test_polls_share_one_connection(server: ScriptedServer, vtrix: Vtrix) -> None:
    server.answers({"id": "t-1", "status": "in_progress"})
    for _ in range(5):
        await vtrix.status(TaskRef("t-1"))
    assert len({seen.connection for seen in server.seen}) == 1


async def test_a_poll_survives_a_dropped_keep_alive_connection(server: ScriptedServer, vtrix: Vtrix) -> None:
    dropped = False

    async def drop_the_second(request: web.Request) -> web.StreamResponse:
        nonlocal dropped
        if len(server.seen) == 2 and request.transport is not None:
            dropped = True
            request.transport.abort()
        return web.json_response({"id": "t-1", "status": "in_progress"})

    server.reply = drop_the_second
    await vtrix.status(TaskRef("t-1"))
    await vtrix.status(TaskRef("t-1"))
    assert dropped


async def test_a_gateways_cookies_are_not_kept(server: ScriptedServer) -> None:
    server.answers({"id": "t-1", "status": "in_progress"}, Set_Cookie="a=b; Path=/")
    network = Network(resolver=StaticResolver(gateway_example=["127.0.0.1"]))
    async with Vtrix(f"http://gateway.example:{server.port}", KEY, network=network) as vtrix:
        await vtrix.status(TaskRef("t-1"))
        await vtrix.status(TaskRef("t-1"))
    assert "Cookie" not in server.seen[1].headers


@pytest.mark.parametrize("status", [200, 400, 404])
async def test_the_check_accepts_an_unknown_task(server: ScriptedServer, vtrix: Vtrix, status: int) -> None:
    server.answers({"error": {"message": "no such task"}}, status=status)
    await vtrix.check()
    assert server.seen[0].method == "GET"


async def test_the_check_reports_a_bad_key(server: ScriptedServer, vtrix: Vtrix) -> None:
    server.answers({"message": "bad key"}, status=401)
    with pytest.raises(UpstreamClosed):
        await vtrix.check()


async def test_the_check_reports_a_failing_gateway(server: ScriptedServer, vtrix: Vtrix) -> None:
    server.answers(b"<html>welcome</html>")
    with pytest.raises(UpstreamIll):
        await vtrix.check()
