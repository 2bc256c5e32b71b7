import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from bot.providers.base import TaskStatus
from bot.providers.http_client import retry_after_s
from bot.providers.json_responses import ErrorDetails, InvalidResponse, sanitize
from bot.providers.vtrix.responses import GatewayResponse, parse_error, parse_response

KEY = "vtx-secret"
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def read(**answer: Any) -> GatewayResponse:
    return parse_response(json.dumps(answer).encode(), secret=KEY)


@pytest.mark.parametrize(
    ("said", "means"),
    [
        *(
            (said, TaskStatus.IN_PROGRESS)
            for said in ("in_progress", "pending", "processing", "in_queue", "queued")
        ),
        *((said, TaskStatus.COMPLETED) for said in ("completed", "done", "COMPLETED")),
        ("failed", TaskStatus.FAILED),
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
