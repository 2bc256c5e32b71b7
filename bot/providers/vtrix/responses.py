"""What the gateway's answers mean. Pure: bytes and headers come in, values go out.

Public clients of this gateway have met many shapes of the same answer; this module takes all of them, and
nothing it hands on can break a log line, a database column or a chat message. What an answer leads to, an
error or a task, is decided by the client.
"""

import json
import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from email.utils import parsedate_to_datetime
from typing import Any

from bot.providers.base import TaskStatus

_TEXT_LENGTH = 300
_ID_LENGTH = 200
_LARGEST_COST = Decimal(1_000_000)
_LONGEST_WAIT = timedelta(days=1)
_MAX_DEPTH = 64
"""How many levels of an answer are kept: nothing honest is nested deeper, and what reads them recurses."""

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


class Unreadable(ValueError):
    """The body is no JSON object."""


@dataclass(frozen=True, slots=True)
class Complaint:
    """An error as the gateway words it, shortened and cleaned."""

    code: str | None = None
    message: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What one JSON answer says; None wherever it says nothing usable.

    unknown_status: the status as sent where it is none of the known ones (it counts as in progress).
    """

    id: str | None
    status: TaskStatus | None
    unknown_status: str | None = None
    progress: float | None = None
    video_url: str | None = None
    cost_usd: Decimal | None = None
    complaint: Complaint | None = None
    raw: Mapping[str, Any] = field(default_factory=dict, hash=False)


def read_answer(body: bytes, *, secret: str) -> Answer:
    """Reads a create's or a look's answer. `secret` is taken out wherever the gateway echoes it.

    Raises: Unreadable.
    """
    answer = _json_object(body)
    complaint = _complaint(answer.get("error"), secret)
    video_url = next(_video_urls(answer.get("output")), None)
    task_id = _task_id(answer.get("id"))
    status, unknown = _status(answer.get("status"), secret)
    if status is None:
        if video_url is not None:
            status = TaskStatus.COMPLETED
        elif complaint is not None and task_id is not None:
            status = TaskStatus.FAILED
    usage = answer.get("usage")
    return Answer(
        id=task_id,
        status=status,
        unknown_status=unknown,
        progress=_progress(answer.get("progress")),
        video_url=video_url,
        cost_usd=_cost(usage.get("cost")) if isinstance(usage, dict) else None,
        complaint=complaint,
        raw={
            tidy_key: _storable(value, secret)
            for key, value in answer.items()
            if (tidy_key := _keepable(key, secret))
        },
    )


def read_complaint(body: bytes, *, secret: str) -> Complaint:
    """Reads the body of an HTTP error, which may be anything; empty where it is not one of the known forms."""
    try:
        answer = _json_object(body)
    except Unreadable:
        return Complaint()
    return _complaint(answer.get("error"), secret) or _complaint(answer, secret) or Complaint()


def tidy(text: str, *, secret: str, length: int = _TEXT_LENGTH) -> str:
    """One line for people: no control or invisible characters, no secret, at most `length` characters."""
    # A text may be a megabyte; what is cut off anyway is not worth looking at.
    start = text.replace(secret, "[key]")[: length * 10]
    visible = "".join(" " if unicodedata.category(char)[0] in "CZ" else char for char in start)
    line = " ".join(visible.split())
    return line if len(line) <= length else f"{line[: length - 1]}…"


def retry_after_s(headers: Mapping[str, str], *, now: datetime) -> float | None:
    """Seconds to wait as `Retry-After` says (RFC 9110: seconds or a date); None where it is of no use.

    A date is measured by the gateway's own `Date` where that is given: our clock may be off. Past dates
    mean now. Anything beyond a day is taken for a mistake.
    """
    said = headers.get("Retry-After", "").strip()
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", said):
        wait = timedelta(seconds=float(said))
    else:
        until = _http_date(said)
        if until is None:
            return None
        wait = max(until - (_http_date(headers.get("Date", "")) or now), timedelta(0))
    return wait.total_seconds() if wait <= _LONGEST_WAIT else None


def _http_date(text: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return date.replace(tzinfo=UTC) if date.tzinfo is None else date


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        # NaN and Infinity are Python's extension: no other JSON reader, and no database, takes them.
        answer = json.loads(body, parse_float=Decimal, parse_constant=lambda _: None)
    except (ValueError, RecursionError) as exc:
        raise Unreadable from exc
    if not isinstance(answer, dict):
        raise Unreadable
    return answer


def _status(value: object, secret: str) -> tuple[TaskStatus | None, str | None]:
    if not isinstance(value, str) or not value.strip():
        return None, None
    known = _STATUSES.get(value.strip().lower())
    if known is not None:
        return known, None
    return TaskStatus.IN_PROGRESS, tidy(value, secret=secret, length=40)


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


def _complaint(value: object, secret: str) -> Complaint | None:
    """A complaint out of an error's value: an object, or a bare string. None where there is none."""
    if isinstance(value, str):
        message = tidy(value, secret=secret)
        return Complaint(message=message) if message else None
    if not isinstance(value, dict) or not value:
        return None
    code = value.get("code")
    has_code = isinstance(code, str | int | Decimal) and not isinstance(code, bool)
    said = value.get("message") or value.get("error_message")
    return Complaint(
        code=(tidy(str(code), secret=secret, length=64) or None) if has_code else None,
        message=(tidy(said, secret=secret) or None) if isinstance(said, str) else None,
    )


def _video_urls(output: object) -> Iterator[str]:
    """The urls of all videos in `output`, first things first, however deep the arrays are."""
    waiting = [output]
    while waiting:
        match waiting.pop():
            case list(items):
                waiting.extend(reversed(items))
            case {"type": str(kind), "url": str(url)} if kind in _VIDEOS and url.strip():
                yield url.strip()
            case {"content": content}:
                waiting.append(content)
            case _:
                pass


def _keepable(text: str, secret: str) -> str:
    """Text that any database takes: PostgreSQL refuses NUL, UTF-8 refuses lone surrogates."""
    whole = text.replace("\0", "").encode("utf-8", "replace").decode("utf-8")
    return whole.replace(secret, "[key]")


def _storable(value: object, secret: str, depth: int = _MAX_DEPTH) -> Any:
    """The value as plain JSON again, as close to what came as a database can keep."""
    match value:
        case list() | dict() if depth <= 0:
            return "…"
        case str():
            return _keepable(value, secret)
        case Decimal():
            number = float(value)
            # A number outside of what a float holds would come out as `Infinity`, which is no JSON.
            return number if abs(number) != float("inf") else str(value)
        case list():
            return [_storable(item, secret, depth - 1) for item in value]
        case dict():
            return {_keepable(key, secret): _storable(item, secret, depth - 1) for key, item in value.items()}
        case _:
            return value
