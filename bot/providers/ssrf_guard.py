"""Protects downloads against server-side request forgery (SSRF).

A result link comes from outside: it may point at loopback, a cloud metadata service, or a name that resolves to
either. So a link is checked as text, and its host again when it is resolved for the connection: the address that
was checked is the one that is used. The gateway's own origin is configured by the operator and may be anything.
"""

import re
import socket
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from ssl import SSLContext

from aiohttp import ThreadedResolver
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from bot.providers.http_client import parse_url

Address = IPv4Address | IPv6Address

_NAT64 = IPv6Network("64:ff9b::/96")
"""RFC 6052: the last 32 bits are an IPv4 address."""


def is_public(address: Address) -> bool:
    """Whether an address is on the public internet; an IPv4 address embedded in IPv6 counts as itself."""
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if address in _NAT64:
            inner = IPv4Address(address.packed[-4:])
        if inner is not None:
            return is_public(inner)
        if address.is_site_local:
            return False
    return address.is_global and not (address.is_multicast or address.is_reserved)


@dataclass(frozen=True, slots=True)
class Network:
    """How hosts are resolved and trusted. The defaults are for production; tests pass their own.

    resolver: None for the system's. is_public: which addresses results may come from. ssl: a context, or True for
    the usual checks.
    """

    resolver: AbstractResolver | None = None
    is_public: Callable[[Address], bool] = is_public
    ssl: SSLContext | bool = True


class ForbiddenAddress(OSError):
    """A host resolves only to addresses that may not be fetched, or is not a valid name."""


class GuardedResolver(AbstractResolver):
    """Resolves names to public addresses only, except those of `gateway` and of the operator's proxies.

    aiohttp connects to exactly these addresses, so nothing can change between check and use.
    """

    def __init__(self, network: Network, *, gateway: URL) -> None:
        self._inner = network.resolver or ThreadedResolver()
        self._exempt = _exempt_hosts(gateway)
        self._is_public = network.is_public

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Addresses of `host`. Raises: ForbiddenAddress, or the inner resolver's OSError."""
        try:
            found = await self._inner.resolve(host, port, family)
        except UnicodeError as exc:
            # The name is IDNA-encoded before the lookup, which fails for labels that are too long.
            raise ForbiddenAddress(f"{host[:100]} is not a valid host name") from exc
        if (host, port) in self._exempt:
            return found
        public = [result for result in found if self._is_public(ip_address(result["host"]))]
        if found and not public:
            raise ForbiddenAddress(f"{host} is not a public host")
        return public

    async def close(self) -> None:
        """Closes the inner resolver."""
        await self._inner.close()


def _host_and_port(url: URL) -> tuple[str, int]:
    """Host and port, as passed to a resolver."""
    return url.raw_host or "", url.port or 0


def forbidden_reason(url: URL, *, gateway: URL, is_public: Callable[[Address], bool]) -> str | None:
    """Why a result may not be fetched from `url`, judging by its text; None if it may.

    gateway: a URL of the gateway's own origin.
    """
    if not url.host:
        return "it has no host"
    if url.raw_user is not None or url.raw_password is not None:
        return "it contains a user name or a password"
    if (url.scheme, _host_and_port(url)) == (gateway.scheme, _host_and_port(gateway)):
        return None
    if not re.fullmatch(r"[a-z0-9._-]+|[0-9a-f:.]+(%.*)?", url.raw_host or ""):
        return "its host is not a valid name"
    if url.scheme != "https":
        return "it is not https"
    if _host_and_port(url) in _exempt_hosts(gateway):
        return "it names an internal host"
    # Legacy IPv4 notations ("127.1", "2130706433") would bypass the resolver check.
    if ":" in url.host or url.host.replace(".", "").isdigit():
        try:
            address = ip_address(url.host)
        except ValueError:
            return "its host is not a valid address"
        if not is_public(address):
            return "its host is not public"
    return None


def _exempt_hosts(gateway: URL) -> frozenset[tuple[str, int]]:
    """The (host, port) pairs that may have private addresses: the gateway's and the operator's proxies'."""
    proxies = [parse_url(text) for scheme, text in urllib.request.getproxies().items() if scheme != "no"]
    return frozenset(_host_and_port(url) for url in (gateway, *proxies) if url is not None and url.host)
