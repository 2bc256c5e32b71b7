"""Who may see the operator's page: whoever has its token, or a session that was opened with it. No I/O.

A session is a cookie with the time at which it ends, and a MAC of that time under the token. So it outlives a
restart, and a new token ends all of them. The token is compared in constant time and is never part of a URL.
"""

import hashlib
import hmac
from collections.abc import Callable
from datetime import datetime, timedelta

SESSION = timedelta(hours=12)
"""How long a session lasts."""

WRONG_MAX = 10
"""How many wrong tokens in a row are looked at."""

WRONG_EVERY = timedelta(seconds=30)
"""After those, one more in this time."""


class Access:
    """Checks tokens and sessions. clock: the time, aware and in UTC."""

    def __init__(self, token: str, clock: Callable[[], datetime]) -> None:
        # Its hash, so that comparing takes the same time for every length.
        self._digest = _digest(token)
        self._key = token.encode()
        self._clock = clock
        self._tries_left = float(WRONG_MAX)
        self._counted_at = clock()

    def retry_in(self) -> timedelta | None:
        """How long no token is looked at, after too many wrong ones; None if one is looked at now."""
        now = self._clock()
        elapsed, self._counted_at = max(now - self._counted_at, timedelta(0)), now
        self._tries_left = min(float(WRONG_MAX), self._tries_left + elapsed / WRONG_EVERY)
        return None if self._tries_left >= 1 else (1 - self._tries_left) * WRONG_EVERY

    def is_token(self, given: str) -> bool:
        """Whether that is the token; a wrong one counts. Call `retry_in` first."""
        if hmac.compare_digest(_digest(given), self._digest):
            return True
        self._tries_left -= 1
        return False

    def new_session(self) -> str:
        """A session that begins now, as the value of a cookie."""
        ends = str(int((self._clock() + SESSION).timestamp()))
        return f"{ends}.{self._mac(ends)}"

    def is_session(self, cookie: str) -> bool:
        """Whether that is a session that hasn't ended."""
        ends, _, mac = cookie.partition(".")
        if not hmac.compare_digest(self._mac(ends).encode(), _bytes(mac)):
            return False
        return int(ends) > self._clock().timestamp()  # only we made that number

    def _mac(self, ends: str) -> str:
        return hmac.new(self._key, b"operator page session " + _bytes(ends), hashlib.sha256).hexdigest()


def _digest(text: str) -> bytes:
    return hashlib.sha256(_bytes(text)).digest()


def _bytes(text: str) -> bytes:
    """A header's text as it was sent: aiohttp reads what isn't UTF-8 as surrogates."""
    return text.encode("utf-8", "surrogateescape")
