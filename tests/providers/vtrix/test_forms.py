"""In which forms a create is sent, over real HTTP: never twice after anything but a certain refusal."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web

from bot.domain.errors import ContentRefused, OutcomeUnknown, UpstreamBusy, UpstreamClosed, UpstreamRefused
from bot.domain.jobs import Frame, Order
from bot.providers.base import TaskStatus
from bot.providers.vtrix.client import BodyForm, Vtrix
from tests.providers.conftest import JOB_ID, KEY
from tests.providers.servers import ReceivedRequest, ScriptedServer

ACCEPTED = {"id": "t-1", "status": "in_progress"}
QUEUED = {"request_id": "t-1", "queue_position": 0}
Answers = dict[str, tuple[int, dict[str, Any]]]


def form_of(request: ReceivedRequest) -> str:
    """The form of a create, or its path if it went to an unusual address of the queue."""
    if "queue" in request.path:
        return "queue" if request.path == "/model/v1/queue/wan22_i2v_flash" else request.path
    return "envelope" if isinstance(json.loads(request.body)["input"], list) else "flat"


def forms(server: ScriptedServer) -> list[str]:
    return [form_of(request) for request in server.seen]


def answers_by_form(server: ScriptedServer, answers: Answers) -> None:
    """Answers each form as given; what is not given doesn't exist."""

    async def reply(_: web.Request) -> web.StreamResponse:
        status, body = answers.get(form_of(server.seen[-1]), (404, {"detail": "Not Found"}))
        return web.json_response(body, status=status)

    server.reply = reply


def refusal(status: int, text: str = "no") -> tuple[int, dict[str, Any]]:
    return status, {"error": {"message": text}}


@pytest.mark.parametrize("status", [400, 404, 405, 422])
async def test_a_create_that_is_refused_for_its_form_is_sent_in_the_next_one(
    server: ScriptedServer, vtrix: Vtrix, order: Order, frame: Frame, status: int
) -> None:
    answers_by_form(server, {"envelope": refusal(status), "flat": refusal(status), "queue": (200, QUEUED)})
    task = await vtrix.submit(order, frame, request_id=JOB_ID)
    assert (task.id, forms(server)) == ("t-1", ["envelope", "flat", "queue"])
    named = [{name.lower(): value for name, value in request.headers.items()} for request in server.seen]
    assert [headers["x-request-id"] for headers in named] == [JOB_ID] * 3


async def test_a_create_that_is_refused_in_every_form_has_the_first_refusal(
    server: ScriptedServer, vtrix: Vtrix, order: Order, frame: Frame
) -> None:
    answers_by_form(server, {"envelope": refusal(422, "the first"), "flat": refusal(400, "the second")})
    for _ in range(2):
        with pytest.raises(UpstreamRefused, match="the first"):
            await vtrix.submit(order, frame, request_id=JOB_ID)
    assert forms(server) == ["envelope", "flat", "queue", "/v1/queue/wan22_i2v_flash"] * 2


async def test_a_refusal_after_an_accepted_create_is_final(
    server: ScriptedServer, vtrix: Vtrix, order: Order, frame: Frame
) -> None:
    answers_by_form(server, {"envelope": refusal(400), "flat": (200, ACCEPTED)})
    await vtrix.submit(order, frame, request_id=JOB_ID)
    answers_by_form(server, {"envelope": (200, ACCEPTED), "flat": refusal(422, "too dark")})
    with pytest.raises(UpstreamRefused, match="too dark"):
        await vtrix.submit(order, frame, request_id=JOB_ID)
    assert forms(server) == ["envelope", "flat", "flat"]


@pytest.mark.parametrize("form", BodyForm.AUTO.tried)
async def test_a_configured_form_is_the_only_one(
    server: ScriptedServer, order: Order, frame: Frame, form: BodyForm
) -> None:
    answers_by_form(server, dict.fromkeys(BodyForm.AUTO.tried, refusal(422)))
    async with Vtrix(server.url, KEY, body=form) as vtrix:
        with pytest.raises(UpstreamRefused):
            await vtrix.submit(order, frame, request_id=JOB_ID)
    assert forms(server) == [form]


