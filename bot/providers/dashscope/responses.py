"""Parses DashScope's responses. Pure: bytes in, values out.

Sources, read 2026-11-28: Alibaba Model Studio's pages of its image-to-video models and of asynchronous tasks, and
what its own SDK reads (dashscope 2.0.2).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any

from bot.domain.jobs import Resolution
from bot.providers.base import TaskStatus
from bot.providers.dashscope.prices import Usage
from bot.providers.json_responses import (
    ErrorDetails,
    json_object,
    parse_error_details,
    parse_task_id,
    sanitize,
    storable_object,
)

_STATUSES = {
    "pending": TaskStatus.IN_PROGRESS,
    "running": TaskStatus.IN_PROGRESS,
    "suspended": TaskStatus.IN_PROGRESS,
    "succeeded": TaskStatus.COMPLETED,
    "failed": TaskStatus.FAILED,
    "canceled": TaskStatus.CANCELLED,
    "cancelled": TaskStatus.CANCELLED,
    "unknown": TaskStatus.GONE,
}
_LONGEST_VIDEO_S = 3600
_MOST_VIDEOS = 100


@dataclass(frozen=True, slots=True)
class TaskResponse:
    """One parsed JSON response; None for whatever it does not usably say.

    unknown_status: the status as sent, if it is not a known one (it counts as in progress). is_pending: whether
    the task is still queued and so can be cancelled. error: of the request or, with a status, of the task. raw:
    see `Task`.
    """

    id: str | None
    status: TaskStatus | None
    unknown_status: str | None = None
    is_pending: bool = False
    video_url: str | None = None
    usage: Usage | None = None
    error: ErrorDetails | None = None
    raw: Callable[[], Mapping[str, Any]] = field(default=dict, compare=False)


def parse_response(body: bytes, *, secret: str) -> TaskResponse:
    """Parses the response to a create, a poll or a cancellation. `secret` is removed wherever it is echoed.

    Raises: InvalidResponse.
    """
    response = json_object(body)
    output = response.get("output")
    if not isinstance(output, dict):
        output = {}
    word = output.get("task_status")
    status, unknown = _status(word, secret)
    url = output.get("video_url")

    def raw() -> Mapping[str, Any]:
        return storable_object(response, secret=secret)

    return TaskResponse(
        id=parse_task_id(output.get("task_id")),
        status=status,
        unknown_status=unknown,
        is_pending=isinstance(word, str) and word.strip().lower() == "pending",
        video_url=url.strip() if isinstance(url, str) and url.strip() else None,
        usage=_usage(response.get("usage")),
        error=_error(output, secret) or _error(response, secret),
        raw=raw,
    )


def parse_error(body: bytes, *, secret: str) -> ErrorDetails:
    """Parses the body of an HTTP error; empty if it has no known form. Raises: InvalidResponse."""
    return _error(json_object(body), secret) or ErrorDetails()


def _error(fields: dict[str, Any], secret: str) -> ErrorDetails | None:
    """The error among the fields of a response; None if `code` and `message` are missing or empty."""
    error = parse_error_details(fields, secret)
    return error if error is not None and (error.code or error.message) else None


def _status(value: object, secret: str) -> tuple[TaskStatus | None, str | None]:
    if not isinstance(value, str) or not value.strip():
        return None, None
    known = _STATUSES.get(value.strip().lower())
    if known is not None:
        return known, None
    return TaskStatus.IN_PROGRESS, sanitize(value, secret=secret, length=40)


def _usage(value: object) -> Usage | None:
    """What is billed; None if anything about it is missing or odd."""
    if not isinstance(value, dict):
        return None
    resolution = _resolution(value.get("SR"))
    seconds, videos = _number(value.get("video_duration")), _number(value.get("video_count"))
    if resolution is None or seconds is None or videos is None:
        return None
    if seconds > _LONGEST_VIDEO_S or videos > _MOST_VIDEOS or videos != int(videos):
        return None
    return Usage(resolution, seconds, int(videos))


def _resolution(value: object) -> Resolution | None:
    """`480` or `"480P"`, as text or number."""
    if not isinstance(value, str | int | Decimal):
        return None
    text = str(value).strip().upper().removesuffix("P")
    return next((known for known in Resolution if known.value == f"{text}P"), None)


def _number(value: object) -> Decimal | None:
    """A number above zero, also as text."""
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        return None
    try:
        number = Decimal(value)
    except InvalidOperation:
        return None
    return number if number.is_finite() and number > 0 else None
