from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.durations import (
    DURATION_MAX,
    parse_duration,
    show_duration,
    window_text,
)
from bot.domain.errors import Problem, UserError


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("30s", timedelta(seconds=30)),
        ("10m", timedelta(minutes=10)),
        ("12h", timedelta(hours=12)),
        ("7d", timedelta(days=7)),
        ("2w", timedelta(weeks=2)),
        ("1d 12h", timedelta(days=1, hours=12)),
        ("1d12h", timedelta(days=1, hours=12)),
        ("1 day, 2 hours", timedelta(days=1, hours=2)),
        (" 90 MIN ", timedelta(minutes=90)),
        ("0s", timedelta(0)),
        ("3650d", DURATION_MAX),
    ],
)
def test_a_duration_is_parsed_in_common_notations(text: str, span: timedelta) -> None:
    assert parse_duration(text) == span


@pytest.mark.parametrize(
    "text", ["", "   ", "7", "d", "7x", "-1d", "1.5h", "1d and", "soon", "7d7", "٣d", "1d" * 60, "9" * 400 + "d"]
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(UserError) as refused:
        parse_duration(text)
    assert refused.value.reason == Problem.DURATION_UNREADABLE


@pytest.mark.parametrize("text", ["3651d", "999999999w"])
def test_a_duration_over_the_maximum_is_refused(text: str) -> None:
    with pytest.raises(UserError) as refused:
        parse_duration(text)
    assert refused.value.reason == Problem.DURATION_TOO_LONG


def test_a_bare_number_has_the_default_unit() -> None:
    assert parse_duration("90", default_unit="s") == timedelta(seconds=90)
    assert parse_duration("2h", default_unit="s") == timedelta(hours=2)


@given(st.integers(0, int(DURATION_MAX.total_seconds())))
def test_a_formatted_duration_is_parsed_to_the_same_value(seconds: int) -> None:
    span = timedelta(seconds=seconds)

    assert parse_duration(show_duration(span)) == span


@pytest.mark.parametrize(
    ("hours", "says"),
    [(1, "1 hour"), (24, "24 hours"), (48, "48 hours"), (50, "50 hours"), (72, "3 days"), (720, "30 days")],
)
def test_a_window_is_shown_in_hours_or_in_whole_days(hours: int, says: str) -> None:
    assert window_text(timedelta(hours=hours)) == says
