"""How a create reaches the gateway: when it certainly did not, over which connections, and where the key goes."""

import logging
import ssl
from pathlib import Path

import pytest

from bot.domain.errors import OutcomeUnknown, UpstreamError, UpstreamUnreached
from bot.domain.jobs import Frame, Order
from bot.providers.base import TaskRef
from bot.providers.ssrf_guard import Network
from bot.providers.vtrix.client import Vtrix
from tests.providers.conftest import JOB_ID, KEY, SHORT_TIMEOUTS
from tests.providers.servers import ScriptedServer, StaticResolver, anonymous_tls, raw_server, scripted_server

ACCEPTED = {"id": "t-1", "status": "in_progress"}


async def test_a_refused_connection_counts_as_unreached(order: Order, frame: Frame) -> None:
    async with raw_server(b"") as server:
        pass
    async with Vtrix(server.url, KEY) as vtrix:
        with pytest.raises(UpstreamUnreached):
            await vtrix.submit(order, frame, request_id=JOB_ID)


async def test_an_unknown_host_counts_as_unreached(order: Order, frame: Frame) -> None:
    async with Vtrix("https://gateway.example", KEY, network=Network(resolver=StaticResolver())) as vtrix:
        with pytest.raises(UpstreamUnreached):
            await vtrix.submit(order, frame, request_id=JOB_ID)


async def test_a_name_lookup_that_times_out_counts_as_unreached(order: Order, frame: Frame) -> None:
    names = StaticResolver(gateway_example=[])
    async with Vtrix(
        "https://gateway.example", KEY, timeouts=SHORT_TIMEOUTS, network=Network(resolver=names)
    ) as vtrix:
        with pytest.raises(UpstreamUnreached):
            await vtrix.submit(order, frame, request_id=JOB_ID)


async def test_a_failed_tls_handshake_counts_as_unreached(
    server: ScriptedServer, order: Order, frame: Frame
) -> None:
    async with Vtrix(server.url.replace("http:", "https:"), KEY) as vtrix:
        with pytest.raises(UpstreamUnreached):
            await vtrix.submit(order, frame, request_id=JOB_ID)
    assert server.seen == []


async def test_a_tls_handshake_that_times_out_counts_as_unreached(order: Order, frame: Frame) -> None:
    async with raw_server(b"", read=False, then_hang=True) as server:
        address = server.url.replace("http:", "https:")
        async with Vtrix(address, KEY, timeouts=SHORT_TIMEOUTS) as vtrix:
            with pytest.raises(UpstreamUnreached):
                await vtrix.submit(order, frame, request_id=JOB_ID)
    assert server.connections == 1


async def test_a_gateway_without_a_certificate_counts_as_unreached(order: Order, frame: Frame) -> None:
    async with scripted_server(anonymous_tls(ssl.PROTOCOL_TLS_SERVER)) as server:
        address = server.url.replace("http:", "https:")
        async with Vtrix(address, KEY) as vtrix:
            with pytest.raises(UpstreamUnreached):
                await vtrix.submit(order, frame, request_id=JOB_ID)
    assert server.seen == []


async def test_each_create_has_its_own_connection_while_polls_share_one(
    server: ScriptedServer, vtrix: Vtrix, order: Order, frame: Frame
) -> None:
    server.answers(ACCEPTED)
    for _ in range(2):
        await vtrix.status(TaskRef("t-1"))
        await vtrix.submit(order, frame, request_id=JOB_ID)
    polls, creates = (
        {seen.connection for seen in server.seen if seen.method == method} for method in ("GET", "POST")
    )
    assert len(polls) == 1
    assert not creates & polls
    closing = [seen.headers.get("Connection") for seen in server.seen if seen.method == "POST"]
    assert closing == ["close", "close"]


@pytest.mark.parametrize("status", [200, 400, 401, 429, 500])
async def test_an_echoed_key_is_redacted_everywhere(
    server: ScriptedServer, vtrix: Vtrix, order: Order, frame: Frame, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server.answers({"error": {"code": KEY, "message": f"Bearer {KEY} is wrong"}}, status=status)
    with pytest.raises(UpstreamError) as caught:
        await vtrix.submit(order, frame, request_id=JOB_ID)
    assert KEY not in str(caught.value) + repr(vars(caught.value)) + repr(vtrix) + caplog.text


async def test_an_error_holds_no_request_with_the_key(order: Order, frame: Frame) -> None:
    async with raw_server(b"garbage\r\n\r\n") as server, Vtrix(server.url, KEY) as vtrix:
        with pytest.raises(OutcomeUnknown) as caught:
            await vtrix.submit(order, frame, request_id=JOB_ID)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


async def test_a_netrc_file_is_ignored(
    server: ScriptedServer,
    vtrix: Vtrix,
    order: Order,
    frame: Frame,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login me password other-secret")
    monkeypatch.setenv("NETRC", str(netrc))
    server.answers(ACCEPTED)
    await vtrix.submit(order, frame, request_id=JOB_ID)
    assert server.seen[0].headers["Authorization"] == f"Bearer {KEY}"


async def test_the_environments_proxy_is_used_with_its_own_credentials(
    server: ScriptedServer, order: Order, frame: Frame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", f"http://me:pass@127.0.0.1:{server.port}")
    server.answers(ACCEPTED)
    async with Vtrix("http://gateway.example", KEY) as vtrix:
        await vtrix.submit(order, frame, request_id=JOB_ID)
    (seen,) = server.seen
    assert (seen.headers["Host"], seen.headers["Proxy-Authorization"]) == ("gateway.example", "Basic bWU6cGFzcw==")


async def test_a_proxy_that_refuses_the_connection_counts_as_unreached(
    order: Order, frame: Frame, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with raw_server(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n") as server:
        monkeypatch.setenv("https_proxy", server.url.replace("http://", "http://me:pass@"))
        async with Vtrix("https://gateway.example", KEY) as vtrix:
            with pytest.raises(UpstreamUnreached):
                await vtrix.submit(order, frame, request_id=JOB_ID)
    assert server.heads == [b"CONNECT gateway.example:443 HTTP/1.1"]


@pytest.mark.parametrize("url", ["", "cloud.vtrix.ai", "ftp://h", "https://u:p@h", "https://h/?q=1"])
def test_an_invalid_base_url_is_refused_at_once(url: str) -> None:
    with pytest.raises(ValueError, match="base URL"):
        Vtrix(url, KEY)


@pytest.mark.parametrize("key", ["", "  ", "a\nb", "schlüssel"])
def test_a_key_that_is_invalid_in_a_header_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(ValueError, match="printable") as refused:
        Vtrix("https://h", key)
    assert not key.strip() or key not in str(refused.value)


async def test_the_status_line_is_sanitized_and_truncated_like_the_body() -> None:
    head = f"HTTP/1.1 500 Bearer {KEY} \x07{'x' * 3000}\r\nContent-Length: 0\r\n\r\n"
    async with raw_server(head.encode()) as server, Vtrix(server.url, KEY) as vtrix:
        with pytest.raises(UpstreamError) as caught:
            await vtrix.status(TaskRef("a task"))
    assert "Bearer [key]" in str(caught.value)
    assert len(str(caught.value)) < 400
