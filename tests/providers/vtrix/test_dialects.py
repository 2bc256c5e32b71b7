"""Each operation in each dialect over real HTTP; docs/gateway.md has the same table."""

import asyncio
import re
from collections.abc import AsyncIterator
from decimal import Decimal
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from bot.domain.errors import (
    ContentRefused,
    OutcomeUnknown,
    UpstreamBusy,
    UpstreamClosed,
    UpstreamError,
    UpstreamIll,
    UpstreamRefused,
)
from bot.domain.jobs import Frame, Order, Resolution, StopResult
from bot.providers.base import Task, TaskRef, TaskStatus
from bot.providers.vtrix.client import BodyForm, Vtrix
from tests.dialect_gateway import ERRORS, DialectGateway, Fate, Refusal, Speaks
from tests.faulty_gateway import Fault, Route
from tests.providers.conftest import JOB_ID, KEY

DOCUMENT = Path(__file__).parents[3] / "docs" / "gateway.md"
ORDER = Order(prompt="a fox wakes up", resolution=Resolution.P480)
FORMS = {
    Speaks.ENVELOPE: BodyForm.ENVELOPE,
    Speaks.FLAT: BodyForm.FLAT,
    Speaks.WRAPPED: BodyForm.ENVELOPE,
    Speaks.QUEUE: BodyForm.QUEUE,
}
REFUSALS: dict[str, tuple[Refusal, type[UpstreamError]]] = {
    "key": (Refusal(401, "UNAUTHORIZED", "The key is wrong"), UpstreamClosed),
    "balance": (Refusal(402, 40203, "Insufficient balance"), UpstreamClosed),
    "permission": (Refusal(403, "FORBIDDEN", "Model not allowed for this user"), UpstreamClosed),
    "rate": (Refusal(429, "RATE_LIMIT_EXCEEDED", "Rate limit exceeded"), UpstreamBusy),
    "request": (Refusal(422, "InvalidParameter", "seed is not a number"), UpstreamRefused),
    "content": (
        Refusal(400, "DataInspectionFailed", "Input data may be inappropriate content"),
        ContentRefused,
    ),
}
STATUSES = {
    Fate.WAITING: TaskStatus.IN_PROGRESS,
    Fate.RUNNING: TaskStatus.IN_PROGRESS,
    Fate.UNHEARD: TaskStatus.IN_PROGRESS,
    Fate.DONE: TaskStatus.COMPLETED,
    Fate.FAILED: TaskStatus.FAILED,
    Fate.BLOCKED: TaskStatus.FAILED,
    Fate.CANCELLED: TaskStatus.CANCELLED,
    Fate.EXPIRED: TaskStatus.FAILED,
    Fate.GONE: TaskStatus.GONE,
}


def frame() -> Frame:
    file = BytesIO()
    Image.new("RGB", (400, 400), "teal").save(file, "PNG")
    return Frame(data=file.getvalue(), mime="image/png")


FRAME = frame()


