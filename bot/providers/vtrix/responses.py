"""Parses the gateway's responses. Pure: bytes and headers in, values out.

Public clients of this gateway have seen many shapes of the same response; this module accepts all of them, and
nothing it returns can break a log line, a database column or a chat message. The client decides what follows.
"""

import json
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any

from bot.providers.base import TaskStatus

_TEXT_LENGTH = 300
_ID_LENGTH = 200
_LARGEST_COST = Decimal(1_000_000)
_MAX_DEPTH = 64
"""Nesting levels kept of a response: real ones are shallower, and readers recurse."""

_STATUSES = {
    "in_progress": TaskStatus.IN_PROGRESS,
    "pending": TaskStatus.IN_PROGRESS,
    "processing": TaskStatus.IN_PROGRESS,
    "in_queue": TaskStatus.IN_PROGRESS,
    "queued": TaskStatus.IN_PROGRESS,
    "completed": TaskStatus.COMPLETED,
    "done": TaskStatus.COMPLETED,
    "failed": TaskStatus.FAILED,
}
_VIDEOS = frozenset({"video", "video_url"})


class InvalidResponse(ValueError):
    """The body is not a JSON object."""


@dataclass(frozen=True, slots=True)
class ErrorDetails:
    """An error in the gateway's words, shortened and sanitized."""

    code: str | None = None
    message: str | None = None


@dataclass(frozen=True, slots=True)
class GatewayResponse:
    """One parsed JSON response; None for whatever it does not usably say.

    unknown_status: the status as sent, if it is not a known one (it counts as in progress). raw: see `Task`.
    """

    id: str | None
    status: TaskStatus | None
    unknown_status: str | None = None
    progress: float | None = None
    video_url: str | None = None
    cost_usd: Decimal | None = None
    error: ErrorDetails | None = None
    raw: Callable[[], Mapping[str, Any]] = field(default=dict, compare=False)


def parse_response(body: bytes, *, secret: str) -> GatewayResponse:
    """Parses the response to a create or a poll. `secret` is removed wherever the gateway echoes it.

    Raises: InvalidResponse.
    """
    response = _json_object(body)
    error = _error_details(response.get("error"), secret)
    video_url = next(_video_urls(response.get("output")), None)
    task_id = _task_id(response.get("id"))
    status, unknown = _status(response.get("status"), secret)
    if status is None:
        if video_url is not None:
            status = TaskStatus.COMPLETED
        elif error is not None and task_id is not None:
            status = TaskStatus.FAILED
    usage = response.get("usage")

    def raw() -> Mapping[str, Any]:
        pairs = ((_keepable(key, secret), _storable(value, secret)) for key, value in response.items())
        return {key: value for key, value in pairs if key}

    return GatewayResponse(
        id=task_id,
        status=status,
        unknown_status=unknown,
        progress=_progress(response.get("progress")),
        video_url=video_url,
        cost_usd=_cost(usage.get("cost")) if isinstance(usage, dict) else None,
        error=error,
        raw=raw,
    )


def parse_error(body: bytes, *, secret: str) -> ErrorDetails:
    """Parses the body of an HTTP error, which may be anything; empty if it has no known form."""
    try:
        response = _json_object(body)
    except InvalidResponse:
        return ErrorDetails()
    return _error_details(response.get("error"), secret) or _error_details(response, secret) or ErrorDetails()


def sanitize(text: str, *, secret: str, length: int = _TEXT_LENGTH) -> str:
    """One printable line: no control or invisible characters, no secret, at most `length` characters."""
    # A text may be a megabyte; skip what is cut off anyway.
    start = text.replace(secret, "[key]")[: length * 10]
    visible = "".join(" " if unicodedata.category(char)[0] in "CZ" else char for char in start)
    line = " ".join(visible.split())
    return line if len(line) <= length else f"{line[: length - 1]}…"


# NaN and Infinity are Python extensions that other JSON readers and databases reject.
_DECODER = json.JSONDecoder(parse_float=Decimal, parse_constant=lambda _: None)


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        response = _DECODER.decode(body.decode(json.detect_encoding(body), "surrogatepass"))
    except (ValueError, RecursionError) as exc:
        raise InvalidResponse from exc
    if not isinstance(response, dict):
        raise InvalidResponse
    return response


def _status(value: object, secret: str) -> tuple[TaskStatus | None, str | None]:
    if not isinstance(value, str) or not value.strip():
        return None, None
    known = _STATUSES.get(value.strip().lower())
    if known is not None:
        return known, None
    return TaskStatus.IN_PROGRESS, sanitize(value, secret=secret, length=40)


def _task_id(value: object) -> str | None:
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    text = str(value)
    return text if 0 < len(text) <= _ID_LENGTH and text.isprintable() and not text.isspace() else None


def _progress(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        return None
    return float(min(max(value, 0), 1))


def _cost(value: object) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        return None
    try:
        cost = Decimal(value)
    except InvalidOperation:
        return None
    return cost.copy_abs() if cost.is_finite() and 0 <= cost <= _LARGEST_COST else None


def _error_details(value: object, secret: str) -> ErrorDetails | None:
    """The details in an `error` value, an object or a bare string; None if there are none."""
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


def _video_urls(output: object) -> Iterator[str]:
    """The URLs of all videos in `output`, in order, however deeply nested."""
    pending = [output]
    while pending:
        match pending.pop():
            case list(items):
                pending.extend(reversed(items))
            case {"type": str(kind), "url": str(url)} if kind in _VIDEOS and url.strip():
                yield url.strip()
            case {"content": content}:
                pending.append(content)
            case _:
                pass


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
