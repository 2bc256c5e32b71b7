"""Polls, stops, downloads and the check over real HTTP."""

import asyncio
import logging
from decimal import Decimal
from pathlib import Path

import pytest

from bot.domain.errors import UpstreamBusy, UpstreamClosed, UpstreamIll, UpstreamRefused, UpstreamUnreached
from bot.domain.jobs import Frame, Order, Resolution, StopResult
from bot.providers.base import Task, TaskRef, TaskStatus, Timeouts
from bot.providers.dashscope.client import DashScope
from bot.providers.dashscope.factory import dashscope as make_dashscope
from tests.dashscope_gateway import (
    ARREARS,
    THROTTLED,
    DashScopeGateway,
    Route,
    error_body,
)
from tests.faulty_gateway import Ending, Fault
from tests.providers.conftest import content
from tests.providers.dashscope.conftest import AT_ONCE, KEY
from tests.providers.servers import MP4, ScriptedServer, raw_server


@pytest.fixture
async def task(dashscope: DashScope, order: Order, frame: Frame) -> Task:
    return await dashscope.submit(order, frame, request_id="job-1")


async def poll(dashscope: DashScope, task: Task) -> Task:
    return await dashscope.status(TaskRef(task.id))


async def test_a_task_runs_and_ends_with_its_video_and_its_cost(
    gateway: DashScopeGateway, dashscope: DashScope, order: Order, frame: Frame, to: Path
) -> None:
    gateway.statuses = ("PENDING", "SUSPENDED", "RUNNING", "SUCCEEDED")
    task = await dashscope.submit(order, frame, request_id="job-1")
    polls = [await poll(dashscope, task) for _ in range(4)]
    assert [found.status for found in polls] == [TaskStatus.IN_PROGRESS] * 3 + [TaskStatus.COMPLETED]
    assert [found.can_be_stopped for found in polls] == [True, False, False, False]
    done = polls[-1]
    assert (done.id, done.cost_usd) == (task.id, Decimal("0.14"))
    assert done.video_url is not None
    assert await dashscope.download(done.video_url, to) == len(MP4)
    assert content(to) == MP4
    assert done.raw()["usage"] == {"video_count": 1, "video_duration": 5, "SR": 720}


async def test_an_operators_prices_make_the_cost(gateway: DashScopeGateway, order: Order, frame: Frame) -> None:
    gateway.statuses = ("SUCCEEDED",)
    prices = {Resolution.P480: Decimal("0.40"), Resolution.P720: Decimal("0.80")}
    async with make_dashscope(
        gateway.url,
        KEY,
        prices_cny=prices,
        usd_per_cny=Decimal("0.15"),
        timeouts=Timeouts(),
        max_result_bytes=1_000_000,
    ) as dashscope:
        task = await dashscope.submit(order, frame, request_id="job-1")
        assert (await poll(dashscope, task)).cost_usd == Decimal("0.12")


@pytest.mark.parametrize("usage", [None, {}, {"video_count": 1, "video_duration": 5, "SR": "?"}])
async def test_a_task_without_a_whole_usage_has_no_known_cost(server: ScriptedServer, usage: object) -> None:
    output = {"task_id": "t-1", "task_status": "SUCCEEDED", "video_url": "https://v"}
    server.answers({"output": output, "usage": usage})
    async with DashScope(server.url, KEY) as dashscope:
        found = await dashscope.status(TaskRef("t-1"))
    assert (found.status, found.cost_usd) == (TaskStatus.COMPLETED, None)


async def test_a_completed_task_without_a_video_may_be_billed(server: ScriptedServer) -> None:
    server.answers({"output": {"task_id": "t-1", "task_status": "SUCCEEDED"}})
    async with DashScope(server.url, KEY) as dashscope:
        found = await dashscope.status(TaskRef("t-1"))
    assert (found.status, found.video_url, found.may_be_billed) == (TaskStatus.COMPLETED, None, True)


@pytest.mark.parametrize(
    ("code", "message", "about_content"),
    [
        ("InternalError.Algo", "The video could not be made.", False),
        ("DataInspectionFailed", "Output data may contain inappropriate content.", True),
    ],
)
async def test_a_failed_task_is_free_and_says_why(
    gateway: DashScopeGateway, dashscope: DashScope, task: Task, code: str, message: str, *, about_content: bool
) -> None:
    gateway.tasks[task.id].statuses.clear()
    gateway.tasks[task.id].statuses.append("FAILED")
    gateway.tasks[task.id].error = (code, message)
    found = await poll(dashscope, task)
    assert (found.status, found.error_code, found.error_message) == (TaskStatus.FAILED, code, message)
    assert (found.is_content_refused, found.may_be_billed, found.cost_usd) == (about_content, False, None)


