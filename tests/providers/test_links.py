"""Links to results over real HTTP: requested as given, redirects included, and only where that is allowed."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from aiohttp import web

from bot.domain.errors import ResultUnusable, UpstreamError, UpstreamUnreached
from bot.providers.ssrf_guard import Address, Network, is_public
from bot.providers.vtrix.client import Vtrix
from tests.providers.conftest import KEY, content
from tests.providers.servers import MP4, ScriptedServer, StaticResolver, anonymous_tls, scripted_server


@pytest.fixture
async def cdn() -> AsyncIterator[ScriptedServer]:
    """A host that serves over TLS; it is found as cdn.example where a test says so."""
    async with scripted_server(anonymous_tls(ssl.PROTOCOL_TLS_SERVER)) as server:
        server.url = f"https://cdn.example:{server.port}"
        yield server


def as_if_public(address: Address) -> bool:
    """Treats the tests' own address, and no other, as public."""
    return address == IPv4Address("127.0.0.1")


@asynccontextmanager
async def client_for(
    server: ScriptedServer, *, public: bool, cdn: tuple[str, ...] = ("127.0.0.1",)
) -> AsyncIterator[Vtrix]:
    """A client that finds cdn.example at `cdn`. `public`: whether loopback passes for a public address."""
    network = Network(
        resolver=StaticResolver(cdn_example=list(cdn)),
        is_public=as_if_public if public else is_public,
        ssl=anonymous_tls(ssl.PROTOCOL_TLS_CLIENT),
    )
    async with Vtrix(server.url, KEY, network=network) as client:
        yield client


SIGNED = [
    "/a%2Fb/c~d%7Ee.mp4?sig=x%3Ay%40z%2F+=&exp=1",
    "/(1)%281%29'!*;,$&=:@.mp4?X-Amz-Credential=k/20261128/eu&response=a%20b+c",
    "/%e4%b8%ad/%E4.mp4?a=%2f&b=",
    "/a//b/../c/./d.mp4?q=?/:",
    "/x.mp4?plain",
]


@pytest.mark.parametrize("target", SIGNED)
async def test_a_signed_link_is_requested_byte_for_byte(
    server: ScriptedServer, vtrix: Vtrix, to: Path, target: str
) -> None:
    server.answers(MP4)
    await vtrix.download(f"{server.url}{target}", to)
    assert [request.path for request in server.seen] == [target]


@pytest.mark.parametrize(
    ("target", "requested"),
    [
        ("/é.mp4?sig=a%2Fb%3D%7E%40", "/%C3%A9.mp4?sig=a%2Fb%3D%7E%40"),
        ("/a b%2f.mp4?x=%2F é", "/a%20b%2f.mp4?x=%2F%20%C3%A9"),
        ("/x%2F%7E ", "/x%2F%7E"),
    ],
)
async def test_only_what_http_cannot_send_is_quoted_in_a_link(
    server: ScriptedServer, vtrix: Vtrix, to: Path, target: str, requested: str
) -> None:
    server.answers(MP4)
    await vtrix.download(f"{server.url}{target}", to)
    assert [request.path for request in server.seen] == [requested]


# A relative reference is resolved, which removes its dot segments (RFC 3986, 5.2).
RELATIVE = [(target, "") for target in SIGNED if "/../" not in target]


@pytest.mark.parametrize(("target", "origin"), [*RELATIVE, *((target, "{url}") for target in SIGNED)])
async def test_a_redirect_is_followed_byte_for_byte(
    server: ScriptedServer, vtrix: Vtrix, to: Path, target: str, origin: str
) -> None:
    redirecting(server, f"{origin.format(url=server.url)}{target}")
    await vtrix.download(f"{server.url}/x", to)
    assert server.seen[-1].path == target


async def test_what_a_request_line_cannot_hold_is_quoted(server: ScriptedServer, vtrix: Vtrix, to: Path) -> None:
    server.answers(MP4)
    await vtrix.download(f"{server.url}/a b/\u00e4.mp4?q=\u00fc", to)
    assert server.seen[0].path == "/a%20b/%C3%A4.mp4?q=%C3%BC"


def redirecting(server: ScriptedServer, *locations: str, status: int = 302) -> None:
    """Each location leads to the next; after the last comes a video."""
    waiting = list(locations)

    async def reply(_: web.Request) -> web.StreamResponse:
        if waiting:
            return web.Response(status=status, headers={"Location": waiting.pop(0)})
        return web.Response(body=MP4)

    server.reply = reply


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_followed(server: ScriptedServer, vtrix: Vtrix, to: Path, status: int) -> None:
    redirecting(server, "/y.mp4?a=b", status=status)
    await vtrix.download(f"{server.url}/dir/x.mp4", to)
    assert [seen.path for seen in server.seen] == ["/dir/x.mp4", "/y.mp4?a=b"]


