"""Several videos of one picture and prompt differ in their seeds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.errors import OrderRefused, Problem
from bot.domain.jobs import Order
from bot.domain.orders import SEED_MAX
from bot.domain.variations import VARIATIONS_MAX, variations_of


@given(st.none() | st.integers(0, SEED_MAX), st.integers(2, VARIATIONS_MAX))
def test_each_has_a_seed_of_its_own(seed: int | None, count: int) -> None:
    seeds = [order.seed for order in variations_of(Order("a fox", seed=seed), count)]

    assert len(set(seeds)) == count
    assert all(one is not None and 0 <= one <= SEED_MAX for one in seeds)


def test_the_seeds_count_up_from_the_one_that_was_asked_for() -> None:
    assert [order.seed for order in variations_of(Order("a fox", seed=7), 3)] == [7, 8, 9]


def test_after_the_largest_seed_comes_the_smallest() -> None:
    assert [order.seed for order in variations_of(Order("a fox", seed=SEED_MAX), 2)] == [SEED_MAX, 0]


def test_an_order_of_one_stays_as_it_is() -> None:
    order = Order("a fox")
    assert variations_of(order, 1) == [order]


@pytest.mark.parametrize("count", [-1, 0, VARIATIONS_MAX + 1, 10**9])
def test_other_numbers_are_refused(count: int) -> None:
    with pytest.raises(OrderRefused) as caught:
        variations_of(Order("a fox"), count)
    assert caught.value.reason is Problem.VARIATIONS_OUT_OF_RANGE
