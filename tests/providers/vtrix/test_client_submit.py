"""A create over real HTTP: what each answer leads to, and that no order is ever sent twice."""

import asyncio
import gzip
import json
import socket
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.utils import format_datetime
from importlib.metadata import version
from typing import Any

import pytest
from aiohttp import ThreadedResolver, web
from aiohttp.abc import ResolveResult

from bot.domain.errors import (
    LeaseOver,
    OutcomeUnknown,
    UpstreamBusy,
    UpstreamClosed,
    UpstreamRefused,
)
from bot.domain.jobs import Frame, Order
from bot.operations.clock import uptime_s
from bot.operations.held_lease import HeldLease, working_under
from bot.providers.base import Provider, TaskStatus
from bot.providers.ssrf_guard import Network
from bot.providers.vtrix.client import BodyForm, Timeouts, Vtrix
from tests.providers.conftest import JOB_ID, KEY, SHORT_TIMEOUTS
from tests.providers.servers import ScriptedServer, raw_server

ACCEPTED = {"id": "t-1", "status": "in_progress", "model": "wan22_i2v_flash", "created_at": 1760000000}
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


async def test_the_client_is_a_provider(vtrix: Vtrix) -> None:
    provider: Provider = vtrix
    assert repr(provider).startswith("Vtrix('http://127.0.0.1:")


@pytest.mark.parametrize("form", BodyForm.AUTO.tried)
async def test_an_order_is_sent_in_the_configured_body_form(
    server: ScriptedServer, order: Order, frame: Frame, form: BodyForm
) -> None:
    server.answers(ACCEPTED)
    async with Vtrix(server.url, KEY, body=form) as vtrix:
        await vtrix.submit(order, frame, request_id=JOB_ID)
    asked = {"prompt": "a fox wakes up", "img_url": "data:image/jpeg;base64,/9ggYSBwaWN0dXJl"}
    parameters = {"resolution": "720P", "duration": 5, "prompt_extend": True, "watermark": False}
    expected: dict[BodyForm, dict[str, Any]] = {
        BodyForm.ENVELOPE: {
            "model": "wan22_i2v_flash",
            "input": [{"params": {"input": asked, "parameters": parameters}}],
        },
        BodyForm.FLAT: {"model": "wan22_i2v_flash", "input": asked, "parameters": parameters},
        BodyForm.QUEUE: {**asked, **parameters},
    }
    paths = {BodyForm.QUEUE: "/model/v1/queue/wan22_i2v_flash"}
    (seen,) = server.seen
    assert (seen.method, seen.path) == ("POST", paths.get(form, "/model/v1/generation"))
    assert json.loads(seen.body) == expected[form]


async def test_a_create_whose_lease_is_over_is_not_sent(
    server: ScriptedServer, vtrix: Vtrix, order: Order, frame: Frame
) -> None:
    server.answers(ACCEPTED)
    with working_under(HeldLease(uptime_s(), timedelta(0))), pytest.raises(LeaseOver):
        await vtrix.submit(order, frame, request_id=JOB_ID)
    assert not server.seen
    with working_under(HeldLease(uptime_s(), timedelta(hours=1))):
        await vtrix.submit(order, frame, request_id=JOB_ID)
    assert len(server.seen) == 1


async def test_a_create_whose_lease_ends_while_it_connects_is_not_sent(
    server: ScriptedServer, order: Order, frame: Frame
) -> None:
    held = HeldLease(uptime_s(), timedelta(hours=1))

    class StoppedWhileResolving(ThreadedResolver):
        async def resolve(
            self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
        ) -> list[ResolveResult]:
            held.renew(uptime_s() - 7200)
            return await super().resolve(host, port, family)

    server.answers(ACCEPTED)
    url = server.url.replace("127.0.0.1", "localhost")
    async with Vtrix(url, KEY, network=Network(resolver=StoppedWhileResolving())) as vtrix:
        with working_under(held), pytest.raises(LeaseOver):
            await vtrix.submit(order, frame, request_id=JOB_ID)
    assert not server.seen


