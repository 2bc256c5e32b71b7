"""Parses the gateway's responses. Pure: bytes and headers in, values out.

Public clients of this gateway have seen many shapes of the same response; this module accepts all of them, and
nothing it returns can break a log line, a database column or a chat message. The client decides what follows.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any

from bot.providers.base import TaskStatus
from bot.providers.json_responses import (
    ErrorDetails,
    InvalidResponse,
    json_object,
    parse_error_details,
    parse_task_id,
    sanitize,
    storable_object,
)

_LARGEST_COST = Decimal(1_000_000)

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
    response = json_object(body)
    error = parse_error_details(response.get("error"), secret)
    video_url = next(_video_urls(response.get("output")), None)
    task_id = parse_task_id(response.get("id"))
    status, unknown = _status(response.get("status"), secret)
    if status is None:
        if video_url is not None:
            status = TaskStatus.COMPLETED
        elif error is not None and task_id is not None:
            status = TaskStatus.FAILED
    usage = response.get("usage")

    def raw() -> Mapping[str, Any]:
        return storable_object(response, secret=secret)

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
        response = json_object(body)
    except InvalidResponse:
        return ErrorDetails()
    return (
        parse_error_details(response.get("error"), secret)
        or parse_error_details(response, secret)
        or ErrorDetails()
    )


def _status(value: object, secret: str) -> tuple[TaskStatus | None, str | None]:
    if not isinstance(value, str) or not value.strip():
        return None, None
    known = _STATUSES.get(value.strip().lower())
    if known is not None:
        return known, None
    return TaskStatus.IN_PROGRESS, sanitize(value, secret=secret, length=40)


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
