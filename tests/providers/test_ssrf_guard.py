from ipaddress import ip_address

import pytest
from yarl import URL

from bot.providers.http_client import environment_proxy, parse_url
from bot.providers.ssrf_guard import ForbiddenAddress, GuardedResolver, Network, forbidden_reason, is_public
from tests.providers.servers import StaticResolver

GATEWAY = URL("http://127.0.0.1:8080/api")


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_internet_addresses_are_public(address: str) -> None:
    assert is_public(ip_address(address))


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",  # noqa: S104  refused, not listened on
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "fe80::1",
        "fe80::1%eth0",
        "fec0::1",
        "fd00::1",
        "ff02::1",
    ],
)
def test_private_and_reserved_addresses_are_not_public(address: str) -> None:
    assert not is_public(ip_address(address))


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8080/x.mp4",
        "https://cdn.example/x.mp4?sig=1",
        "https://cdn.example:8443/x.mp4",
        "https://xn--cdn-hoa.example/x.mp4",
        "https://cdñ.example/x.mp4",
        "https://8.8.8.8/x.mp4",
        "https://[2606:4700::1111]/x.mp4",
    ],
)
def test_urls_of_the_gateway_and_of_public_https_hosts_are_allowed(url: str) -> None:
    assert forbidden_reason(URL(url), gateway=GATEWAY, is_public=is_public) is None


@pytest.mark.parametrize(
    "url",
    [
        "http://cdn.example/x.mp4",
        "https://127.0.0.1:8080/x.mp4",
        "http://127.0.0.1:8081/x.mp4",
        "https://127.0.0.1/x.mp4",
        "https://127.1/x.mp4",
        "https://127.0.0.1./x.mp4",
        "https://2130706433/x.mp4",
        "https://①②⑦.0.0.1/x.mp4",
        "https://[::1]/x.mp4",
        "https://[::ffff:10.0.0.1]/x.mp4",
        "https://169.254.169.254/latest",
        "https://user@cdn.example/x.mp4",
        "https://user:word@cdn.example/x.mp4",
        "http://user@127.0.0.1:8080/x.mp4",
        "file:///etc/passwd",
        "ftp://cdn.example/x.mp4",
        "data:video/mp4;base64,AAAA",
        "https://cdn example/x.mp4",
        "https://cdn\0.example/x.mp4",
        "https://cdn%2eexample/x.mp4",
        "https://*/x.mp4",
        "/x.mp4",
        "",
    ],
)
def test_all_other_urls_are_forbidden(url: str) -> None:
    assert forbidden_reason(URL(url), gateway=GATEWAY, is_public=is_public) is not None


@pytest.mark.parametrize(
    "text", ["https://h:99999/", "https://h\\@evil/", "https://[::1/", "https://h/" + "x" * 9000]
)
def test_an_invalid_url_is_parsed_as_none(text: str) -> None:
    assert parse_url(text) is None


async def test_a_host_with_only_private_addresses_is_forbidden() -> None:
    resolver = GuardedResolver(Network(StaticResolver(cdn_example=["10.0.0.1", "::1"])), gateway=GATEWAY)
    with pytest.raises(ForbiddenAddress):
        await resolver.resolve("cdn.example", 443)


async def test_only_the_public_addresses_of_a_host_are_kept() -> None:
    resolver = GuardedResolver(Network(StaticResolver(cdn_example=["10.0.0.1", "8.8.8.8"])), gateway=GATEWAY)
    assert [result["host"] for result in await resolver.resolve("cdn.example", 443)] == ["8.8.8.8"]


async def test_the_gateway_may_have_a_private_address_but_only_at_its_own_port() -> None:
    resolver = GuardedResolver(
        Network(StaticResolver(gateway_lan=["10.0.0.1"])), gateway=URL("http://gateway.lan:8080")
    )
    assert [result["host"] for result in await resolver.resolve("gateway.lan", 8080)] == ["10.0.0.1"]
    with pytest.raises(ForbiddenAddress):
        await resolver.resolve("gateway.lan", 443)


def test_the_environments_proxy_is_used_with_its_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://me:pass@proxy.lan:3128")
    assert environment_proxy(URL("https://cdn.example/")) == (
        URL("http://proxy.lan:3128"),
        {"Authorization": "Basic bWU6cGFzcw=="},
    )


def test_no_proxy_is_used_for_a_host_that_the_environment_excludes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://proxy.lan:3128")
    monkeypatch.setenv("no_proxy", "cdn.example")
    assert environment_proxy(URL("https://cdn.example/")) == (None, None)


def test_the_url_of_a_proxy_is_not_allowed_for_results(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://proxy.lan:3128")
    assert forbidden_reason(URL("https://proxy.lan:3128/x"), gateway=GATEWAY, is_public=is_public) is not None
