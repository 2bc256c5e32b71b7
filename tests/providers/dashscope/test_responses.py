"""DashScope's answers as values."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given

from bot.domain.jobs import Resolution
from bot.providers.base import TaskStatus
from bot.providers.dashscope.prices import Usage
from bot.providers.dashscope.responses import TaskResponse, parse_error, parse_response
from bot.providers.json_responses import ErrorDetails, InvalidResponse
from tests.providers.json_values import JSON_OBJECTS

KEY = "sk-a-secret"


def read(**answer: Any) -> TaskResponse:
    return parse_response(json.dumps(answer).encode(), secret=KEY)


@pytest.mark.parametrize(
    ("said", "means", "pending"),
    [
        ("PENDING", TaskStatus.IN_PROGRESS, True),
        ("RUNNING", TaskStatus.IN_PROGRESS, False),
        ("SUSPENDED", TaskStatus.IN_PROGRESS, False),
        ("SUCCEEDED", TaskStatus.COMPLETED, False),
        ("succeeded", TaskStatus.COMPLETED, False),
        ("FAILED", TaskStatus.FAILED, False),
        ("CANCELED", TaskStatus.CANCELLED, False),
        ("CANCELLED", TaskStatus.CANCELLED, False),
        ("UNKNOWN", TaskStatus.GONE, False),
    ],
)
def test_every_known_status_is_recognised(said: str, means: TaskStatus, *, pending: bool) -> None:
    response = read(output={"task_id": "t", "task_status": said})
    assert (response.status, response.is_pending, response.unknown_status) == (means, pending, None)


def test_an_unknown_status_counts_as_in_progress_and_is_reported() -> None:
    response = read(output={"task_status": "WARMING\nUP"})
    assert (response.status, response.unknown_status) == (TaskStatus.IN_PROGRESS, "WARMING UP")


@pytest.mark.parametrize("output", [None, [], "x", {}, {"task_status": 7}, {"task_status": " "}])
def test_an_output_without_a_status_has_none(output: object) -> None:
    assert read(output=output).status is None


@pytest.mark.parametrize(
    ("usage", "parsed"),
    [
        (
            {"video_count": 1, "video_duration": 5, "SR": 480},
            Usage(Resolution.P480, Decimal(5), 1),
        ),
        (
            {"video_count": "1", "video_duration": "4.5", "SR": "720P", "video_ratio": "16:9"},
            Usage(Resolution.P720, Decimal("4.5"), 1),
        ),
        ({"video_count": 1, "video_duration": 5, "SR": "1080"}, Usage(Resolution.P1080, Decimal(5), 1)),
        *(
            ({"video_count": 1, "video_duration": 5, "SR": 480} | odd, None)
            for odd in (
                {"SR": 999},
                {"SR": None},
                {"SR": [[480]]},
                {"SR": True},
                {"video_duration": 0},
                {"video_duration": -5},
                {"video_duration": "five"},
                {"video_duration": "NaN"},
                {"video_duration": "sNaN"},
                {"video_duration": 1e300},
                {"video_duration": True},
                {"video_count": 0},
                {"video_count": 1.5},
                {"video_count": "1e999999999"},
                {"video_count": None},
            )
        ),
        ({}, None),
        (None, None),
        ([1], None),
    ],
)
def test_a_usage_is_whole_or_unknown(usage: object, parsed: Usage | None) -> None:
    assert read(output={}, usage=usage).usage == parsed


@pytest.mark.parametrize("url", [None, "", "  ", 7, ["https://v"]])
def test_a_video_url_is_text(url: object) -> None:
    assert read(output={"video_url": url}).video_url is None
    assert read(output={"video_url": " https://v "}).video_url == "https://v"


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (
            {"output": {"task_status": "FAILED", "code": "InternalError", "message": "Broken"}},
            ErrorDetails("InternalError", "Broken"),
        ),
        ({"code": "InvalidParameter", "message": "Bad"}, ErrorDetails("InvalidParameter", "Bad")),
        ({"output": {"task_id": "t"}, "code": "", "message": ""}, None),
        ({"output": {"task_id": "t", "code": None, "message": None}}, None),
        ({}, None),
    ],
)
def test_an_error_stands_in_the_output_or_beside_it(answer: dict[str, Any], error: ErrorDetails | None) -> None:
    assert read(**answer).error == error


def test_the_body_of_an_http_error_is_parsed() -> None:
    body = {"code": "InvalidURL", "message": "No\npicture", "request_id": "r"}
    assert parse_error(json.dumps(body).encode(), secret=KEY) == ErrorDetails("InvalidURL", "No picture")
    assert parse_error(b"{}", secret=KEY) == ErrorDetails()
    with pytest.raises(InvalidResponse):
        parse_error(b"<html>", secret=KEY)


def test_an_echoed_key_is_redacted_everywhere() -> None:
    response = read(output={"task_status": "FAILED", "code": KEY, "message": f"bad {KEY}", "more": [KEY]})
    assert KEY not in repr(response) + repr(response.raw())


@pytest.mark.full
@given(JSON_OBJECTS, JSON_OBJECTS)
def test_any_answer_is_read(answer: dict[str, Any], output: dict[str, Any]) -> None:
    response = read(**{"usage": answer, **answer, "output": output})
    json.dumps(response.raw(), allow_nan=False)


@pytest.mark.parametrize(
    "body",
    [
        b'{"output": ' + b'{"output": ' * 900 + b"1" + b"}" * 901,
        b'{"usage": {"SR": ' + b"[" * 900 + b"]" * 900 + b"}}",
    ],
)
def test_deep_answers_are_read(body: bytes) -> None:
    assert parse_response(body, secret=KEY).status is None
