"""Tells the gateway's dialects apart, and brings each answer into one flat form. Pure.

The vendor has published several ways in which the same gateway answers. Which one a deployment speaks is not known
before it has answered, and it may differ between a create and a poll; so nothing here depends on what was asked.

- bare: the task's own fields, `{"id", "status": "in_progress", …}` (the vendor's page of the model).
- wrapped: `{"data": {the task's fields}, "status": {"code": 200, "message": "success"}}` (doc.vtrix.ai,
  `model_api_documentation_extra`). The code in it is an HTTP status, whatever that of the response is.
- queue: `{"request_id", "status_url", "response_url", "cancel_url", "queue_position"}`, and `COMPLETED` for every
  end; with `error` and `error_type` the task failed (cloud.seaart.ai, `docs/model-api/multimodal`, read
  2026-11-28).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from bot.providers.json_responses import parse_task_id

URL_FIELDS = ("status_url", "response_url", "cancel_url")
"""Where the queue says that a task is asked about: how it is, for its result, and to cancel it."""

_URL_FIELDS = frozenset(URL_FIELDS)
_QUEUE_FIELDS = frozenset({*URL_FIELDS, "queue_position"})
_OF_WRAPPER = frozenset({"data", "status", "code", "message"})
_DESCRIBING = frozenset({"message", "error_message", "code", "error_code"})
_NO_ERROR_CODES = frozenset({"", "0", "200"})
_STATUS_OF_NAME = {
    "unauthorized": 401,
    "invalid_api_key": 401,
    "insufficient_balance": 402,
    "rate_limit_exceeded": 429,
}
_ILL = 500


class Dialect(StrEnum):
    """How an answer is written."""

    BARE = "bare"
    WRAPPED = "wrapped"
    QUEUE = "queue"


@dataclass(frozen=True, slots=True)
class FlatAnswer:
    """An answer in one form, whatever its dialect.

    ids: what it calls the task, the usual name first; empty if it names none. fields: of the task. error: an
    object or a text that says what is wrong, None if nothing is. http_status: what the answer itself says about
    the request if that is no success, as an HTTP status; 500 if it says something else.
    """

    dialect: Dialect
    ids: tuple[str, ...]
    fields: Mapping[str, Any]
    error: object = None
    http_status: int | None = None


def flatten(response: Mapping[str, Any], *, is_queue: bool = False) -> FlatAnswer:
    """The answer in one form. is_queue: whether it came from an address of the queue."""
    wrapper = response.get("status")
    data = response.get("data")
    if isinstance(data, dict) and parse_task_id(response.get("id")) is None:
        # Some gateways have the code and its message beside `data`.
        code_in = wrapper if isinstance(wrapper, dict) else response
        outer = {name: value for name, value in response.items() if name not in _OF_WRAPPER}
        fields = {**outer, **data}
    elif isinstance(wrapper, dict):
        fields, code_in = {name: value for name, value in response.items() if name != "status"}, wrapper
    else:
        fields, code_in = dict(response), None
    http_status = None if code_in is None else _http_status(code_in)
    error = _error(fields)
    if error is None and code_in is not None and http_status is not None:
        error = _with_code(code_in)
    if http_status is None:
        http_status = _status_of_name(error)
    # Elsewhere `request_id` is that of the request.
    takes_request_id = not _QUEUE_FIELDS.isdisjoint(fields) or (is_queue and error is None)
    named = (fields.get("id"), fields.get("request_id") if takes_request_id else None)
    usual_id, request_id = map(parse_task_id, named)
    is_queue = is_queue or not _URL_FIELDS.isdisjoint(fields) or (usual_id is None and request_id is not None)
    return FlatAnswer(
        dialect=Dialect.QUEUE if is_queue else Dialect.BARE if code_in is None else Dialect.WRAPPED,
        ids=tuple(task_id for task_id in (usual_id, request_id) if task_id is not None),
        fields=fields,
        error=error,
        http_status=http_status,
    )


def error_of(response: Mapping[str, Any]) -> object:
    """What the body of an HTTP error says is wrong, an object or a text; None if nothing known is in it."""
    answer = flatten(response)
    if answer.error is not None:
        return answer.error
    for value in (answer.fields.get("detail"), answer.fields):
        if (error := _described(value)) is not None:
            return error
    return None


def http_status_of(response: Mapping[str, Any]) -> int | None:
    """The HTTP status that the body of an error names; None if it names none."""
    return flatten(response).http_status


def _error(fields: Mapping[str, Any]) -> object:
    """The error of a task or a request. The queue gives a text and, beside it, what would be its code."""
    error, kind = fields.get("error"), fields.get("error_type")
    match error:
        case str() if error.strip():
            return {"code": kind, "message": error} if isinstance(kind, str) else error
        case dict() if error and not _is_success(error):
            return {"code": kind, **error} if isinstance(kind, str) else error
        case _ if isinstance(kind, str) and kind.strip():
            return {"code": kind}
        case _:
            return None


def _is_success(error: Mapping[str, Any]) -> bool:
    """Whether an error object only says that there is none."""
    text = error.get("message") or error.get("error_message")
    return not text and "code" in error and _scalar(error["code"]) in _NO_ERROR_CODES


def _described(value: object) -> object:
    """What FastAPI's `detail`, a wrapper or a whole body says: a text, or an object with a code or a message."""
    match value:
        case str() if value.strip():
            return value
        case list():
            texts = [text for one in value[:10] if (text := _problem(one))]
            return "; ".join(texts) or None
        case dict() if not _DESCRIBING.isdisjoint(value):
            return _with_code(value)
        case {"msg": _}:
            return _problem(value) or None
        case _:
            return None


