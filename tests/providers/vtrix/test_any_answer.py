"""Whatever a gateway answers, the client gives a value or an `UpstreamError`, and nothing that can't be stored."""

import asyncio
import json
from contextlib import suppress
from typing import Any

import pytest
from aiohttp import web
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bot.domain.errors import UpstreamError
from bot.domain.jobs import Frame, Order, StopResult
from bot.providers.base import TaskRef
from bot.providers.json_responses import InvalidResponse
from bot.providers.vtrix.client import BodyForm, Vtrix
from bot.providers.vtrix.responses import (
    GatewayResponse,
    parse_error,
    parse_http_status,
    parse_response,
    parse_stop,
)
from tests.providers.conftest import JOB_ID, KEY
from tests.providers.servers import scripted_server

# fmt: off
NAMES = st.sampled_from([
    "id", "request_id", "status", "data", "error", "error_type", "detail", "code", "error_code", "message",
    "error_message", "progress", "output", "outputs", "usage", "cost", "content", "type", "url", "content_type",
    "status_url", "response_url", "cancel_url", "queue_position", "loc", "msg",
])
WORDS = st.sampled_from([
    "COMPLETED", "IN_QUEUE", "failed", "UNKNOWN", "video", "/x/status", "402", "CANCELED", "t-1", "\ud800", "\0",
    KEY, "x" * 10_000, "https://me:pass@evil.example/x#y",
])
NUMBERS = st.sampled_from([10**400, -1e308, 0, 200, 404, 40201])
# fmt: on
VALUES = st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=20) | WORDS | NUMBERS
ANSWERS = st.dictionaries(
    NAMES | st.text(max_size=5),
    st.recursive(VALUES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=5)),
    max_size=8,
)
"""JSON objects with the gateway's own names in any place, and any value for each."""


def checked(response: GatewayResponse) -> None:
    """Everything that a response gives can be stored, and none of it names the key."""
    said = json.dumps(response.raw(), allow_nan=False, ensure_ascii=False).encode()
    assert KEY.encode() not in said
    assert b"\\u0000" not in said
    texts = [response.unknown_status, response.video_url, *response.ids]
    texts += [response.error.code, response.error.message] if response.error else []
    for text in filter(None, texts):
        text.encode()
        assert "\0" not in text
    assert response.progress is None or 0 <= response.progress <= 1
    assert all(len(name) <= 200 for name in response.ids)


@pytest.mark.full
@given(ANSWERS, st.booleans())
@settings(max_examples=80)
def test_any_answer_is_read_in_values_that_can_be_stored(answer: dict[str, Any], is_queue: bool) -> None:  # noqa: FBT001
    body = json.dumps(answer).encode()
    response = parse_response(body, secret=KEY, is_queue=is_queue)
    checked(response)
    checked(parse_response(body, secret=KEY, is_queue=True, before=response.said))
    parse_error(body, secret=KEY)
    parse_http_status(body)
    for status in (200, 400, 500):
        parse_stop(status, body)


@given(st.binary(max_size=60))
@example(b"")
@example(b'{"id": "t-1", "error": ' + b'{"code": ' * 900 + b"1" + b"}" * 900 + b"}")
@example(b'{"id": "t-1", "error": {"code": ' + b"[" * 900 + b"]" * 900 + b"}}")
@example(b'{"detail": [{"msg": "x", "loc": [' + b"[" * 900 + b"]" * 900 + b"]}]}")
@example(b'{"data": ' * 900 + b"1" + b"}" * 900)
@example(b'{"id": "t-1", "message": "' + b"x" * 900_000 + b'"}')
@example(b'{"id": 1e400, "status": {"code": 1e400, "error_code": 1e9999999999999999999}}')
def test_any_bytes_are_an_answer_or_no_json(body: bytes) -> None:
    try:
        response = parse_response(body, secret=KEY)
    except InvalidResponse:
        pass
    else:
        checked(response)
    parse_error(body, secret=KEY)
    parse_http_status(body)
    parse_stop(202, body)


@pytest.mark.full
def test_no_answer_to_any_request_raises_anything_but_an_upstream_error() -> None:
    """All requests of the client, over real HTTP, each answered with the same status and body."""
    answer: tuple[int, bytes] = 200, b""

    async def reply(_: web.Request) -> web.StreamResponse:
        return web.Response(status=answer[0], body=answer[1])

    async def ask_everything(vtrix: Vtrix) -> None:
        frame = Frame(data=b"\xff\xd8", mime="image/jpeg")
        urls = {"status_url": "/x/status", "cancel_url": "/x/cancel"}
        refs = [TaskRef("t-1"), TaskRef("t-2", urls)]
        try:
            task = await vtrix.submit(Order(prompt="x"), frame, request_id=JOB_ID)
        except UpstreamError:
            pass
        else:
            json.dumps([task.raw(), dict(task.urls), task.id], allow_nan=False).encode()
            refs.append(TaskRef(task.id, task.urls))
        for ref in refs:
            with suppress(UpstreamError):
                json.dumps((await vtrix.status(ref)).raw(), allow_nan=False)
            with suppress(UpstreamError):
                assert await vtrix.stop(ref) in StopResult

    with asyncio.Runner() as runner:
        servers, loop = scripted_server(), runner.get_loop()
        server = loop.run_until_complete(servers.__aenter__())
        server.reply = reply

        @given(
            st.sampled_from([200, 202, 302, 400, 401, 404, 422, 500]),
            ANSWERS.map(lambda said: json.dumps(said).encode()) | st.binary(max_size=20),
            st.sampled_from(BodyForm),
        )
        @settings(max_examples=40)
        def ask(status: int, body: bytes, form: BodyForm) -> None:
            nonlocal answer
            answer = status, body

            async def once() -> None:
                async with Vtrix(server.url, KEY, body=form) as vtrix:
                    await ask_everything(vtrix)

            loop.run_until_complete(once())

        try:
            ask()
        finally:
            loop.run_until_complete(servers.__aexit__(None, None, None))
