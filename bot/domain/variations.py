"""Variations: videos of one picture and prompt that are ordered together and differ in their seeds. Pure."""

import random
from dataclasses import dataclass, replace

from bot.domain.errors import OrderRefused, Problem
from bot.domain.jobs import Order
from bot.domain.orders import SEED_MAX

VARIATIONS_MAX = 4
"""The most videos in one order."""


@dataclass(frozen=True, slots=True)
class Variation:
    """A job's place among those that were ordered with it. group_id: what they share. position: from 1."""

    group_id: str
    position: int
    size: int


def variations_of(order: Order, count: int) -> list[Order]:
    """As many orders, each with a seed of its own; an order of one stays as it is.

    They count up from the seed that was asked for; without one, they are random. Raises: OrderRefused.
    """
    if not 1 <= count <= VARIATIONS_MAX:
        raise OrderRefused(Problem.VARIATIONS_OUT_OF_RANGE)
    if count == 1:
        return [order]
    if order.seed is None:
        seeds = random.sample(range(SEED_MAX + 1), count)
    else:
        seeds = [(order.seed + number) % (SEED_MAX + 1) for number in range(count)]
    return [replace(order, seed=seed) for seed in seeds]