async def test_a_task_that_is_gone_may_have_been_billed(
    gateway: DashScopeGateway, dashscope: DashScope, task: Task
) -> None:
    gateway.forget(task.id)
    found = await poll(dashscope, task)
    assert (found.status, found.may_be_billed, found.cost_usd) == (TaskStatus.GONE, True, None)


async def test_an_answer_about_another_task_is_rejected(server: ScriptedServer) -> None:
    server.answers({"output": {"task_id": "t-2", "task_status": "SUCCEEDED", "video_url": "https://v"}})
    async with DashScope(server.url, KEY) as dashscope:
        with pytest.raises(UpstreamIll, match="about another"):
            await dashscope.status(TaskRef("t-1"))


async def test_an_unknown_status_is_logged_once_and_its_answer_is_worth_keeping(
    server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.answers({"output": {"task_id": "t-1", "task_status": "WARMING"}})
    async with DashScope(server.url, KEY, polls_per_second=AT_ONCE) as dashscope:
        found = [await dashscope.status(TaskRef("t-1")) for _ in range(3)]
    assert {(one.status, one.is_unclear) for one in found} == {(TaskStatus.IN_PROGRESS, True)}
    assert [record.levelno for record in caplog.records if "WARMING" in record.getMessage()] == [logging.WARNING]


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault(400, error_body("InvalidParameter", "The id is wrong.")), UpstreamRefused),
        (Fault(404, error_body("NotFound", "No such task.")), UpstreamRefused),
        (Fault(200, error_body("InvalidParameter", "The id is wrong.")), UpstreamRefused),
        (ARREARS, UpstreamClosed),
        (Fault(401, error_body("InvalidApiKey", "Invalid API-key provided.")), UpstreamClosed),
        (Fault(200, error_body("Arrearage", "Not in good standing.")), UpstreamClosed),
        (THROTTLED, UpstreamBusy),
        (Fault(500, error_body("InternalError", "An internal error has occurred.")), UpstreamIll),
        (Fault(200, "<html>"), UpstreamIll),
        (Fault(200, {"output": {}}), UpstreamIll),
        (Fault(200, {"message": "hello"}), UpstreamIll),
        (Fault(ending=Ending.HALF), UpstreamIll),
    ],
)
async def test_each_failed_poll_has_its_error(
    gateway: DashScopeGateway, dashscope: DashScope, task: Task, fault: Fault, error: type[Exception]
) -> None:
    gateway.fault(Route.POLL, fault)
    with pytest.raises(error):
        await poll(dashscope, task)


async def test_a_refused_connection_counts_as_unreached() -> None:
    async with raw_server(b"") as server:
        pass
    async with DashScope(server.url, KEY) as dashscope:
        with pytest.raises(UpstreamUnreached):
            await dashscope.status(TaskRef("t-1"))


@pytest.mark.parametrize(
    ("task_id", "segment"), [("a/b?c#d", "a%2Fb%3Fc%23d"), ("../../x", "..%2F..%2Fx"), ("ü 1%", "%C3%BC%201%25")]
)
async def test_a_task_id_stays_one_segment_of_the_path(server: ScriptedServer, task_id: str, segment: str) -> None:
    server.answers({"output": {"task_status": "RUNNING"}})
    async with DashScope(f"{server.url}/api/v1", KEY, polls_per_second=AT_ONCE) as dashscope:
        await dashscope.status(TaskRef(task_id))
        await dashscope.stop(TaskRef(task_id))
    assert [(seen.method, seen.path) for seen in server.seen] == [
        ("GET", f"/api/v1/tasks/{segment}"),
        ("POST", f"/api/v1/tasks/{segment}/cancel"),
    ]


async def test_a_queued_task_is_stopped_and_free(
    gateway: DashScopeGateway, dashscope: DashScope, task: Task
) -> None:
    assert await dashscope.stop(TaskRef(task.id)) is StopResult.STOPPED
    found = await poll(dashscope, task)
    assert (found.status, found.may_be_billed, found.cost_usd) == (TaskStatus.CANCELLED, False, None)
    assert gateway.billed == []


