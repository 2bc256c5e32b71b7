import pytest

from tests.soak.levels import ALLOWED, Allowance, rises, thirds

NONE = Allowance(0, 0)


def test_a_rise_during_the_warm_up_only_is_not_reported() -> None:
    assert not rises([1.0, 20.0, *[50.0] * 8], NONE)


def test_a_rise_from_third_to_third_is_reported() -> None:
    assert rises([float(number) for number in range(100)], NONE)


def test_a_level_that_goes_up_and_down_is_not_reported() -> None:
    assert not rises([10.0, 10.0, 10.0, 40.0, 40.0, 40.0, 20.0, 20.0, 20.0, 20.0], NONE)


@pytest.mark.parametrize(("end", "up"), [(109.0, False), (115.0, True)])
def test_a_rise_within_its_allowance_is_not_reported(end: float, up: bool) -> None:  # noqa: FBT001 - a table's column
    assert rises([100.0] * 5 + [105.0] * 3 + [end] * 3, Allowance(0.05, 5)) is up


def test_the_medians_are_taken_per_third() -> None:
    assert thirds([0.0, 0.0, 1.0, 1.0, 2.0, 2.0, 3.0, 3.0, 3.0, 3.0]) == (1, 2, 3)


def test_a_leak_is_reported_for_every_level() -> None:
    for name, allowance in ALLOWED.items():
        assert rises([10.0 * number for number in range(1000)], allowance), name
