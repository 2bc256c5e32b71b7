"""A create over real HTTP: what each answer leads to, and that no order is ever sent twice."""

import asyncio
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from bot.domain.errors import (
    ContentRefused,
    OutcomeUnknown,
    UpstreamBusy,
    UpstreamClosed,
    UpstreamError,
    UpstreamRefused,
    UpstreamUnreached,
)
from bot.domain.jobs import Frame, Order, ProviderName, Resolution
from bot.domain.models import WAN22_FLASH, Currency, Offering
from bot.providers.base import Provider, TaskStatus
from bot.providers.dashscope.client import DashScope
from tests.dashscope_gateway import (
    ARREARS,
    FORBIDDEN_CONTENT,
    QUOTA_USED_UP,
    THROTTLED,
    DashScopeGateway,
    Route,
    error_body,
)
from tests.faulty_gateway import Ending, Fault
from tests.providers.conftest import SHORT_TIMEOUTS
from tests.providers.dashscope.conftest import KEY
from tests.providers.servers import ScriptedServer, raw_server

LONG_ONE = replace(
    WAN22_FLASH,
    name="long",
    offerings=(Offering(ProviderName.DASHSCOPE, "wan-long", {Resolution.P720: Decimal("0.3")}, Currency.CNY),),
    durations_s=(5, 10),
)


async def submit(provider: DashScope, order: Order, frame: Frame) -> Any:
    return await provider.submit(order, frame, request_id="job-1")


async def test_the_client_is_a_provider(dashscope: DashScope) -> None:
    provider: Provider = dashscope
    assert repr(provider).startswith("DashScope('http://127.0.0.1:")
    assert KEY not in repr(provider)


async def test_a_create_is_a_task_in_progress_that_can_be_stopped(
    gateway: DashScopeGateway, dashscope: DashScope, order: Order, frame: Frame
) -> None:
    task = await submit(dashscope, order, frame)
    assert list(gateway.tasks) == [task.id]
    assert (task.status, task.can_be_stopped, task.may_be_billed) == (TaskStatus.IN_PROGRESS, True, False)
    assert task.raw()["output"] == {"task_id": task.id, "task_status": "PENDING"}


async def test_a_create_has_the_key_and_asks_for_a_task(
    server: ScriptedServer, order: Order, frame: Frame
) -> None:
    server.answers({"output": {"task_id": "t-1", "task_status": "PENDING"}})
    async with DashScope(f"{server.url}/api/v1/", KEY) as dashscope:
        await submit(dashscope, order, frame)
    (seen,) = server.seen
    assert (seen.method, seen.path) == ("POST", "/api/v1/services/aigc/video-generation/video-synthesis")
    assert seen.headers["Authorization"] == f"Bearer {KEY}"
    assert seen.headers["X-DashScope-Async"] == "enable"
    assert "X-Request-Id" not in seen.headers


async def test_models_are_called_as_they_are_declared(order: Order, frame: Frame) -> None:
    models = (WAN22_FLASH, LONG_ONE)
    async with (
        DashScopeGateway(KEY, models=models) as gateway,
        DashScope(gateway.url, KEY, models=models) as dashscope,
    ):
        await submit(dashscope, order, frame)
        await submit(dashscope, replace(order, model="long", duration_s=10), frame)
    first, second = gateway.received
    assert (first["model"], first["parameters"].get("duration")) == ("wan2.2-i2v-flash", None)
    assert (second["model"], second["parameters"]["duration"]) == ("wan-long", 10)


async def test_a_model_that_is_not_offered_is_refused_without_a_request(
    gateway: DashScopeGateway, dashscope: DashScope, order: Order, frame: Frame
) -> None:
    with pytest.raises(UpstreamRefused, match="does not offer the model long"):
        await submit(dashscope, replace(order, model="long"), frame)
    assert gateway.tasks == {}


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault(400, error_body("InvalidParameter", "The size is wrong.")), UpstreamRefused),
        (Fault(400, error_body("InvalidURL", "The image can't be downloaded.")), UpstreamRefused),
        (Fault(404, error_body("ModelNotFound", "Model not exist.")), UpstreamRefused),
        (FORBIDDEN_CONTENT, ContentRefused),
        (Fault(403, error_body("DataInspectionFailed", "Inappropriate content.")), ContentRefused),
        (ARREARS, UpstreamClosed),
        (Fault(401, error_body("InvalidApiKey", "Invalid API-key provided.")), UpstreamClosed),
        (Fault(403, error_body("AccessDenied.Unpurchased", "Access denied.")), UpstreamClosed),
        (Fault(403, error_body("AllocationQuota.FreeTierOnly", "The free tier is exhausted.")), UpstreamClosed),
        (THROTTLED, UpstreamBusy),
        (QUOTA_USED_UP, UpstreamBusy),
        (Fault(400, error_body("Throttling", "Too many requests.")), UpstreamBusy),
        (Fault(500, error_body("InternalError", "An internal error has occurred.")), OutcomeUnknown),
        (Fault(503, error_body("Throttling", "Too many requests.")), OutcomeUnknown),
        (Fault(502, "<html>"), OutcomeUnknown),
        (Fault(200, "<html>"), OutcomeUnknown),
        (Fault(200, error_body("InternalError", "An internal error has occurred.")), OutcomeUnknown),
        (Fault(200, {"output": {"task_id": ["t"]}}), OutcomeUnknown),
        (Fault(302, "", {"Location": "/elsewhere"}), OutcomeUnknown),
        (Fault(408, ""), OutcomeUnknown),
    ],
)
async def test_each_refusal_leads_to_its_error_after_one_request(
    gateway: DashScopeGateway,
    dashscope: DashScope,
    order: Order,
    frame: Frame,
    fault: Fault,
    error: type[UpstreamError],
) -> None:
    gateway.fault(Route.CREATE, fault)
    with pytest.raises(UpstreamError) as raised:
        await submit(dashscope, order, frame)
    assert type(raised.value) is error
    assert gateway.tasks == {}, "never sent again"


