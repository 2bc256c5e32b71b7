"""Takes secrets out of text, whatever form they have taken on their way into it.

A key seldom comes back as it was: an address holds it percent-encoded, a traceback escapes its quotes, a proxy's
header is base64. What somebody encrypts, hashes or cuts into pieces is not found.
"""

import base64
import html
import json
import re
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_plus

HIDDEN = "[secret]"

_BASE64_FROM = 8
"""From this length on, in bytes: of a shorter one, too little would be sure in base64 to be looked for."""

_TOKEN = re.compile(r"[A-Za-z0-9_-]{17,}\.[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]{20,}")
"""The bot's id, a time and a signature, each in base64 and with dots between."""

_READ_LENGTH, _SEARCHED_LENGTH = 300, 2000


class Redactor:
    """Called with a text, gives it back without `secrets`. Showing it shows none of them."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        forms = {form for secret in secrets if secret for form in _forms(secret)}
        # The longest first: one may be a part of another, whose rest would stay.
        longest_first = sorted(forms, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first))) if forms else None

    def __call__(self, text: str) -> str:
        """The text with a sign in each secret's place."""
        return text if self._pattern is None else self._pattern.sub(HIDDEN, text)

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


def without_tokens(text: str) -> str:
    """The text without what looks like the token of any Discord bot: for those who don't know their own.

    Of a text that is longer than people read, the rest is left out.
    """
    # Cut only after the search: half a token is not recognised.
    return _TOKEN.sub(HIDDEN, text[:_SEARCHED_LENGTH])[:_READ_LENGTH]


def _forms(secret: str) -> Iterator[str]:
    yield secret
    yield quote(secret, safe="")
    yield quote(secret)
    yield quote_plus(secret)
    yield json.dumps(secret)[1:-1]
    yield json.dumps(secret).replace("/", r"\/")[1:-1]
    yield repr(secret)[1:-1]
    yield repr(secret)[1:-1].replace("'", r"\'")  # where quotes of both kinds stand in the text around it
    yield html.escape(secret)
    yield from _in_base64(secret.encode("utf-8", "surrogatepass"))


def _in_base64(secret: bytes) -> Iterator[str]:
    """What surely stands in the base64 of any text that holds the secret, in each of the three alignments."""
    if len(secret) < _BASE64_FROM:
        return
    for before in range(3):
        # 4 characters hold 3 bytes: the first and the last group are shared with what stands beside the secret.
        coded = base64.b64encode(bytes(before) + secret)
        first, whole = (0, 2, 3)[before], (before + len(secret)) * 8 // 6
        form = coded[first:whole].decode()
        yield form
        yield form.replace("+", "-").replace("/", "_")