@pytest.fixture(params=Speaks)
async def gateway(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[DialectGateway]:
    async with DialectGateway(tmp_path / "videos", KEY, speaks=request.param) as running:
        yield running


@pytest.fixture
async def client(gateway: DialectGateway) -> AsyncIterator[Vtrix]:
    async with Vtrix(gateway.url, KEY) as running:
        yield running


@pytest.fixture
async def fixed(gateway: DialectGateway) -> AsyncIterator[Vtrix]:
    """A client that is told which form to use."""
    async with Vtrix(gateway.url, KEY, body=FORMS[gateway.speaks]) as running:
        yield running


async def created(client: Vtrix) -> Task:
    return await client.submit(ORDER, FRAME, request_id=JOB_ID)


def ref(task: Task) -> TaskRef:
    return TaskRef(task.id, task.urls)


async def rendered(gateway: DialectGateway, task: Task) -> None:
    await asyncio.wait({gateway.tasks[task.id].rendering})


async def test_a_create_finds_its_form_and_makes_one_task(gateway: DialectGateway, client: Vtrix) -> None:
    task = await created(client)
    assert [task.id] == list(gateway.tasks)
    assert task.status is TaskStatus.IN_PROGRESS
    assert gateway.tasks[task.id].create.prompt == ORDER.prompt
    assert len(gateway.asked) == {Speaks.FLAT: 2, Speaks.QUEUE: 3}.get(gateway.speaks, 1)


async def test_a_create_in_the_configured_form_is_sent_once(gateway: DialectGateway, fixed: Vtrix) -> None:
    task = await created(fixed)
    assert ([task.id], len(gateway.asked)) == (list(gateway.tasks), 1)


async def test_the_next_create_is_sent_in_the_form_that_was_accepted(
    gateway: DialectGateway, client: Vtrix
) -> None:
    await created(client)
    gateway.asked.clear()
    await created(client)
    assert ([method for method, _ in gateway.asked], len(gateway.tasks)) == (["POST"], 2)


async def test_every_create_carries_the_jobs_id(gateway: DialectGateway, client: Vtrix) -> None:
    await created(client)
    assert {received.request_id for received in gateway.received} == {JOB_ID}


async def test_a_fast_task_is_done_by_its_first_poll_at_the_latest(gateway: DialectGateway, client: Vtrix) -> None:
    gateway.is_fast = True
    task = await created(client)
    if gateway.speaks is not Speaks.QUEUE:
        assert (task.status, task.video_url is None) == (TaskStatus.COMPLETED, False)
    assert (await client.status(ref(task))).status is TaskStatus.COMPLETED


@pytest.mark.parametrize("fate", Fate)
async def test_a_poll_says_what_became_of_the_task(gateway: DialectGateway, client: Vtrix, fate: Fate) -> None:
    task = await created(client)
    gateway.fates[task.id] = fate
    if gateway.speaks is Speaks.QUEUE and fate is Fate.GONE:
        with pytest.raises(UpstreamRefused, match="Request not found"):
            await client.status(ref(task))
        return
    polled = await client.status(ref(task))
    assert (polled.id, polled.status) == (task.id, STATUSES[fate])
    assert polled.raw()
    is_timed_out = gateway.speaks is Speaks.QUEUE and fate is Fate.EXPIRED  # one of its errors
    unpriced = {Fate.CANCELLED, Fate.GONE} if is_timed_out else {Fate.CANCELLED, Fate.GONE, Fate.EXPIRED}
    assert polled.may_be_billed is (fate in unpriced and not is_timed_out)


@pytest.mark.parametrize("fate", [Fate.FAILED, Fate.BLOCKED])
async def test_a_failed_task_has_its_code_its_message_and_whether_it_is_about_the_content(
    gateway: DialectGateway, client: Vtrix, fate: Fate
) -> None:
    task = await created(client)
    gateway.fates[task.id] = fate
    polled = await client.status(ref(task))
    assert (polled.error_code, polled.error_message) == ERRORS[fate]
    assert polled.is_content_refused is (fate is Fate.BLOCKED)


async def test_a_finished_task_has_a_video_and_what_is_known_of_its_cost(
    gateway: DialectGateway, client: Vtrix, tmp_path: Path
) -> None:
    task = await created(client)
    await rendered(gateway, task)
    done = await client.status(ref(task))
    assert done.video_url is not None
    is_priced = gateway.speaks in {Speaks.ENVELOPE, Speaks.FLAT}
    assert done.cost_usd == (Decimal("0.05") if is_priced else None)
    assert await client.download(done.video_url, tmp_path / "video.mp4") > 0


async def test_polls_go_to_the_address_that_knows_the_task(gateway: DialectGateway, client: Vtrix) -> None:
    task = await created(client)
    gateway.fates[task.id] = Fate.RUNNING
    await client.status(ref(task))
    gateway.asked.clear()
    for _ in range(3):
        await client.status(ref(task))
    assert len(gateway.asked) == 3


async def test_a_task_without_urls_is_found(gateway: DialectGateway, fixed: Vtrix) -> None:
    """Created by an earlier version, or named by the operator."""
    task = await created(fixed)
    async with Vtrix(gateway.url, KEY, body=FORMS[gateway.speaks]) as restarted:
        assert (await restarted.status(TaskRef(task.id))).id == task.id
        gateway.asked.clear()
        await restarted.status(TaskRef(task.id))
    assert len(gateway.asked) == (2 if gateway.asked[-1][1].endswith("/response") else 1)


async def test_a_task_that_no_address_knows_is_refused(gateway: DialectGateway, client: Vtrix) -> None:
    with pytest.raises(UpstreamRefused, match="no such task"):
        await client.status(TaskRef("t-0"))
    assert {method for method, _ in gateway.asked} == {"GET"}


@pytest.mark.parametrize("kind", REFUSALS)
async def test_a_refused_create_makes_no_task_and_says_why(
    gateway: DialectGateway, fixed: Vtrix, kind: str
) -> None:
    refusal, expected = REFUSALS[kind]
    gateway.fault(Route.CREATE, refusal.fault(gateway.speaks))
    with pytest.raises(expected, match=refusal.message) as caught:
        await created(fixed)
    assert type(caught.value) is expected
    assert (len(gateway.asked), gateway.tasks) == (1, {})


@pytest.mark.parametrize("kind", ["key", "balance", "permission", "rate", "content"])
async def test_a_refusal_that_is_not_about_the_form_is_not_followed_by_another_form(
    gateway: DialectGateway, client: Vtrix, kind: str
) -> None:
    refusal, expected = REFUSALS[kind]
    gateway.fault(Route.CREATE, refusal.fault(gateway.speaks))
    with pytest.raises(expected):
        await created(client)
    assert len(gateway.asked) == 1


@pytest.mark.parametrize("kind", REFUSALS)
async def test_a_refused_poll_says_why(gateway: DialectGateway, client: Vtrix, kind: str) -> None:
    refusal, expected = REFUSALS[kind]
    task = await created(client)
    gateway.fault(Route.POLL, refusal.fault(gateway.speaks))
    with pytest.raises(expected, match=refusal.message):
        await client.status(ref(task))


async def test_a_gateway_that_fails_is_asked_again_but_never_for_a_second_task(
    gateway: DialectGateway, client: Vtrix
) -> None:
    task = await created(client)
    ill = Refusal(500, "INTERNAL_SERVER_ERROR", "Runtime execution failed").fault(gateway.speaks)
    gateway.fault(Route.POLL, ill)
    with pytest.raises(UpstreamIll, match="Runtime execution failed"):
        await client.status(ref(task))
    gateway.fault(Route.CREATE, ill)
    gateway.asked.clear()
    with pytest.raises(OutcomeUnknown, match="Runtime execution failed"):
        await created(client)
    assert len(gateway.asked) == 1


async def test_a_create_whose_answer_was_lost_is_not_sent_in_another_form(
    gateway: DialectGateway, client: Vtrix
) -> None:
    gateway.fault(Route.CREATE, Fault(status=502, body="<html>"))
    with pytest.raises(OutcomeUnknown):
        await created(client)
    assert len(gateway.asked) == 1


async def test_a_task_that_runs_is_asked_to_stop_where_that_is_possible(
    gateway: DialectGateway, client: Vtrix
) -> None:
    task = await created(client)
    gateway.fates[task.id] = Fate.RUNNING
    gateway.asked.clear()
    answer = await client.stop(ref(task))
    if gateway.speaks is Speaks.QUEUE:
        assert (task.can_be_stopped, answer) == (True, StopResult.ASKED)
        stopped = await client.status(ref(task))
        assert (stopped.status, stopped.may_be_billed) == (TaskStatus.CANCELLED, True)
    else:
        assert (task.can_be_stopped, answer, gateway.asked) == (False, StopResult.UNKNOWN, [])


async def test_a_task_that_is_over_or_unknown_can_not_be_stopped(gateway: DialectGateway, client: Vtrix) -> None:
    task = await created(client)
    await rendered(gateway, task)
    queued = gateway.speaks is Speaks.QUEUE
    assert await client.stop(ref(task)) is (StopResult.ENDED if queued else StopResult.UNKNOWN)
    other = {name: url.replace(task.id, "t-0") for name, url in task.urls.items()}
    assert await client.stop(TaskRef("t-0", other)) is StopResult.UNKNOWN


async def test_the_check_accepts_a_good_key_only(gateway: DialectGateway, fixed: Vtrix) -> None:
    await fixed.check()
    async with Vtrix(gateway.url, "another-key", body=FORMS[gateway.speaks]) as stranger:
        with pytest.raises(UpstreamClosed):
            await stranger.check()


def test_the_table_in_the_documentation_has_every_dialect_and_names_tests_of_this_file() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    header = re.search(r"^\| operation \| (.+) \| test \|$", text, re.MULTILINE)
    assert header is not None
    assert header[1].split(" | ") == [f"`{speaks}`" for speaks in Speaks]
    named = set(re.findall(r"`(test_\w+)`", text))
    assert named
    assert named <= set(globals())
    tests = {name: test.__annotations__ for name, test in globals().items() if name.startswith("test_")}
    assert {name for name, parameters in tests.items() if "gateway" in parameters} <= named
