import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from bot.providers.base import TaskStatus
from bot.providers.http_client import retry_after_s
from bot.providers.json_responses import ErrorDetails, InvalidResponse, sanitize
from bot.providers.vtrix.dialects import Dialect
from bot.providers.vtrix.responses import (
    GatewayResponse,
    parse_error,
    parse_response,
)

KEY = "vtx-secret"
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def read(**answer: Any) -> GatewayResponse:
    return parse_response(json.dumps(answer).encode(), secret=KEY)


@pytest.mark.parametrize(
    ("said", "means"),
    [
        *(
            (said, TaskStatus.IN_PROGRESS)
            for said in ("in_progress", "pending", "processing", "in_queue", "queued", "running", "IN_QUEUE")
        ),
        *(
            (said, TaskStatus.COMPLETED)
            for said in ("completed", "done", "success", "succeeded", "COMPLETED", " Success ")
        ),
        *((said, TaskStatus.FAILED) for said in ("failed", "error", "failure", "expired", "FAILED")),
        *((said, TaskStatus.CANCELLED) for said in ("cancelled", "canceled", "CANCELED")),
        *((said, TaskStatus.GONE) for said in ("UNKNOWN", "unknown")),
    ],
)
def test_every_known_status_is_recognised(said: str, means: TaskStatus) -> None:
    response = read(id="1", status=said)
    assert (response.status, response.unknown_status) == (means, None)


def test_an_unknown_status_counts_as_in_progress_and_is_reported() -> None:
    response = read(id="1", status="Warming\nup")
    assert (response.status, response.unknown_status) == (TaskStatus.IN_PROGRESS, "Warming up")


def test_a_video_without_a_status_is_a_completed_task() -> None:
    assert read(id="1", output=[{"content": [{"type": "video", "url": "u"}]}]).status is TaskStatus.COMPLETED


def test_an_error_with_an_id_but_no_status_is_a_failed_task() -> None:
    assert read(id="1", error="broken").status is TaskStatus.FAILED


def test_an_error_without_an_id_has_no_status() -> None:
    assert read(error="broken").status is None


@pytest.mark.parametrize(
    ("sent", "read_as"),
    [("a-1", "a-1"), (17, "17"), (True, None), (None, None), ("", None), (" ", None), ("a\nb", None), ([], None)],
)
def test_ids_are_text_or_whole_numbers(sent: object, read_as: str | None) -> None:
    assert read(id=sent).id == read_as


@pytest.mark.parametrize(
    ("sent", "read_as"),
    [
        (0.35, 0.35),
        (0, 0.0),
        (1, 1.0),
        (-2, 0.0),
        (35, 1.0),
        (True, None),
        ("0.5", None),
        (None, None),
        (float("nan"), None),
    ],
)
def test_progress_is_a_number_from_0_to_1(sent: object, read_as: float | None) -> None:
    assert read(id="1", progress=sent).progress == read_as


@pytest.mark.parametrize(
    ("sent", "read_as"),
    [
        ("0.12", Decimal("0.12")),
        (" 0.12 ", Decimal("0.12")),
        (0.1, Decimal("0.1")),
        (2, Decimal(2)),
        ("0", Decimal(0)),
        *((text, None) for text in ("", "free", "$1", "-0.1", "NaN", "Infinity", "sNaN", "1e99")),
        (-1, None),
        (True, None),
        (None, None),
        ([], None),
        (float("nan"), None),
    ],
)
def test_a_cost_is_an_exact_decimal_or_unknown(sent: object, read_as: Decimal | None) -> None:
    assert read(id="1", usage={"cost": sent}).cost_usd == read_as


@pytest.mark.parametrize("usage", [None, [], "0.1", {}, {"discount": 0.9}])
def test_a_usage_without_a_cost_has_an_unknown_cost(usage: object) -> None:
    assert read(id="1", usage=usage).cost_usd is None


@pytest.mark.parametrize(
    "output",
    [
        [{"content": [{"type": "video", "url": "https://v"}]}],
        [{"content": [{"type": "video_url", "url": "https://v"}]}],
        [{"content": [{"type": "image", "url": "https://i"}, {"type": "video", "url": "https://v"}]}],
        [{"content": []}, {"content": [{"type": "video"}, {"type": "video", "url": "https://v"}]}],
        [None, "x", {"content": None}, {"content": [[{"type": "video", "url": " https://v "}]]}],
        [{"content": [{"type": "video", "url": "https://v"}, {"type": "video", "url": "https://second"}]}],
    ],
)
def test_the_first_video_with_a_url_is_used(output: object) -> None:
    assert read(id="1", output=output).video_url == "https://v"


