"""Downloads over real HTTP: what counts as a video, and what ends a download."""

import asyncio
import gzip
import stat
from pathlib import Path

import pytest
from aiohttp import web

from bot.domain.errors import (
    ResultIncomplete,
    ResultRefused,
    ResultUnusable,
    UpstreamBusy,
    UpstreamError,
    UpstreamIll,
    UpstreamUnreached,
)
from bot.providers.vtrix.client import Timeouts, Vtrix
from tests.providers.conftest import KEY, SHORT_TIMEOUTS, content
from tests.providers.servers import MP4, ScriptedServer, raw_server

WEBM = b"\x1a\x45\xdf\xa3" + b"webm" * 100
FULL_LENGTH = f"HTTP/1.1 200 OK\r\nContent-Length: {len(MP4)}\r\n\r\n".encode()


@pytest.mark.parametrize("video", [MP4, WEBM, MP4 * 1000], ids=["mp4", "webm", "megabytes"])
async def test_a_video_is_written_to_the_file(
    server: ScriptedServer, vtrix: Vtrix, to: Path, video: bytes
) -> None:
    server.answers(video)
    assert await vtrix.download(f"{server.url}/x.mp4", to) == len(video)
    assert content(to) == video


@pytest.fixture
def link(tmp_path: Path) -> Path:
    """A name that leads to another file."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(b"keep me")
    path = tmp_path / "link.mp4"
    path.symlink_to(elsewhere)
    return path


async def test_a_symlink_is_replaced_and_not_followed(server: ScriptedServer, vtrix: Vtrix, link: Path) -> None:
    server.answers(MP4)
    await vtrix.download(f"{server.url}/x.mp4", link)
    assert content(link) == MP4
    assert content(link.with_name("elsewhere")) == b"keep me"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_only_the_user_can_read_the_file(server: ScriptedServer, vtrix: Vtrix, to: Path) -> None:
    server.answers(MP4)
    await vtrix.download(f"{server.url}/x.mp4", to)
    assert mode(to) == 0o600


async def test_a_video_that_arrives_byte_by_byte_is_recognised(
    server: ScriptedServer, vtrix: Vtrix, to: Path
) -> None:
    async def drip(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        for byte in MP4[:40]:
            await answer.write(bytes([byte]))
            await asyncio.sleep(0)
        return answer

    server.reply = drip
    assert await vtrix.download(f"{server.url}/x.mp4", to) == 40


async def test_a_download_does_not_send_the_key(server: ScriptedServer, vtrix: Vtrix, to: Path) -> None:
    server.answers(MP4)
    await vtrix.download(f"{server.url}/x.mp4", to)
    assert KEY not in str(server.seen[0])


async def test_a_download_ignores_netrc(
    server: ScriptedServer, vtrix: Vtrix, to: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login me password other-secret")
    monkeypatch.setenv("NETRC", str(netrc))
    server.answers(MP4)
    await vtrix.download(f"{server.url}/x.mp4", to)
    assert "Authorization" not in server.seen[0].headers


@pytest.mark.parametrize(
    "body",
    [b"<html>expired</html>", b'{"error": "expired"}', b"\x89PNG" + bytes(99)],
)
async def test_a_body_that_is_not_a_video_is_unusable(
    server: ScriptedServer, vtrix: Vtrix, to: Path, body: bytes
) -> None:
    server.answers(body)
    with pytest.raises(ResultUnusable):
        await vtrix.download(f"{server.url}/x.mp4", to)
    assert content(to) is None


@pytest.mark.parametrize("body", [b"", b"\x00\x00\x00\x18ftyp", b"oops"])
async def test_a_body_too_short_for_any_video_is_incomplete(
    server: ScriptedServer, vtrix: Vtrix, to: Path, body: bytes
) -> None:
    server.answers(body)
    with pytest.raises(ResultIncomplete, match=f"only {len(body)} bytes"):
        await vtrix.download(f"{server.url}/x.mp4", to)
    assert content(to) is None


@pytest.mark.parametrize(
    ("status", "error"),
    [(400, ResultUnusable), (451, ResultUnusable), *((status, ResultRefused) for status in (401, 403, 404, 410))],
)
async def test_a_client_error_is_final_unless_a_fresh_link_may_help(
    server: ScriptedServer, vtrix: Vtrix, to: Path, status: int, error: type[UpstreamError]
) -> None:
    server.answers(b"", status=status)
    with pytest.raises(error, match=str(status)):
        await vtrix.download(f"{server.url}/x.mp4", to)


@pytest.mark.parametrize("status", [204, 206, 300, 304, 408, 425, 500, 502, 503, 504])
async def test_a_failing_host_is_retried_later(
    server: ScriptedServer, vtrix: Vtrix, to: Path, status: int
) -> None:
    server.answers(b"", status=status)
    with pytest.raises(UpstreamIll, match=str(status)):
        await vtrix.download(f"{server.url}/x.mp4", to)


async def test_a_rate_limit_has_its_retry_time(server: ScriptedServer, vtrix: Vtrix, to: Path) -> None:
    server.answers(b"", status=429, Retry_After="9")
    with pytest.raises(UpstreamBusy) as busy:
        await vtrix.download(f"{server.url}/x.mp4", to)
    assert busy.value.retry_after_s == 9.0


@pytest.mark.parametrize(
    ("answer", "hang"),
    [
        (None, False),
        (b"", False),
        (b"", True),
        (FULL_LENGTH + MP4[:2000], False),
        (FULL_LENGTH + MP4[:2000], True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n14\r\n" + MP4[:20] + b"\r\n", False),
    ],
    ids=["reset", "closed", "silent", "half", "stalled", "half a chunk"],
)
async def test_an_interrupted_download_is_retried_later(to: Path, answer: bytes | None, *, hang: bool) -> None:
    timeouts = SHORT_TIMEOUTS if hang else Timeouts()
    async with raw_server(answer, then_hang=hang) as server, Vtrix(server.url, KEY, timeouts=timeouts) as vtrix:
        with pytest.raises(UpstreamIll):
            await vtrix.download(f"{server.url}/x.mp4", to)
    assert content(to) is None


async def test_a_download_that_is_too_slow_times_out(server: ScriptedServer, to: Path) -> None:
    async def trickle(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        await answer.write(MP4)
        while True:
            await answer.write(b"x")
            await asyncio.sleep(0.01)

    server.reply = trickle
    async with Vtrix(server.url, KEY, timeouts=Timeouts(download_s=0.3)) as vtrix:
        with pytest.raises(UpstreamIll):
            await vtrix.download(f"{server.url}/x.mp4", to)
    assert content(to) is None


async def test_a_cancelled_download_leaves_nothing(server: ScriptedServer, vtrix: Vtrix, to: Path) -> None:
    begun = asyncio.Event()

    async def begin(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        await answer.write(MP4)
        begun.set()
        await asyncio.Event().wait()
        return answer

    server.reply = begin
    download = asyncio.create_task(vtrix.download(f"{server.url}/x.mp4", to))
    await begun.wait()
    download.cancel()
    with pytest.raises(asyncio.CancelledError):
        await download
    assert content(to) is None


async def test_a_refused_connection_counts_as_unreached(to: Path) -> None:
    async with raw_server(b"") as closed:
        pass
    async with Vtrix(closed.url, KEY) as vtrix:
        with pytest.raises(UpstreamUnreached):
            await vtrix.download(f"{closed.url}/x.mp4", to)


async def test_a_file_that_cannot_be_created_is_not_an_upstream_error(
    server: ScriptedServer, vtrix: Vtrix, tmp_path: Path
) -> None:
    server.answers(MP4)
    with pytest.raises(FileNotFoundError):
        await vtrix.download(f"{server.url}/x.mp4", tmp_path / "missing" / "video.mp4")


async def test_a_declared_size_over_the_limit_is_refused_at_once(to: Path) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\n"
    async with (
        raw_server(head, then_hang=True) as server,
        Vtrix(server.url, KEY, timeouts=SHORT_TIMEOUTS) as vtrix,
    ):
        with pytest.raises(ResultUnusable, match="larger"):
            await vtrix.download(f"{server.url}/x.mp4", to)


async def test_a_body_over_the_limit_without_a_declared_size_is_cut_off(server: ScriptedServer, to: Path) -> None:
    async def chunked(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        await answer.write(MP4)
        await asyncio.Event().wait()
        return answer

    server.reply = chunked
    async with Vtrix(server.url, KEY, max_result_bytes=len(MP4) - 1) as vtrix:
        with pytest.raises(ResultUnusable, match="larger"):
            await vtrix.download(f"{server.url}/x.mp4", to)
    assert content(to) is None


async def test_the_limit_applies_to_the_decompressed_size(server: ScriptedServer, to: Path) -> None:
    server.answers(gzip.compress(MP4 + bytes(10_000_000)), Content_Encoding="gzip")
    async with Vtrix(server.url, KEY, max_result_bytes=1_000_000) as vtrix:
        with pytest.raises(ResultUnusable, match="larger"):
            await vtrix.download(f"{server.url}/x.mp4", to)
    assert content(to) is None


async def test_a_video_is_requested_without_compression(server: ScriptedServer, vtrix: Vtrix, to: Path) -> None:
    server.answers(MP4)
    await vtrix.download(f"{server.url}/x.mp4", to)
    assert server.seen[0].headers["Accept-Encoding"] == "identity"


async def test_a_video_of_exactly_the_limit_is_accepted(server: ScriptedServer, to: Path) -> None:
    server.answers(MP4)
    async with Vtrix(server.url, KEY, max_result_bytes=len(MP4)) as vtrix:
        assert await vtrix.download(f"{server.url}/x.mp4", to) == len(MP4)
