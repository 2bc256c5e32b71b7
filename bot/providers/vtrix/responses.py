"""Parses the gateway's responses. Pure: bytes in, values out.

`bot.providers.vtrix.dialects` tells apart how they are written; this module says what their fields mean, and
nothing that it returns can break a log line, a database column or a chat message. The client decides what follows.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any

from bot.domain.jobs import StopResult
from bot.providers.base import TaskStatus
from bot.providers.json_responses import (
    ErrorDetails,
    InvalidResponse,
    json_object,
    parse_error_details,
    sanitize,
    storable_object,
)
from bot.providers.vtrix.dialects import URL_FIELDS, Dialect, FlatAnswer, error_of, flatten, http_status_of

_LARGEST_COST = Decimal(1_000_000)

_EXPIRED = "expired"
_STATUSES = {
    **dict.fromkeys(
        ("in_progress", "pending", "processing", "in_queue", "queued", "running", "submitted"),
        TaskStatus.IN_PROGRESS,
    ),
    **dict.fromkeys(("completed", "done", "success", "succeeded"), TaskStatus.COMPLETED),
    **dict.fromkeys(("failed", "failure", "error", _EXPIRED), TaskStatus.FAILED),
    **dict.fromkeys(("cancelled", "canceled"), TaskStatus.CANCELLED),
    "unknown": TaskStatus.GONE,
}
"""In lower case. An expired task is over without a video, like one that failed."""

_GENERIC = frozenset({"success", "error", "failure"})
"""What an answer that is about no task may say of itself."""

_STOP_BY_STATUS = {400: StopResult.ENDED, 404: StopResult.UNKNOWN}
_STOP_BY_WORD = {"already_completed": StopResult.ENDED, "not_found": StopResult.UNKNOWN}

_MEDIA_LISTS = ("output", "outputs")


@dataclass(frozen=True, slots=True)
class GatewayResponse:
    """One parsed JSON response; None for whatever it does not usably say.

    id: of the task. ids: all names that the response has for it. unknown_status: the status as sent, if it is not
    a known one (it counts as in progress). http_status: see `FlatAnswer`. urls: as sent. said: the whole response.
    raw: see `Task`.
    """

    dialect: Dialect
    id: str | None
    status: TaskStatus | None
    ids: tuple[str, ...] = ()
    unknown_status: str | None = None
    progress: float | None = None
    video_url: str | None = None
    cost_usd: Decimal | None = None
    error: ErrorDetails | None = None
    may_be_billed: bool = False
    http_status: int | None = None
    urls: Mapping[str, str] = field(default_factory=dict)
    said: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    raw: Callable[[], Mapping[str, Any]] = field(default=dict, compare=False)

    @property
    def is_live_task(self) -> bool:
        """Whether it describes a task that runs or has a video, beyond doubt."""
        if self.id is None:
            return False
        is_known = self.unknown_status is None and self.status in {TaskStatus.IN_PROGRESS, TaskStatus.COMPLETED}
        return is_known or bool(self.urls)


def parse_response(
    body: bytes, *, secret: str, is_queue: bool = False, before: Mapping[str, Any] | None = None
) -> GatewayResponse:
    """Parses the response to a create or a poll. `secret` is removed wherever the gateway echoes it.

    is_queue: whether it came from an address of the queue. before: what `said` is of the queue's answer that this
    one completes.
    Raises: InvalidResponse.
    """
    said = {**(before or {}), **json_object(body)}
    answer = flatten(said, is_queue=is_queue)
    fields = answer.fields
    video_url = next(_video_urls([fields.get(name) for name in _MEDIA_LISTS]), None)
    usage = fields.get("usage")
    cost_usd = _cost(usage.get("cost")) if isinstance(usage, dict) else None
    task_id = answer.ids[0] if answer.ids else None
    word = _status_word(fields.get("status"))
    status = _status(answer, word, has_video=video_url is not None)
    is_over_without_a_word_on_money = status in {TaskStatus.CANCELLED, TaskStatus.GONE} or word == _EXPIRED
    error = parse_error_details(answer.error, secret)
    if error is None and status is TaskStatus.FAILED:
        error = parse_error_details(error_of(said), secret)
    if word == _EXPIRED:
        error = ErrorDetails(error.code or _EXPIRED, error.message) if error else ErrorDetails(_EXPIRED)
    return GatewayResponse(
        dialect=answer.dialect,
        id=task_id,
        ids=answer.ids,
        status=status,
        unknown_status=_unknown(fields.get("status"), word, secret),
        progress=_progress(fields.get("progress")),
        video_url=video_url,
        cost_usd=cost_usd,
        error=error,
        may_be_billed=is_over_without_a_word_on_money and cost_usd is None,
        http_status=answer.http_status,
        urls={name: url for name in URL_FIELDS if isinstance(url := fields.get(name), str)},
        said=said,
        raw=lambda: storable_object(said, secret=secret),
    )


def parse_error(body: bytes, *, secret: str) -> ErrorDetails:
    """Parses the body of an HTTP error, which may be anything; empty if it has no known form."""
    try:
        error = error_of(json_object(body))
    except InvalidResponse:
        return ErrorDetails()
    return parse_error_details(error, secret) or ErrorDetails()


def parse_http_status(body: bytes) -> int | None:
    """The HTTP status that the body of an error names, in a code or as a number; None if it names none."""
    try:
        return http_status_of(json_object(body))
    except InvalidResponse:
        return None


def parse_stop(status: int, body: bytes) -> StopResult | None:
    """What the queue answered to a cancellation with this HTTP status; None if that isn't known."""
    if status >= 300:  # noqa: PLR2004  a status reads best as its number
        return _STOP_BY_STATUS.get(status)
    try:
        answer = flatten(json_object(body), is_queue=True)
    except InvalidResponse:
        return StopResult.ASKED
    if answer.http_status is not None:
        return _STOP_BY_STATUS.get(answer.http_status)
    return _STOP_BY_WORD.get(_status_word(answer.fields.get("status")), StopResult.ASKED)