@pytest.mark.parametrize(
    "output",
    [
        None,
        "https://v",
        {},
        [],
        [{"content": [{"type": "image", "url": "https://i"}]}],
        [{"content": [{"type": "video", "url": 7}]}],
    ],
)
def test_an_output_without_a_video_has_no_url(output: object) -> None:
    assert read(id="1", output=output).video_url is None


@pytest.mark.parametrize(
    ("error", "parsed"),
    [
        ({"code": "002014001", "message": "Too dark"}, ErrorDetails("002014001", "Too dark")),
        ({"code": 17, "error_message": "Too dark"}, ErrorDetails("17", "Too dark")),
        ({"message": "Too dark"}, ErrorDetails(None, "Too dark")),
        ({"code": True, "message": ["x"]}, ErrorDetails(None, None)),
        ("Too dark", ErrorDetails(None, "Too dark")),
        ("", None),
        (None, None),
        ({}, None),
    ],
)
def test_an_error_is_an_object_or_a_bare_string(error: object, parsed: ErrorDetails | None) -> None:
    assert read(id="1", status="failed", error=error).error == parsed


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b'{"message": "No picture"}', ErrorDetails(None, "No picture")),
        (b'{"error": "No picture"}', ErrorDetails(None, "No picture")),
        (b'{"error": {"code": 4, "message": "No picture"}}', ErrorDetails("4", "No picture")),
        (b"<html>", ErrorDetails()),
        (b"", ErrorDetails()),
        (b"[1]", ErrorDetails()),
    ],
)
def test_the_body_of_an_http_error_is_parsed_in_all_its_forms(body: bytes, error: ErrorDetails) -> None:
    assert parse_error(body, secret=KEY) == error


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"[]", b"7", b"null", b'{"id": ', b"\xff\xfe\xff", b"[" * 200_000, b"9" * 5000],
)
def test_a_body_that_is_not_a_json_object_is_invalid(body: bytes) -> None:
    with pytest.raises(InvalidResponse):
        parse_response(body, secret=KEY)


def test_unknown_fields_are_kept_unchanged() -> None:
    sent = {
        "id": "1",
        "usage": {"cost": 0.1, "tokens": 10**20, "discount": 0.9},
        "metadata": {"a": [1.5, None, True, {"b": "ü"}]},
        "created_at": "2026-01-02T03:04:05Z",
    }
    assert read(**sent).raw() == sent


def test_the_raw_response_can_be_stored_in_any_database() -> None:
    body = rb'{"id": "1", "a": "nul \u0000 half \ud800", "b": NaN, "c": 1e999, "d\u0000": 1, "e": -1e999}'
    raw = parse_response(body, secret=KEY).raw()
    stored = json.dumps(raw, allow_nan=False, ensure_ascii=False).encode()
    assert b"\\u0000" not in stored
    assert raw["c"] == "1E+999"


def test_an_echoed_key_is_redacted_everywhere() -> None:
    response = read(
        id="1", status="failed", error={"code": KEY, "message": f"bad key {KEY}"}, extra={KEY: [f"Bearer {KEY}"]}
    )
    assert KEY not in repr(response)
    assert response.error == ErrorDetails("[key]", "bad key [key]")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a\x00b\x1b[31mc\r\n\td", "a b [31mc d"),
        ("left\u202eright\u200bend", "left right end"),
        ("a" * 299, "a" * 299),
        ("a" * 400, "a" * 299 + "…"),
        ("画像が暗い 🦊", "画像が暗い 🦊"),
    ],
    ids=["control characters", "invisible characters", "short", "long", "any script"],
)
def test_sanitized_text_is_one_short_line(text: str, line: str) -> None:
    assert sanitize(text, secret=KEY) == line


