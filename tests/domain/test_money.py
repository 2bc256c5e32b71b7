from decimal import Decimal

import pytest

from bot.domain.errors import NotPossible, Problem
from bot.domain.money import USD_MAX, parse_usd, show_limit, show_share, show_usd


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("5", "5"),
        ("0", "0"),
        ("2.50", "2.50"),
        (".5", "0.5"),
        ("$2.50", "2.5"),
        ("$ 2.50", "2.5"),
        ("2.50$", "2.5"),
        (" 2.50 USD ", "2.5"),
        ("0.000000001", "0.000000001"),
        ("1000000", "1000000"),
    ],
)
def test_an_amount_is_parsed_in_common_notations(text: str, amount: str) -> None:
    assert parse_usd(text) == Decimal(amount)


@pytest.mark.parametrize(
    "text",
    ["", " ", "-1", "+1", "2,50", "1,000", "1.000,50", "5.", "$", "nan", "inf", "1e3", "five", "€5", "5 EUR", "٥",
     "0.0000000001", "5 5", "9" * 16],
)  # fmt: skip
def test_an_unreadable_amount_is_refused(text: str) -> None:
    with pytest.raises(NotPossible) as refused:
        parse_usd(text)
    assert refused.value.reason == Problem.AMOUNT_UNREADABLE


def test_an_amount_over_the_maximum_is_refused() -> None:
    with pytest.raises(NotPossible) as refused:
        parse_usd(f"{USD_MAX}.01")
    assert refused.value.reason == Problem.AMOUNT_TOO_LARGE


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        ("0", "$0.00"),
        ("5", "$5.00"),
        ("2.5", "$2.50"),
        ("2.500", "$2.50"),
        ("0.125", "$0.125"),
        ("0.000000001", "$0.000000001"),
        ("-0.2", "-$0.20"),
        ("1E+3", "$1,000.00"),
        ("1234567.891", "$1,234,567.891"),
    ],
)
def test_an_amount_is_shown_with_all_its_digits(amount: str, shown: str) -> None:
    assert show_usd(Decimal(amount)) == shown


def test_a_limit_of_none_is_shown_as_no_limit() -> None:
    assert show_limit(None) == "no limit"
    assert show_limit(Decimal(0)) == "$0.00"


@pytest.mark.parametrize(
    ("used", "limit", "shown"),
    [
        ("0", "10", "0%"),
        ("9.99", "10", "99%"),
        ("10", "10", "100%"),
        ("12", "10", "120%"),
        ("0", "0", "100%"),
        ("-1", "10", "0%"),
        ("5", None, "no limit"),
    ],
)
def test_a_share_is_100_percent_only_if_the_limit_is_reached(used: str, limit: str | None, shown: str) -> None:
    assert show_share(Decimal(used), None if limit is None else Decimal(limit)) == shown
