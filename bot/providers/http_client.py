"""What providers' HTTP clients share: URLs, proxies, `Retry-After`, and errors from before anything was sent."""

import base64
import re
import urllib.request
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from urllib.parse import quote, urljoin, urlsplit

import aiohttp
from yarl import URL

UNSENT = (
    aiohttp.ClientConnectorError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.ClientHttpProxyError,
)
"""aiohttp's errors from before a request is written: DNS, connection, TLS, proxy."""

_URL_LENGTH = 8192
_PRINTABLE_ASCII = "".join(map(chr, range(0x21, 0x7F)))
_LONGEST_WAIT = timedelta(days=1)


def parse_url(text: str) -> URL | None:
    """The URL in `text`; None if it is not one."""
    if len(text) > _URL_LENGTH:
        return None
    try:
        return URL(text)
    except ValueError:
        return None


def parse_link(text: str, base: URL | None = None) -> URL | None:
    """The URL in `text`, whose path and query are requested byte for byte as given; None if it is not one.

    A signature covers these bytes, so a link that was quoted anew is refused. Only what HTTP can't send as it is
    (spaces, letters beyond ASCII) gets quoted. The host is normalised: it is what the address checks compare.
    base: what a relative URL is relative to.
    """
    text = text.strip()
    try:
        if base is not None and not urlsplit(text).scheme:
            text = urljoin(str(base), text)
        normalised, given = parse_url(text), urlsplit(text)
        if normalised is None or normalised.host is None:
            return normalised
        return URL.build(
            scheme=normalised.scheme,
            authority=normalised.raw_authority,
            path=quote(given.path, safe=_PRINTABLE_ASCII) or "/",
            query_string=quote(given.query, safe=_PRINTABLE_ASCII),
            encoded=True,
        )
    except ValueError:
        return None


def environment_proxy(url: URL) -> tuple[URL | None, dict[str, str] | None]:
    """The proxy that the environment (`https_proxy` and the like) sets for `url`, and the headers for it.

    aiohttp's `trust_env` is not used: it also sends `.netrc` credentials to whatever host a link names.
    """
    if url.host is None or urllib.request.proxy_bypass(url.host):
        return None, None
    proxy = parse_url(urllib.request.getproxies().get(url.scheme, ""))
    if proxy is None or not proxy.host:
        return None, None
    if proxy.user is None:
        return proxy, None
    # aiohttp sends this as `Proxy-Authorization`, for tunnels and for plain requests.
    credentials = base64.b64encode(f"{proxy.user}:{proxy.password or ''}".encode()).decode()
    return proxy.with_user(None), {"Authorization": f"Basic {credentials}"}


def retry_after_s(headers: Mapping[str, str], *, now: datetime) -> float | None:
    """Seconds to wait according to `Retry-After` (RFC 9110, 10.2.3: seconds or a date); None if it is unusable.

    A date is compared with the gateway's own `Date` header if there is one, as our clock may be off. A past date
    means now. Anything beyond a day is cut to a day.
    """
    text = headers.get("Retry-After", "").strip()
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text):
        wait = timedelta(seconds=float(text))
    else:
        until = _http_date(text)
        if until is None:
            return None
        wait = max(until - (_http_date(headers.get("Date", "")) or now), timedelta(0))
    return min(wait, _LONGEST_WAIT).total_seconds()


def _http_date(text: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return date.replace(tzinfo=UTC) if date.tzinfo is None else date