async def test_a_create_has_the_key_and_a_user_agent(
    server: ScriptedServer, vtrix: Vtrix, order: Order, frame: Frame
) -> None:
    server.answers(ACCEPTED)
    await vtrix.submit(order, frame, request_id=JOB_ID)
    headers = server.seen[0].headers
    assert headers["Authorization"] == f"Bearer {KEY}"
    assert headers["Content-Type"] == "application/json"
    assert headers["User-Agent"] == f"zoetrope/{version('zoetrope')}"


async def test_the_largest_frame_is_sent_in_full(server: ScriptedServer, vtrix: Vtrix, order: Order) -> None:
    server.answers(ACCEPTED)
    await vtrix.submit(order, Frame(data=bytes(10_000_000), mime="image/png"), request_id=JOB_ID)
    params = json.loads(server.seen[0].body)["input"][0]["params"]
    assert len(params["input"]["img_url"]) == len("data:image/png;base64,") + 13_333_336


async def test_a_path_in_the_base_url_is_kept(server: ScriptedServer, order: Order, frame: Frame) -> None:
    server.answers(ACCEPTED)
    async with Vtrix(f"{server.url}/vtrix/", KEY) as vtrix:
        await vtrix.submit(order, frame, request_id=JOB_ID)
    assert server.seen[0].path == "/vtrix/model/v1/generation"


async def test_an_accepted_create_is_a_task_in_progress(
    server: ScriptedServer, vtrix: Vtrix, order: Order, frame: Frame
) -> None:
    server.answers(ACCEPTED)
    task = await vtrix.submit(order, frame, request_id=JOB_ID)
    assert (task.id, task.status, task.video_url) == ("t-1", TaskStatus.IN_PROGRESS, None)
    assert task.raw() == ACCEPTED


async def test_a_create_may_return_a_completed_task(
    server: ScriptedServer, vtrix: Vtrix, order: Order, frame: Frame
) -> None:
    output = [{"content": [{"type": "video", "url": "https://cdn.example/x.mp4"}]}]
    server.answers({"id": 7, "status": "completed", "output": output, "usage": {"cost": "0.12"}})
    task = await vtrix.submit(order, frame, request_id=JOB_ID)
    assert (task.id, task.status, task.video_url) == ("7", TaskStatus.COMPLETED, "https://cdn.example/x.mp4")
    assert task.cost_usd == Decimal("0.12")


async def test_an_id_without_a_status_is_a_task(
    server: ScriptedServer, vtrix: Vtrix, order: Order, frame: Frame
) -> None:
    server.answers({"id": "t-1"})
    assert (await vtrix.submit(order, frame, request_id=JOB_ID)).status is TaskStatus.IN_PROGRESS


async def test_201_and_202_are_accepted_like_200(
    server: ScriptedServer, vtrix: Vtrix, order: Order, frame: Frame
) -> None:
    for status in (201, 202):
        server.answers(ACCEPTED, status=status)
        assert (await vtrix.submit(order, frame, request_id=JOB_ID)).id == "t-1"


@pytest.mark.parametrize("error", ["Too dark", {"code": 4, "message": "Too dark"}, {"error_message": "Too dark"}])
async def test_an_error_instead_of_an_id_is_a_refusal(
    server: ScriptedServer, vtrix: Vtrix, order: Order, frame: Frame, error: object
) -> None:
    server.answers({"error": error})
    with pytest.raises(UpstreamRefused, match=r"^Too dark$"):
        await vtrix.submit(order, frame, request_id=JOB_ID)


@pytest.mark.parametrize("status", [400, 404, 405, 413, 422])
async def test_a_refused_create_has_the_gateways_message_and_code(
    server: ScriptedServer, order: Order, frame: Frame, status: int
) -> None:
    server.answers({"error": {"code": "X1", "message": "The picture is too dark."}}, status=status)
    async with Vtrix(server.url, KEY, body=BodyForm.ENVELOPE) as vtrix:
        with pytest.raises(UpstreamRefused, match=r"^The picture is too dark\.$") as refused:
            await vtrix.submit(order, frame, request_id=JOB_ID)
    assert refused.value.code == "X1"
    assert len(server.seen) == 1