def _status_word(value: object) -> str:
    """The status in lower case, with underscores; empty if there is none."""
    if not isinstance(value, str):
        return ""
    return "_".join(value[:100].replace("-", " ").replace("_", " ").lower().split())


def _unknown(value: object, word: str, secret: str) -> str | None:
    """The status as sent, if it is not a known one."""
    is_known = not isinstance(value, str) or not word or word in _STATUSES
    return None if is_known else sanitize(str(value), secret=secret, length=40)


def _status(answer: FlatAnswer, word: str, *, has_video: bool) -> TaskStatus | None:
    """What has become of the task; None if the answer describes none."""
    is_failed = answer.error is not None and not has_video
    if word in _GENERIC and answer.dialect is Dialect.BARE and not answer.ids and not has_video:
        return None
    match _STATUSES.get(word):
        case TaskStatus.COMPLETED if is_failed:
            return _ended_by_error(answer)
        case None if word:
            return TaskStatus.IN_PROGRESS
        case None if has_video:
            return TaskStatus.COMPLETED
        case None if is_failed and answer.ids and answer.http_status is None:
            return _ended_by_error(answer)
        case status:
            return status


def _ended_by_error(answer: FlatAnswer) -> TaskStatus:
    """For the queue a cancelled task is completed, with an error of this type."""
    kind = answer.fields.get("error_type")
    is_cancelled = isinstance(kind, str) and _STATUSES.get(_status_word(kind)) is TaskStatus.CANCELLED
    return TaskStatus.CANCELLED if is_cancelled else TaskStatus.FAILED


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
            case {"url": str(url), "type": str(kind)} | {"url": str(url), "content_type": str(kind)} if (
                kind.lower().startswith("video") and _is_text(url)
            ):
                yield url.strip()
            case {"content": content}:
                pending.append(content)
            case _:
                pass


def _is_text(url: str) -> bool:
    """Whether this has characters, and only such as any database and any request takes."""
    try:
        return bool(url.strip()) and "\0" not in url and bool(url.encode())
    except UnicodeEncodeError:
        return False