@pytest.mark.parametrize("form", [BodyForm.AUTO, BodyForm.QUEUE])
async def test_the_queue_is_also_found_below_a_base_url_that_ends_with_its_prefix(
    server: ScriptedServer, order: Order, frame: Frame, form: BodyForm
) -> None:
    found = "/model/v1/queue/wan22_i2v_flash"

    async def reply(request: web.Request) -> web.StreamResponse:
        is_there = request.path == found
        return web.json_response(QUEUED if is_there else {"detail": "Not Found"}, status=200 if is_there else 404)

    server.reply = reply
    async with Vtrix(f"{server.url}/model", KEY, body=form) as vtrix:
        task = await vtrix.submit(order, frame, request_id=JOB_ID)
        await vtrix.submit(order, frame, request_id=JOB_ID)
    assert task.urls["status_url"] == f"{server.url}{found}/requests/t-1/status"
    assert server.seen[-2].path == server.seen[-1].path == found


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (502, {}, OutcomeUnknown),
        (302, {}, OutcomeUnknown),
        (200, {"hello": "world"}, OutcomeUnknown),
        (429, {}, UpstreamBusy),
        (403, {}, UpstreamClosed),
        (413, {}, UpstreamRefused),
        (400, {"error": {"code": "DataInspectionFailed"}}, ContentRefused),
        (400, {"error": {"code": "RATE_LIMIT_EXCEEDED"}}, UpstreamBusy),
        (400, {"status": {"code": 400, "error_code": 40201}}, UpstreamClosed),
        (200, {"error": "no"}, UpstreamRefused),
    ],
)
@pytest.mark.parametrize("refused_before", [(), ("envelope",)], ids=["first", "second"])
async def test_no_other_form_is_tried_after_anything_but_a_refusal_of_the_form(
    server: ScriptedServer,
    vtrix: Vtrix,
    order: Order,
    frame: Frame,
    status: int,
    body: dict[str, Any],
    error: type[Exception],
    refused_before: tuple[str, ...],
) -> None:
    answers = {"envelope": (status, body), "flat": (status, body), "queue": (200, QUEUED)}
    answers_by_form(server, answers | dict.fromkeys(refused_before, refusal(400)))
    with pytest.raises(error) as caught:
        await vtrix.submit(order, frame, request_id=JOB_ID)
    assert type(caught.value) is error
    assert len(server.seen) == 1 + len(refused_before)


@pytest.mark.parametrize(("status", "error"), [(400, UpstreamRefused), (404, UpstreamClosed)])
async def test_a_closed_queue_says_nothing_where_the_usual_address_has_read_the_order(
    server: ScriptedServer, vtrix: Vtrix, order: Order, frame: Frame, status: int, error: type[Exception]
) -> None:
    answers_by_form(
        server, {"envelope": refusal(status), "flat": refusal(status), "queue": refusal(403), "no": refusal(404)}
    )
    with pytest.raises(error):
        await vtrix.submit(order, frame, request_id=JOB_ID)
    assert forms(server) == ["envelope", "flat", "queue"]


async def test_creates_at_the_same_time_settle_on_the_form_that_one_of_them_found(
    server: ScriptedServer, vtrix: Vtrix, order: Order, frame: Frame
) -> None:
    """The first create waits for the answer to its envelope, while the second finds out what is accepted."""
    may_answer = asyncio.Event()

    async def reply(_: web.Request) -> web.StreamResponse:
        form = form_of(server.seen[-1])
        if form == "envelope" and len(server.seen) == 1:
            await may_answer.wait()
        is_taken = form == "queue"
        return web.json_response(QUEUED if is_taken else {"error": "no"}, status=200 if is_taken else 400)

    server.reply = reply
    first = asyncio.create_task(vtrix.submit(order, frame, request_id=JOB_ID))
    while not server.seen:
        await asyncio.sleep(0)
    await vtrix.submit(order, frame, request_id=JOB_ID)
    may_answer.set()
    await first
    assert forms(server) == ["envelope", "envelope", "flat", "queue", "queue"]