async def test_a_refusal_without_a_message_has_its_status_as_code(
    server: ScriptedServer, vtrix: Vtrix, order: Order, frame: Frame
) -> None:
    server.answers(b"<html>no</html>", status=422)
    with pytest.raises(UpstreamRefused, match="422") as refused:
        await vtrix.submit(order, frame, request_id=JOB_ID)
    assert refused.value.code == "422"


async def test_a_refusal_with_a_huge_body_is_still_a_refusal(
    server: ScriptedServer, vtrix: Vtrix, order: Order, frame: Frame
) -> None:
    server.answers(b"x" * 3_000_000, status=400)
    with pytest.raises(UpstreamRefused):
        await vtrix.submit(order, frame, request_id=JOB_ID)


async def test_a_refusal_is_read_before_the_upload_has_finished(order: Order) -> None:
    """The server stays connected until the client has closed the connection, so that its response is not lost."""
    answer = b'HTTP/1.1 413 Too Large\r\nContent-Length: 24\r\n\r\n{"message": "Too large"}'
    async with raw_server(answer, read=False, then_hang=True) as server, Vtrix(server.url, KEY) as vtrix:
        with pytest.raises(UpstreamRefused, match="Too large"):
            await vtrix.submit(order, Frame(data=bytes(8_000_000), mime="image/png"), request_id=JOB_ID)
    assert server.connections == 1


@pytest.mark.parametrize("status", [401, 402, 403, 407])
async def test_a_key_without_access_or_balance_closes_the_upstream(
    server: ScriptedServer, vtrix: Vtrix, order: Order, frame: Frame, status: int
) -> None:
    server.answers({"message": "No balance"}, status=status)
    with pytest.raises(UpstreamClosed, match="No balance") as closed:
        await vtrix.submit(order, frame, request_id=JOB_ID)
    assert closed.value.status == status
    assert len(server.seen) == 1


async def test_a_rate_limit_has_the_seconds_to_wait(
    server: ScriptedServer, vtrix: Vtrix, order: Order, frame: Frame
) -> None:
    server.answers({}, status=429, Retry_After="17")
    with pytest.raises(UpstreamBusy) as busy:
        await vtrix.submit(order, frame, request_id=JOB_ID)
    assert busy.value.retry_after_s == 17.0
    assert len(server.seen) == 1


async def test_a_rate_limit_may_have_a_date(
    server: ScriptedServer, vtrix: Vtrix, order: Order, frame: Frame
) -> None:
    now = datetime.now(UTC)
    until = format_datetime(now + timedelta(seconds=90), usegmt=True)
    server.answers({}, status=429, Retry_After=until, Date=format_datetime(now, usegmt=True))
    with pytest.raises(UpstreamBusy) as busy:
        await vtrix.submit(order, frame, request_id=JOB_ID)
    assert busy.value.retry_after_s == 90.0


async def test_a_rate_limit_may_have_no_retry_time(
    server: ScriptedServer, vtrix: Vtrix, order: Order, frame: Frame
) -> None:
    server.answers(b"slow down", status=429)
    with pytest.raises(UpstreamBusy) as busy:
        await vtrix.submit(order, frame, request_id=JOB_ID)
    assert busy.value.retry_after_s is None


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308, 408, 425, 499, 500, 502, 503, 504, 520])
async def test_after_a_server_error_or_redirect_the_outcome_is_unknown(
    server: ScriptedServer, vtrix: Vtrix, order: Order, frame: Frame, status: int
) -> None:
    server.answers({"error": "oops"}, status=status, Location="/elsewhere")
    with pytest.raises(OutcomeUnknown, match=str(status)):
        await vtrix.submit(order, frame, request_id=JOB_ID)
    assert len(server.seen) == 1


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>ok</html>",
        b"[]",
        b"{}",
        b'{"message": "hi"}',
        b'{"id": null, "error": null}',
        b'{"id": true}',
        b'{"id": "t-1"',
        b"\xff\xfe",
        b"[" * 100_000,
    ],
)
async def test_a_response_with_neither_id_nor_error_leaves_the_outcome_unknown(
    server: ScriptedServer, vtrix: Vtrix, order: Order, frame: Frame, body: bytes
) -> None:
    server.answers(body)
    with pytest.raises(OutcomeUnknown):
        await vtrix.submit(order, frame, request_id=JOB_ID)
    assert len(server.seen) == 1


