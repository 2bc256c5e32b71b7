"""Removes secrets from text in every encoding they are likely to appear in.

A key seldom appears verbatim: a URL percent-encodes it, a traceback escapes its quotes, a proxy header holds it
in base64. Encrypted, hashed or split secrets are not found.
"""

import base64
import html
import json
import re
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_plus

HIDDEN = "[secret]"

_BASE64_FROM = 8
"""Minimum length in bytes; a shorter secret has too little unambiguous base64 to search for."""

_TOKEN = re.compile(r"[A-Za-z0-9_-]{17,}\.[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]{20,}")
"""A Discord bot token: the bot's id, a timestamp and a signature in base64, separated by dots."""

_INTERACTION_TOKEN = re.compile(r"(?<=/webhooks/)(\d+)/[^/\s?#\"']{16,}|aW50ZXJhY3Rpb246[A-Za-z0-9+/=_-]{16,}")
"""With which the bot answers a member for fifteen minutes: in an address, or anywhere, as it begins with
"interaction:" in base64."""

_READ_LENGTH, _SEARCHED_LENGTH = 300, 2000


class Redactor:
    """Call it with a text to get it back without `secrets` and interactions' tokens. Its repr shows none."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        forms = {form for secret in secrets if secret for form in _forms(secret)}
        # Longest first: one form may be part of another, and the rest would remain.
        longest_first = sorted(forms, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first))) if forms else None

    def __call__(self, text: str) -> str:
        """The text with a placeholder for each secret."""
        text = text if self._pattern is None else self._pattern.sub(HIDDEN, text)
        return _without_interaction_tokens(text)

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


def without_tokens(text: str) -> str:
    """The text without anything that looks like a Discord bot token, cut to a readable length.

    For code that does not know the bot's own token. Interactions' tokens are hidden too.
    """
    # Cut after the search: half a token would not be recognized.
    return _without_interaction_tokens(_TOKEN.sub(HIDDEN, text[:_SEARCHED_LENGTH]))[:_READ_LENGTH]


def _without_interaction_tokens(text: str) -> str:
    if "webhooks/" not in text and "aW50ZXJhY3Rpb246" not in text:
        return text
    return _INTERACTION_TOKEN.sub(lambda found: f"{found[1]}/{HIDDEN}" if found[1] else HIDDEN, text)


def _forms(secret: str) -> Iterator[str]:
    yield secret
    yield quote(secret, safe="")
    yield quote(secret)
    yield quote_plus(secret)
    yield json.dumps(secret)[1:-1]
    yield json.dumps(secret).replace("/", r"\/")[1:-1]
    yield repr(secret)[1:-1]
    yield repr(secret)[1:-1].replace("'", r"\'")  # where the surrounding text has quotes of both kinds
    yield html.escape(secret)
    yield from _in_base64(secret.encode("utf-8", "surrogatepass"))


def _in_base64(secret: bytes) -> Iterator[str]:
    """What the base64 of any text that contains the secret must contain, for each of the three alignments."""
    if len(secret) < _BASE64_FROM:
        return
    for before in range(3):
        # 4 characters hold 3 bytes: the first and last group are shared with the neighboring bytes.
        coded = base64.b64encode(bytes(before) + secret)
        first, whole = (0, 2, 3)[before], (before + len(secret)) * 8 // 6
        form = coded[first:whole].decode()
        yield form
        yield form.replace("+", "-").replace("/", "_")