@pytest.mark.parametrize(
    ("said", "wait_s"),
    [
        ("0", 0.0),
        ("120", 120.0),
        (" 1.5 ", 1.5),
        ("Fri, 02 Jan 2026 03:05:05 GMT", 60.0),
        ("Friday, 02-Jan-26 03:05:05 GMT", 60.0),
        ("Fri, 02 Jan 2026 03:05:05", 60.0),
        ("Fri, 02 Jan 2026 03:00:00 GMT", 0.0),
        *((bad, None) for bad in ("", "-5", "soon", "nan", "inf", "1e9", "9" * 30, "١٢")),
        *((far, 86_400.0) for far in ("86401", "999999999", "Fri, 02 Jan 2036 03:05:05 GMT")),
        ("Fri, 99 Jan 2026 03:05:05 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date_or_ignored(said: str, wait_s: float | None) -> None:
    assert retry_after_s({"Retry-After": said}, now=NOW) == wait_s


def test_a_missing_retry_after_is_none() -> None:
    assert retry_after_s({}, now=NOW) is None


def test_a_retry_date_is_measured_by_the_gateways_own_clock() -> None:
    headers = {"Retry-After": "Fri, 02 Jan 2026 09:00:30 GMT", "Date": "Fri, 02 Jan 2026 09:00:00 GMT"}
    assert retry_after_s(headers, now=NOW) == 30.0


def test_a_deeply_nested_response_is_parsed_and_its_raw_form_is_truncated() -> None:
    response = parse_response(b'{"id": "t-1", "x": ' + b"[" * 900 + b"]" * 900 + b"}", secret=KEY)
    assert response.id == "t-1"
    assert "…" in json.dumps(response.raw(), ensure_ascii=False)


def test_a_cost_of_negative_zero_is_zero() -> None:
    response = parse_response(b'{"id": "t-1", "usage": {"cost": "-0.00"}}', secret=KEY)
    assert str(response.cost_usd) == "0.00"


def test_a_number_that_no_decimal_can_hold_is_no_number() -> None:
    response = parse_response(
        b'{"id": "t-1", "progress": 1e9999999999999999999, "usage": {"cost": 1e9}}', secret=KEY
    )
    assert (response.id, response.progress, response.cost_usd) == ("t-1", None, None)


@pytest.mark.parametrize(
    ("answer", "dialect", "ids"),
    [
        ({"id": "t"}, Dialect.BARE, ("t",)),
        ({"id": "t", "request_id": "r"}, Dialect.BARE, ("t",)),
        ({"id": "t", "data": {"id": "other"}}, Dialect.BARE, ("t",)),
        ({"id": "t", "queue_position": 2, "request_id": "r"}, Dialect.BARE, ("t", "r")),
        ({"id": "t", "status": {"code": 200}}, Dialect.WRAPPED, ("t",)),
        ({"data": {"id": 7}, "status": {"code": 200}}, Dialect.WRAPPED, ("7",)),
        ({"data": {"id": "t"}, "code": 0}, Dialect.WRAPPED, ("t",)),
        ({"data": {"id": "t"}, "status": "success"}, Dialect.WRAPPED, ("t",)),
        ({"request_id": "r", "status_url": "/x"}, Dialect.QUEUE, ("r",)),
        ({"data": {"request_id": "r", "cancel_url": "/x"}}, Dialect.QUEUE, ("r",)),
        ({"request_id": "r", "queue_position": 0}, Dialect.QUEUE, ("r",)),
        ({"request_id": "r"}, Dialect.BARE, ()),
        ({"request_id": "r", "error": {"code": "RATE_LIMIT_EXCEEDED"}}, Dialect.BARE, ()),
    ],
)
def test_the_dialect_is_told_by_the_answer(answer: dict[str, Any], dialect: Dialect, ids: tuple[str, ...]) -> None:
    response = read(**answer)
    assert (response.dialect, response.ids, response.id) == (dialect, ids, ids[0] if ids else None)


def test_a_wrapped_answer_has_the_fields_of_its_task() -> None:
    response = read(
        data={"id": "t", "status": "success", "output": [{"type": "video", "url": "u"}], "usage": {"cost": "0.2"}},
        status={"code": 200, "message": "success"},
    )
    assert (response.status, response.video_url, response.cost_usd) == (TaskStatus.COMPLETED, "u", Decimal("0.2"))
    assert (response.error, response.http_status) == (None, None)


@pytest.mark.parametrize(
    ("status", "http_status"),
    [
        ({"code": 200}, None),
        ({"code": "200"}, None),
        ({"code": 0}, None),
        ({"code": 201}, None),
        ({"message": "success"}, None),
        ({"code": 404}, 404),
        ({"code": "402"}, 402),
        ({"code": 40203}, 402),
        ({"code": 400, "error_code": 40203}, 402),
        ({"code": 400, "error_code": "X"}, 400),
        ({"code": 302}, 500),
        ({"code": 1001}, 500),
        ({"code": True}, None),
        ({"code": [1]}, None),
        ({"code": "9" * 400}, None),
    ],
)
def test_a_wrapped_answer_may_have_an_http_status_of_its_own(
    status: dict[str, Any], http_status: int | None
) -> None:
    assert read(data={}, status=status).http_status == http_status


@pytest.mark.parametrize(
    ("answer", "status", "error"),
    [
        ({"error": "broken"}, TaskStatus.FAILED, ErrorDetails(None, "broken")),
        ({"error": "broken", "error_type": "X"}, TaskStatus.FAILED, ErrorDetails("X", "broken")),
        ({"error": None, "error_type": "X"}, TaskStatus.FAILED, ErrorDetails("X", None)),
        ({"error": {"message": "broken"}, "error_type": "X"}, TaskStatus.FAILED, ErrorDetails("X", "broken")),
        (
            {"error": "stopped", "error_type": "CANCELED"},
            TaskStatus.CANCELLED,
            ErrorDetails("CANCELED", "stopped"),
        ),
        ({"error": None}, TaskStatus.COMPLETED, None),
        ({"error": ""}, TaskStatus.COMPLETED, None),
        ({"error": {}}, TaskStatus.COMPLETED, None),
        ({"error": {"code": 0, "message": ""}}, TaskStatus.COMPLETED, None),
    ],
)
def test_a_completed_task_with_an_error_failed(
    answer: dict[str, Any], status: TaskStatus, error: ErrorDetails | None
) -> None:
    response = read(status="COMPLETED", request_id="r", queue_position=0, **answer)
    assert (response.status, response.error) == (status, error)


def test_a_video_counts_more_than_an_error() -> None:
    response = read(id="1", status="completed", output=[{"type": "video", "url": "u"}], error="a warning")
    assert (response.status, response.video_url) == (TaskStatus.COMPLETED, "u")


@pytest.mark.parametrize("word", ["success", "error", "failure"])
def test_a_word_that_says_nothing_about_a_task_is_no_task(word: str) -> None:
    assert read(status=word).status is None
    assert read(data={"status": word}, status={"code": 200}).status is not None


def test_an_expired_task_says_so_and_may_be_billed() -> None:
    response = read(id="1", status="expired")
    assert (response.error, response.may_be_billed) == (ErrorDetails("expired", None), True)
    assert not read(id="1", status="expired", usage={"cost": 0}).may_be_billed


@pytest.mark.parametrize(
    ("sent", "url"),
    [
        ({"outputs": [{"type": "video", "url": "https://v"}]}, "https://v"),
        ({"output": {"type": "video", "url": "https://v"}}, "https://v"),
        ({"outputs": [{"content_type": "video/mp4", "url": "https://v"}]}, "https://v"),
        ({"outputs": [{"type": "image", "url": "https://i"}, {"type": "VIDEO", "url": "https://v"}]}, "https://v"),
        ({"output": [], "outputs": [{"type": "video", "url": "https://v"}]}, "https://v"),
        ({"output": [{"type": "video", "url": "https://\ud800"}]}, None),
        ({"output": [{"type": "video", "url": "https://v\0"}]}, None),
    ],
)
def test_a_video_is_found_without_content_and_is_text_that_can_be_stored(sent: Any, url: str | None) -> None:
    assert read(id="1", **sent).video_url == url


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"detail": "App not found"}, ErrorDetails(None, "App not found")),
        ({"detail": {"code": "X", "message": "no"}}, ErrorDetails("X", "no")),
        (
            {"detail": [{"loc": ["body", "seed"], "msg": "no number"}, {"msg": "no"}, 7]},
            ErrorDetails(None, "body.seed: no number; no"),
        ),
        ({"detail": []}, ErrorDetails()),
        ({"status": {"code": 402, "message": "no", "error_code": 40203}}, ErrorDetails("40203", "no")),
        ({"data": None, "status": {"code": 404, "message": "no"}}, ErrorDetails("404", "no")),
        ({"error": {"code": "X", "message": "no"}, "request_id": "r"}, ErrorDetails("X", "no")),
        ({"error": "no", "error_type": "X"}, ErrorDetails("X", "no")),
        ({"code": "X", "message": "no"}, ErrorDetails("X", "no")),
    ],
)
def test_errors_are_read_in_every_dialect(body: dict[str, Any], error: ErrorDetails) -> None:
    assert parse_error(json.dumps(body).encode(), secret=KEY) == error