async def test_a_refusal_has_dashscopes_code_and_words(
    gateway: DashScopeGateway, dashscope: DashScope, order: Order, frame: Frame
) -> None:
    gateway.fault(Route.CREATE, Fault(400, error_body("InvalidParameter.Seed", "The seed is wrong.")))
    with pytest.raises(UpstreamRefused, match=r"^The seed is wrong\.$") as refused:
        await submit(dashscope, order, frame)
    assert (refused.value.code, refused.value.said) == ("InvalidParameter.Seed", "The seed is wrong.")


async def test_a_rate_limit_may_say_how_long_to_wait(
    gateway: DashScopeGateway, dashscope: DashScope, order: Order, frame: Frame
) -> None:
    gateway.fault(Route.CREATE, replace(THROTTLED, headers={"Retry-After": "7"}))
    with pytest.raises(UpstreamBusy) as busy:
        await submit(dashscope, order, frame)
    assert busy.value.retry_after_s == 7.0


async def test_an_account_in_arrears_closes_dashscope(
    gateway: DashScopeGateway, dashscope: DashScope, order: Order, frame: Frame
) -> None:
    gateway.fault(Route.CREATE, ARREARS)
    with pytest.raises(UpstreamClosed, match="good standing") as closed:
        await submit(dashscope, order, frame)
    assert closed.value.status == 400


@pytest.mark.parametrize("takes_effect", [True, False])
@pytest.mark.parametrize("ending", [Ending.RESET, Ending.HALF, Ending.HANG])
async def test_a_lost_answer_leaves_the_outcome_unknown_and_is_paid_at_most_once(
    gateway: DashScopeGateway, order: Order, frame: Frame, ending: Ending, *, takes_effect: bool
) -> None:
    gateway.fault(Route.CREATE, Fault(body={"output": {}}, ending=ending, takes_effect=takes_effect))
    async with DashScope(gateway.url, KEY, timeouts=SHORT_TIMEOUTS) as dashscope:
        with pytest.raises(OutcomeUnknown):
            await submit(dashscope, order, frame)
    assert len(gateway.billed) == takes_effect
    assert gateway.billed_cny == (Decimal("1.00") if takes_effect else 0)


async def test_after_a_lost_answer_dashscope_is_asked_for_something_free_first(
    gateway: DashScopeGateway, dashscope: DashScope, order: Order, frame: Frame
) -> None:
    gateway.fault(Route.CREATE, Fault(502))
    with pytest.raises(OutcomeUnknown):
        await submit(dashscope, order, frame)
    gateway.fault(Route.POLL, Fault(502))
    with pytest.raises(UpstreamUnreached, match="nothing was submitted"):
        await submit(dashscope, order, frame)
    assert gateway.tasks == {}

    await submit(dashscope, order, frame)
    await submit(dashscope, order, frame)
    assert (len(gateway.tasks), gateway.polls) == (2, 1)


async def test_a_refused_connection_counts_as_unreached(order: Order, frame: Frame) -> None:
    async with raw_server(b"") as server:
        pass
    async with DashScope(server.url, KEY) as dashscope:
        with pytest.raises(UpstreamUnreached):
            await submit(dashscope, order, frame)


async def test_a_create_without_a_known_status_is_a_task_in_progress(
    server: ScriptedServer, order: Order, frame: Frame
) -> None:
    async with DashScope(server.url, KEY) as dashscope:
        for output in ({"task_id": "t-1"}, {"task_id": "t-1", "task_status": "UNKNOWN"}):
            server.answers({"output": output})
            task = await submit(dashscope, order, frame)
            assert (task.id, task.status, task.may_be_billed) == ("t-1", TaskStatus.IN_PROGRESS, False)


@pytest.mark.parametrize("status", [200, 400, 401, 429, 500])
async def test_an_echoed_key_is_redacted(server: ScriptedServer, order: Order, frame: Frame, status: int) -> None:
    server.answers({"code": KEY, "message": f"Bearer {KEY} is wrong"}, status=status)
    async with DashScope(server.url, KEY) as dashscope:
        with pytest.raises(UpstreamError) as caught:
            await submit(dashscope, order, frame)
    assert KEY not in str(caught.value) + repr(vars(caught.value))
    assert caught.value.__context__ is None


async def test_a_cancelled_create_stays_cancelled_and_is_followed_by_a_free_request(
    gateway: DashScopeGateway, dashscope: DashScope, order: Order, frame: Frame
) -> None:
    gateway.fault(Route.CREATE, Fault(ending=Ending.HANG, takes_effect=True))
    create = asyncio.create_task(submit(dashscope, order, frame))
    while not gateway.tasks:
        await asyncio.sleep(0.01)
    create.cancel()
    with pytest.raises(asyncio.CancelledError):
        await create
    await submit(dashscope, order, frame)
    assert (len(gateway.tasks), gateway.polls) == (2, 1)


@pytest.mark.parametrize(
    "url", ["", "dashscope.aliyuncs.com/api/v1", "ftp://h", "https://u:p@h", "https://h/?q=1"]
)
def test_an_invalid_base_url_is_refused_at_once(url: str) -> None:
    with pytest.raises(ValueError, match="base URL"):
        DashScope(url, KEY)