async def test_fifty_megabytes_of_json_are_not_read(
    server: ScriptedServer, vtrix: Vtrix, order: Order, frame: Frame
) -> None:
    written = 0

    async def flood(request: web.Request) -> web.StreamResponse:
        nonlocal written
        answer = web.StreamResponse(headers={"Content-Length": "50000000"})
        await answer.prepare(request)
        while written < 50_000_000:
            await answer.write(b" " * 1_000_000)
            written += 1_000_000
        return answer

    server.reply = flood
    with pytest.raises(OutcomeUnknown):
        await vtrix.submit(order, frame, request_id=JOB_ID)
    assert written < 25_000_000


async def test_a_gzipped_response_is_decompressed(
    server: ScriptedServer, vtrix: Vtrix, order: Order, frame: Frame
) -> None:
    server.answers(gzip.compress(b'{"id": "t-1"}'), Content_Encoding="gzip")
    assert (await vtrix.submit(order, frame, request_id=JOB_ID)).id == "t-1"


@pytest.mark.parametrize(
    ("answer", "hang"),
    [
        (None, False),
        (b"", False),
        (b"", True),
        (HEAD, False),
        (HEAD + b'Content-Length: 100\r\n\r\n{"id": "t-1"', False),
        (HEAD + b'Content-Length: 100\r\n\r\n{"id": "t-1"', True),
        (HEAD + b'Transfer-Encoding: chunked\r\n\r\n5\r\n{"id"', False),
        (b"SSH-2.0-OpenSSH_9.6\r\n", False),
    ],
    ids=["reset", "closed", "silent", "half a head", "half a body", "stalled body", "half a chunk", "no http"],
)
async def test_a_lost_response_leaves_the_outcome_unknown(
    order: Order, frame: Frame, answer: bytes | None, *, hang: bool
) -> None:
    timeouts = SHORT_TIMEOUTS if hang else Timeouts()
    async with raw_server(answer, then_hang=hang) as server, Vtrix(server.url, KEY, timeouts=timeouts) as vtrix:
        with pytest.raises(OutcomeUnknown):
            await vtrix.submit(order, frame, request_id=JOB_ID)
    assert server.heads == [b"POST /model/v1/generation HTTP/1.1"]
    assert server.connections == 1


async def test_a_reset_before_the_order_was_read_leaves_the_outcome_unknown(order: Order, frame: Frame) -> None:
    async with raw_server(None, read=False) as server, Vtrix(server.url, KEY) as vtrix:
        with pytest.raises(OutcomeUnknown):
            await vtrix.submit(order, frame, request_id=JOB_ID)
    assert server.connections == 1


async def test_a_response_that_is_too_slow_times_out(server: ScriptedServer, order: Order, frame: Frame) -> None:
    gone = asyncio.Event()

    async def drip(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        try:
            while True:
                await answer.write(b" ")
                await asyncio.sleep(0.01)
        finally:
            gone.set()

    server.reply = drip
    async with Vtrix(server.url, KEY, timeouts=SHORT_TIMEOUTS) as vtrix:
        with pytest.raises(OutcomeUnknown):
            await vtrix.submit(order, frame, request_id=JOB_ID)
    await gone.wait()
    assert len(server.seen) == 1


async def test_a_cancelled_create_stays_cancelled(server: ScriptedServer, order: Order, frame: Frame) -> None:
    arrived = asyncio.Event()

    async def never(_: web.Request) -> web.StreamResponse:
        arrived.set()
        await asyncio.Event().wait()
        raise AssertionError

    server.reply = never
    async with Vtrix(server.url, KEY) as vtrix:
        create = asyncio.create_task(vtrix.submit(order, frame, request_id=JOB_ID))
        await arrived.wait()
        create.cancel()
        with pytest.raises(asyncio.CancelledError):
            await create