async def test_five_redirects_are_followed(server: ScriptedServer, vtrix: Vtrix, to: Path) -> None:
    redirecting(server, *"abcde")
    assert await vtrix.download(f"{server.url}/x", to) == len(MP4)


async def test_a_sixth_redirect_is_refused(server: ScriptedServer, vtrix: Vtrix, to: Path) -> None:
    redirecting(server, *"abcdef")
    with pytest.raises(ResultUnusable, match="redirects more than 5 times"):
        await vtrix.download(f"{server.url}/x", to)
    assert len(server.seen) == 6


@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.1:1/x",
        "https://127.0.0.1/x",
        "https://127.1/x",
        "https://169.254.169.254/latest/meta-data",
        "https://[::1]/x",
        "https://[::ffff:127.0.0.1]/x",
        "https://10.0.0.1/x",
        "//10.0.0.1/x",
        "file:///etc/passwd",
        "ftp://cdn.example/x",
        "https://user:word@cdn.example/x",
        "http://cdn.example/x",
        "https://[::1/x",
        "",
    ],
)
async def test_a_redirect_to_a_forbidden_url_is_not_followed(
    server: ScriptedServer, vtrix: Vtrix, to: Path, location: str
) -> None:
    redirecting(server, location)
    with pytest.raises(ResultUnusable):
        await vtrix.download(f"{server.url}/x", to)
    assert len(server.seen) == 1


@pytest.mark.parametrize("url", ["", "x.mp4", "file:///etc/passwd", "https://h:99999/x", "http://127.0.0.1:1/x"])
async def test_a_forbidden_url_is_unusable(vtrix: Vtrix, to: Path, url: str) -> None:
    with pytest.raises(ResultUnusable):
        await vtrix.download(url, to)


async def test_the_error_for_a_forbidden_url_omits_its_signature(vtrix: Vtrix, to: Path) -> None:
    with pytest.raises(UpstreamError) as refused:
        await vtrix.download("http://cdn.example/x.mp4?signature=secret", to)
    assert "secret" not in str(refused.value)


async def test_a_public_https_host_does_not_receive_the_key(
    server: ScriptedServer, cdn: ScriptedServer, to: Path
) -> None:
    cdn.answers(MP4)
    async with client_for(server, public=True) as vtrix:
        await vtrix.download(f"{cdn.url}/x.mp4?signature=1", to)
    (seen,) = cdn.seen
    assert (seen.path, seen.headers["Host"]) == ("/x.mp4?signature=1", f"cdn.example:{cdn.port}")
    assert KEY not in str(seen)


async def test_the_gateway_may_redirect_to_a_public_https_host(
    server: ScriptedServer, cdn: ScriptedServer, to: Path
) -> None:
    redirecting(server, f"{cdn.url}/x.mp4")
    cdn.answers(MP4)
    async with client_for(server, public=True) as vtrix:
        await vtrix.download(f"{server.url}/x", to)
    assert content(to) == MP4
    assert KEY not in str(cdn.seen)


async def test_a_public_host_may_not_redirect_to_a_private_address(
    server: ScriptedServer, cdn: ScriptedServer, to: Path
) -> None:
    redirecting(cdn, "https://10.0.0.1/x")
    async with client_for(server, public=True) as vtrix:
        with pytest.raises(ResultUnusable, match="not public"):
            await vtrix.download(f"{cdn.url}/x", to)


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "::ffff:127.0.0.1"])
async def test_a_host_that_resolves_to_a_private_address_is_not_connected_to(
    server: ScriptedServer, cdn: ScriptedServer, to: Path, address: str
) -> None:
    cdn.answers(MP4)
    async with client_for(server, public=False, cdn=(address,)) as vtrix:
        with pytest.raises(ResultUnusable, match="not a public host"):
            await vtrix.download(f"{cdn.url}/x.mp4", to)
    assert cdn.seen == []


async def test_only_the_public_addresses_of_a_host_are_tried(
    server: ScriptedServer, cdn: ScriptedServer, to: Path
) -> None:
    cdn.answers(MP4)
    async with client_for(server, public=True, cdn=("10.0.0.1", "127.0.0.1", "::1")) as vtrix:
        await vtrix.download(f"{cdn.url}/x.mp4", to)
    assert content(to) == MP4


@pytest.mark.parametrize("host", ["a..b", "a" * 70 + ".example", ".."])
async def test_an_invalid_host_name_is_unusable(server: ScriptedServer, to: Path, host: str) -> None:
    async with Vtrix(server.url, KEY) as vtrix:
        with pytest.raises(ResultUnusable, match="not a valid host name"):
            await vtrix.download(f"https://{host}/x.mp4", to)


async def test_an_unknown_host_counts_as_unreached(server: ScriptedServer, to: Path) -> None:
    async with client_for(server, public=False) as vtrix:
        with pytest.raises(UpstreamUnreached):
            await vtrix.download("https://other.example/x.mp4", to)
