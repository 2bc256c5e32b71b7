"""Reads JSON from gateways. Pure: bytes in, values out.

A gateway's answer is not trusted: nothing that comes from here can break a log line, a database column or a chat
message, and a key that a gateway echoes is removed. What the fields mean is for each provider to say.
"""

import json
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

_TEXT_LENGTH = 300
_ID_LENGTH = 200
_MAX_DEPTH = 64
"""Nesting levels kept of a response: real ones are shallower, and readers recurse."""


class InvalidResponse(ValueError):
    """The body is not a JSON object."""


@dataclass(frozen=True, slots=True)
class ErrorDetails:
    """An error in the gateway's words, shortened and sanitized."""

    code: str | None = None
    message: str | None = None


def _decimal(text: str) -> Decimal | None:
    """A number with a fraction or an exponent; None if its exponent is beyond what even a Decimal can hold."""
    try:
        return Decimal(text)
    except InvalidOperation:
        return None


# NaN and Infinity are Python extensions that other JSON readers and databases reject.
_DECODER = json.JSONDecoder(parse_float=_decimal, parse_constant=lambda _: None)


def json_object(body: bytes) -> dict[str, Any]:
    """The JSON object in a body; numbers with a fraction are Decimal. Raises: InvalidResponse."""
    try:
        response = _DECODER.decode(body.decode(json.detect_encoding(body), "surrogatepass"))
    except (ValueError, RecursionError) as exc:
        raise InvalidResponse from exc
    if not isinstance(response, dict):
        raise InvalidResponse
    return response


def storable_object(response: Mapping[str, Any], *, secret: str) -> dict[str, Any]:
    """The object as plain JSON, as close to the original as any database can store."""
    pairs = ((_keepable(key, secret), _storable(value, secret)) for key, value in response.items())
    return {key: value for key, value in pairs if key}


def sanitize(text: str, *, secret: str, length: int = _TEXT_LENGTH) -> str:
    """One printable line: no control or invisible characters, no secret, at most `length` characters."""
    # A text may be a megabyte; skip what is cut off anyway.
    start = text.replace(secret, "[key]")[: length * 10]
    visible = "".join(" " if unicodedata.category(char)[0] in "CZ" else char for char in start)
    line = " ".join(visible.split())
    return line if len(line) <= length else f"{line[: length - 1]}…"


def parse_task_id(value: object) -> str | None:
    """A task's id, text or a whole number; None if it is unusable."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    text = str(value)
    return text if 0 < len(text) <= _ID_LENGTH and text.isprintable() and not text.isspace() else None


def parse_error_details(value: object, secret: str) -> ErrorDetails | None:
    """The details in an error, an object with `code` and `message` or a bare string; None if there are none."""
    if isinstance(value, str):
        message = sanitize(value, secret=secret)
        return ErrorDetails(message=message) if message else None
    if not isinstance(value, dict) or not value:
        return None
    code = value.get("code")
    has_code = isinstance(code, str | int | Decimal) and not isinstance(code, bool)
    value_text = value.get("message") or value.get("error_message")
    return ErrorDetails(
        code=(sanitize(str(code), secret=secret, length=64) or None) if has_code else None,
        message=(sanitize(value_text, secret=secret) or None) if isinstance(value_text, str) else None,
    )


def _keepable(text: str, secret: str) -> str:
    """Text that any database accepts: PostgreSQL refuses NUL, UTF-8 refuses lone surrogates."""
    if text.isascii() and "\0" not in text:
        return text.replace(secret, "[key]")
    whole = text.replace("\0", "").encode("utf-8", "replace").decode("utf-8")
    return whole.replace(secret, "[key]")


def _storable(value: object, secret: str, depth: int = _MAX_DEPTH) -> Any:
    """The value as plain JSON, as close to the original as a database can store."""
    match value:
        case list() | dict() if depth <= 0:
            return "…"
        case str():
            return _keepable(value, secret)
        case Decimal():
            number = float(value)
            # A number beyond the range of a float would become `Infinity`, which is not JSON.
            return number if abs(number) != float("inf") else str(value)
        case list():
            return [_storable(item, secret, depth - 1) for item in value]
        case dict():
            return {_keepable(key, secret): _storable(item, secret, depth - 1) for key, item in value.items()}
        case _:
            return value