async def test_a_stop_whose_answer_was_lost_can_be_repeated(
    gateway: DashScopeGateway, dashscope: DashScope, task: Task
) -> None:
    gateway.fault(Route.CANCEL, Fault(ending=Ending.RESET, takes_effect=True))
    with pytest.raises(UpstreamIll):
        await dashscope.stop(TaskRef(task.id))
    assert await dashscope.stop(TaskRef(task.id)) is StopResult.STOPPED


@pytest.mark.parametrize(
    ("statuses", "result"),
    [
        (["RUNNING", "RUNNING"], StopResult.RUNNING),
        (["RUNNING", "SUCCEEDED"], StopResult.ENDED),
        (["FAILED"], StopResult.ENDED),
        (["UNKNOWN"], StopResult.UNKNOWN),
    ],
)
async def test_a_task_that_is_not_queued_any_more_is_not_stopped(
    gateway: DashScopeGateway, dashscope: DashScope, task: Task, statuses: list[str], result: StopResult
) -> None:
    gateway.tasks[task.id].statuses.clear()
    gateway.tasks[task.id].statuses.extend(statuses)
    await poll(dashscope, task)
    assert await dashscope.stop(TaskRef(task.id)) is result


async def test_an_unknown_task_can_not_be_stopped(gateway: DashScopeGateway, dashscope: DashScope) -> None:
    assert await dashscope.stop(TaskRef("a-task")) is StopResult.UNKNOWN
    gateway.fault(Route.POLL, Fault(404, error_body("NotFound", "No such task.")))
    assert await dashscope.stop(TaskRef("a-task")) is StopResult.UNKNOWN


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (ARREARS, UpstreamClosed),
        (THROTTLED, UpstreamBusy),
        (Fault(500), UpstreamIll),
        (Fault(200, "<html>"), UpstreamIll),
    ],
)
async def test_a_failed_stop_has_its_error(
    gateway: DashScopeGateway, dashscope: DashScope, task: Task, fault: Fault, error: type[Exception]
) -> None:
    gateway.fault(Route.CANCEL, fault)
    with pytest.raises(error):
        await dashscope.stop(TaskRef(task.id))


async def test_a_refusal_with_http_200_is_not_a_stop(
    gateway: DashScopeGateway, dashscope: DashScope, task: Task
) -> None:
    gateway.fault(Route.CANCEL, Fault(200, error_body("UnsupportedOperation", "Not PENDING.")))
    assert await dashscope.stop(TaskRef(task.id)) is StopResult.RUNNING


async def test_the_check_needs_the_key_and_makes_nothing(gateway: DashScopeGateway, dashscope: DashScope) -> None:
    await dashscope.check()
    gateway.fault(Route.POLL, Fault(400, error_body("InvalidParameter", "The id is wrong.")))
    await dashscope.check()
    assert gateway.tasks == {}
    async with DashScope(gateway.url, "sk-another-key") as stranger:
        with pytest.raises(UpstreamClosed, match="Invalid API-key"):
            await stranger.check()


async def test_polls_beyond_the_rate_wait_for_their_turn(server: ScriptedServer) -> None:
    server.answers({"output": {"task_status": "RUNNING"}})
    async with DashScope(server.url, KEY, polls_per_second=0.0001) as dashscope:
        polls = [asyncio.create_task(dashscope.status(TaskRef(f"t-{number}"))) for number in range(3)]
        await asyncio.wait(polls, return_when=asyncio.FIRST_COMPLETED)
        await dashscope.stop(TaskRef("t-0"))  # a round trip later, and not a poll
        assert [seen.method for seen in server.seen] == ["GET", "POST"]
        for waiting in polls[1:]:
            assert not waiting.done()
            waiting.cancel()
        await asyncio.gather(*polls, return_exceptions=True)


async def test_polls_within_the_rate_all_go_out(server: ScriptedServer) -> None:
    server.answers({"output": {"task_status": "RUNNING"}})
    async with DashScope(server.url, KEY, polls_per_second=500) as dashscope:
        await asyncio.gather(*(dashscope.status(TaskRef(f"t-{number}")) for number in range(20)))
    assert len(server.seen) == 20