def _problem(value: object) -> str:
    """One of the problems that FastAPI found in a request: where, and what."""
    match value:
        case str():
            return value
        case {"msg": str(text), "loc": list(place)}:
            where = ".".join(_scalar(part)[:40] for part in place[:8])
            return f"{where}: {text}"
        case {"msg": str(text)}:
            return text
        case _:
            return ""


def _scalar(value: object) -> str:
    """A text or a whole number as text. Nothing else: the text of nested lists can exhaust the stack."""
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""


def _with_code(value: Mapping[str, Any]) -> Mapping[str, Any]:
    """The gateway's own code is more exact than the HTTP status that it repeats."""
    return {**value, "code": value["error_code"]} if _number(value.get("error_code")) is not None else value


def _http_status(wrapper: Mapping[str, Any]) -> int | None:
    """The status that a wrapper gives; None if it is a success or none."""
    precise = _number(wrapper.get("error_code"))
    if precise is not None and (status := _as_error_status(precise)) in {401, 402, 403, 429}:
        return status
    code = _number(wrapper.get("code"))
    return None if code is None else _as_error_status(code)


def _as_error_status(code: int) -> int | None:
    """An HTTP status, also one with two more digits, such as 40201; None for a success."""
    status = code // 100 if 10_000 <= code < 100_000 else code  # noqa: PLR2004  five digits
    if status == 0 or 200 <= status < 300:  # noqa: PLR2004  a status reads best as its number
        return None
    return status if 400 <= status < 600 else _ILL  # noqa: PLR2004


def _status_of_name(error: object) -> int | None:
    """The status that a named code stands for, where the answer itself gives none."""
    code = error.get("code") if isinstance(error, dict) else None
    return _STATUS_OF_NAME.get(code.strip().lower()) if isinstance(code, str) else None


def _number(value: object) -> int | None:
    """A whole number of at most six digits, as a number or as text."""
    if isinstance(value, str) and len(value) <= 6 and value.isascii() and value.isdigit():  # noqa: PLR2004
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 <= value < 1_000_000 else None  # noqa: PLR2004
