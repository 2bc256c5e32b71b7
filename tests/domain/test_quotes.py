"""A quote is made of the decision about an order, and says what that takes."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

from bot.domain.jobs import Resolution
from bot.domain.limits import Credit, Limits, Usage
from bot.domain.quotas import LimitReached, evaluate_together
from bot.domain.quotes import Quote, quote_of
from tests.domain.limit_factories import NOW, limits, usage
from tests.domain.test_quotas_together import ROOMY

TWO_CREDITS = (Credit(7, 1, None), Credit(8, 1, None))


def quote(limits: Limits, usage: Usage, count: int = 1) -> Quote:
    """What so many videos take that are accepted."""
    verdict = evaluate_together(replace(ROOMY, limits=limits, usage=usage), count, NOW)
    assert not isinstance(verdict, LimitReached)
    return quote_of(limits, usage, verdict, Resolution.P480, Decimal("0.20"))


def test_a_video_that_the_window_has_room_for_takes_one_of_those_left() -> None:
    assert quote(limits(videos=5), usage(3, 2)) == Quote(
        videos=1,
        by_credits=0,
        left=3,
        window=timedelta(hours=24),
        credits_left=0,
        resolution=Resolution.P480,
        estimate=Decimal("0.20"),
    )


def test_once_the_window_is_full_credits_pay() -> None:
    said = quote(limits(videos=2), replace(usage(3, 2), credits=TWO_CREDITS))

    assert (said.by_window, said.by_credits, said.left, said.credits_left) == (0, 1, 0, 2)


def test_several_videos_take_what_is_left_and_then_credits_and_cost_their_sum() -> None:
    said = quote(limits(videos=3, max_active=9), replace(usage(3, 2), credits=TWO_CREDITS), count=3)

    assert (said.videos, said.by_window, said.by_credits) == (3, 1, 2)
    assert (said.left, said.credits_left) == (1, 2)
    assert said.estimate == Decimal("0.60")


def test_of_who_is_exempt_nothing_is_taken() -> None:
    assert quote(limits(videos=0, exempt=True), usage(3, 2)).left is None
