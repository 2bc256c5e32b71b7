from decimal import Decimal

import pytest

from bot.domain.errors import NotPossible
from bot.services.operator import operator_input


@pytest.mark.parametrize("text", ["123456789012345678", " 5 ", str(2**63 - 1)])
def test_a_servers_id_is_a_number(text: str) -> None:
    assert operator_input.server_id(text) == int(text)


@pytest.mark.parametrize("text", ["", "0", "-5", "my server", "5.0", "²", "٥", str(2**63), "9" * 30])
def test_an_invalid_server_id_is_refused(text: str) -> None:
    with pytest.raises(NotPossible, match="NO_SERVER"):
        operator_input.server_id(text)


@pytest.mark.parametrize("text", ["task-1", "0a1b2c3d", "a.b:c_d-e", " cgt-2026 "])
def test_a_task_id_is_accepted_as_the_gateway_shows_it(text: str) -> None:
    assert operator_input.task_id(text) == text.strip()


@pytest.mark.parametrize(
    "text", ["", "abc", "a b c d", "../../x", "a/b/c", "task?x=1", "task#1", "-abcd", "a" * 201]
)
def test_a_task_id_that_is_unsafe_in_a_url_is_refused(text: str) -> None:
    with pytest.raises(NotPossible, match="NO_TASK_ID"):
        operator_input.task_id(text)


def test_an_amount_is_parsed_and_the_word_setting_removes_it() -> None:
    assert operator_input.amount("2.50", Decimal(10)) == Decimal("2.50")
    assert operator_input.amount(" Setting ", Decimal(10)) is None


def test_none_is_accepted_only_if_the_setting_is_none() -> None:
    assert operator_input.amount("none", None) is None
    with pytest.raises(NotPossible, match="BudgetIsSet"):
        operator_input.amount("none", Decimal(10))


@pytest.mark.parametrize(("text", "count"), [("1", 1), ("100000", 100_000), (" 7 ", 7), ("setting", None)])
def test_a_queue_length_is_a_number_or_the_word_setting(text: str, count: int | None) -> None:
    assert operator_input.count(text) == count


@pytest.mark.parametrize("text", ["0", "100001", "-1", "many", "1.5", "none", "9" * 5000])
def test_an_invalid_queue_length_is_refused(text: str) -> None:
    with pytest.raises(NotPossible, match="QUEUE_OUT_OF_BOUNDS"):
        operator_input.count(text)
