from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from bot.web.operator_page import formats

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0 s"),
        (59.4, "59 s"),
        (60, "1 min"),
        (200, "3 min 20 s"),
        (3600, "1 h"),
        (18_600, "5 h 10 min"),
        (86_400, "1 d"),
        (273_600, "3 d 4 h"),
        (-5, "0 s"),
    ],
)
def test_a_length_of_time_has_two_units_at_most(seconds: float, shown: str) -> None:
    assert formats.span(seconds) == shown


def test_what_is_still_to_come_says_so() -> None:
    assert formats.ago(NOW - timedelta(minutes=5), NOW) == "5 min ago"
    assert formats.ago(NOW + timedelta(minutes=5), NOW) == "in 5 min"


@pytest.mark.parametrize(("used", "limit", "percent"), [(1, 4, 25), (9, 4, 100), (0, 0, 100), (3, None, 0)])
def test_a_share_fits_a_bar(used: int, limit: int | None, percent: int) -> None:
    assert formats.share(Decimal(used), None if limit is None else Decimal(limit)) == percent


def test_a_server_without_a_known_name_is_its_id() -> None:
    assert formats.server(7, {8: "Keepers"}) == "7"
    assert formats.server(8, {8: "Keep\u202eers\n"}) == "Keepers"


def test_an_answer_keeps_its_lines_and_loses_what_turns_them() -> None:
    shown = formats.answer({"message": "gnp\u202e.exe", "page": "<!doctype html><p>secret"})
    assert shown.splitlines()[:2] == ["{", '  "message": "gnp.exe",']
    assert "secret" not in shown


def test_a_long_answer_is_cut() -> None:
    assert len(formats.answer({"many": "x" * 100_000})) <= formats.RESPONSE_MAX
    assert len(formats.text("x" * 100_000)) < 5_000