NAMED: list[Callable[[str], dict[str, Any]]] = [
    lambda name: {"id": name},
    lambda name: {"id": name, "error": "broken"},
    lambda name: {"data": {"id": name}, "status": {"code": 200, "message": "success"}},
    lambda name: {"data": {"id": name}, "status": {"code": 500, "message": "oops"}},
    lambda name: {"data": {"id": name, "status": "in_queue"}},
    lambda name: {"code": 0, "message": "ok", "data": {"id": name}},
    lambda name: {"request_id": name, "status_url": "/x/status"},
    lambda name: {"request_id": name, "queue_position": 3},
    lambda name: {"data": {"request_id": name, "response_url": "/x/response"}, "status": {"code": 200}},
]


@pytest.mark.parametrize("answer", NAMED, ids=range(len(NAMED)))
async def test_an_answer_that_names_a_task_is_a_created_task(
    server: ScriptedServer, vtrix: Vtrix, order: Order, frame: Frame, answer: Callable[[str], dict[str, Any]]
) -> None:
    server.answers(answer("t-77"))
    assert (await vtrix.submit(order, frame, request_id=JOB_ID)).id == "t-77"
    assert len(server.seen) == 1


@pytest.mark.parametrize("status", [400, 404, 409, 429, 500, 504])
@pytest.mark.parametrize(
    "body",
    [
        {"id": "t-1", "status": "processing"},
        {"data": {"id": "t-1", "status": "in_queue"}, "status": {"code": 409, "message": "duplicate"}},
        {"request_id": "t-1", "status_url": "/x/status"},
    ],
)
async def test_a_task_that_runs_is_a_created_task_whatever_the_http_status_says(
    server: ScriptedServer, vtrix: Vtrix, order: Order, frame: Frame, status: int, body: dict[str, Any]
) -> None:
    server.answers(body, status=status)
    assert (await vtrix.submit(order, frame, request_id=JOB_ID)).id == "t-1"
    assert len(server.seen) == 1


@pytest.mark.parametrize(
    "body",
    [
        {"request_id": "of-the-request"},
        {"data": {"task": "t-1"}, "status": {"code": 200, "message": "success"}},
        {"data": None, "status": {"code": 200, "message": "success"}, "request_id": "of-the-request"},
        {"data": {"id": "x" * 10_000}},
        {"result": {"id": "t-1"}},
        {"status": "success"},
        {"status": {"code": 1001, "message": "?"}, "data": {}},
    ],
)
async def test_an_answer_that_can_not_be_placed_is_shown_to_the_operator_and_not_followed_by_a_create(
    server: ScriptedServer, vtrix: Vtrix, order: Order, frame: Frame, body: dict[str, Any]
) -> None:
    server.answers(body)
    with pytest.raises(OutcomeUnknown, match=r"\{|answered 500: \?"):
        await vtrix.submit(order, frame, request_id=JOB_ID)
    assert len(server.seen) == 1


async def test_a_bare_request_id_from_the_queue_is_a_task(
    server: ScriptedServer, order: Order, frame: Frame
) -> None:
    server.answers({"request_id": "t-1"})
    async with Vtrix(server.url, KEY, body=BodyForm.QUEUE) as vtrix:
        assert (await vtrix.submit(order, frame, request_id=JOB_ID)).id == "t-1"


async def test_a_model_that_the_gateway_does_not_offer_is_refused_without_a_request(
    server: ScriptedServer, order: Order, frame: Frame
) -> None:
    async with Vtrix(server.url, KEY, models={"another": "other_v1"}) as vtrix:
        with pytest.raises(UpstreamRefused, match="no model"):
            await vtrix.submit(order, frame, request_id=JOB_ID)
        server.answers(ACCEPTED)
        await vtrix.submit(Order(prompt="x", model="another"), frame, request_id=JOB_ID)
    (seen,) = server.seen
    assert json.loads(seen.body)["model"] == "other_v1"


async def test_a_created_task_that_is_already_forgotten_counts_as_in_progress(
    server: ScriptedServer, vtrix: Vtrix, order: Order, frame: Frame
) -> None:
    server.answers({"id": "t-1", "status": "UNKNOWN"})
    task = await vtrix.submit(order, frame, request_id=JOB_ID)
    assert (task.status, task.may_be_billed) == (TaskStatus.IN_PROGRESS, False)
