"""Several videos that are ordered at once are accepted together or not at all."""

from dataclasses import replace
from decimal import Decimal

import pytest

from bot.domain.guilds import Budget, GuildSettings
from bot.domain.limits import Credit
from bot.domain.quotas import (
    FewerFit,
    LimitName,
    QuotaContext,
    Spent,
    VideoLimitReached,
    WithinQuota,
    evaluate_quota,
    evaluate_together,
)
from tests.domain.limit_factories import NOW, limits, usage
from tests.domain.test_quotas import AT_LIMIT, FREE

ROOMY = replace(FREE, limits=limits(max_active=10, videos=10), max_queued=100)
USD = Decimal
ROOM_FOR_TWO: dict[LimitName, QuotaContext] = {
    LimitName.MAX_ACTIVE: replace(ROOMY, limits=limits(max_active=3), usage=usage(running=1)),
    LimitName.VIDEOS_PER_WINDOW: replace(ROOMY, limits=limits(max_active=10, videos=5), usage=usage(3, 2, 1)),
    LimitName.GUILD_VIDEOS_PER_DAY: replace(
        ROOMY, guild=GuildSettings(videos_per_day=5), guild_spent=Spent(videos_today=3)
    ),
    LimitName.GUILD_USD_PER_DAY: replace(ROOMY, guild=GuildSettings(budget=Budget(USD("0.59")))),
    LimitName.GUILD_USD_PER_MONTH: replace(ROOMY, guild=GuildSettings(budget=Budget(None, USD("0.59")))),
    LimitName.GRANTED_USD_PER_DAY: replace(ROOMY, granted_budget=Budget(USD("0.59"))),
    LimitName.GRANTED_USD_PER_MONTH: replace(ROOMY, granted_budget=Budget(None, USD("0.59"))),
    LimitName.TOTAL_USD_PER_DAY: replace(ROOMY, total_budget=Budget(USD("0.59"))),
    LimitName.TOTAL_USD_PER_MONTH: replace(ROOMY, total_budget=Budget(None, USD("0.59"))),
    LimitName.QUEUE: replace(ROOMY, max_queued=100, queued=98),
    LimitName.GUILD_QUEUE: replace(ROOMY, max_queued=16, queued_here=2),
}


@pytest.mark.parametrize("name", ROOM_FOR_TWO)
def test_all_that_fit_are_accepted(name: LimitName) -> None:
    assert evaluate_together(ROOM_FOR_TWO[name], 2, NOW) == [WithinQuota(), WithinQuota()]


@pytest.mark.parametrize("name", ROOM_FOR_TWO)
def test_if_one_does_not_fit_none_is_accepted_and_it_is_known_how_many_would_be(name: LimitName) -> None:
    refused = evaluate_together(ROOM_FOR_TWO[name], 4, NOW)

    assert isinstance(refused, FewerFit)
    assert (refused.limit, refused.asked, refused.fits, refused.reached.limit) == (name, 4, 2, name)


@pytest.mark.parametrize("name", AT_LIMIT)
def test_where_not_even_one_fits_the_reason_is_that_of_a_single_video(name: LimitName) -> None:
    assert evaluate_together(AT_LIMIT[name], 4, NOW) == evaluate_quota(AT_LIMIT[name], NOW)


def test_credits_pay_for_what_the_window_has_no_room_for_each_once() -> None:
    used = replace(usage(3, 2, 1), credits=(Credit(7, 1, NOW.replace(year=2027)), Credit(8, 2, None)))
    context = replace(ROOMY, limits=limits(max_active=10, videos=4), usage=used)

    assert evaluate_together(context, 4, NOW) == [WithinQuota(), WithinQuota(7), WithinQuota(8), WithinQuota(8)]
    refused = evaluate_together(context, 5, NOW)
    assert isinstance(refused, FewerFit)
    assert (refused.fits, refused.by_credits) == (4, 3)


def test_a_pause_between_orders_is_none_between_variations() -> None:
    context = replace(ROOMY, limits=limits(max_active=10, videos=10, cooldown_s=60))
    assert evaluate_together(context, 4, NOW) == [WithinQuota()] * 4


def test_the_reason_names_what_would_be_used() -> None:
    refused = evaluate_together(ROOM_FOR_TWO[LimitName.VIDEOS_PER_WINDOW], 4, NOW)

    assert isinstance(refused, FewerFit)
    assert isinstance(refused.reached, VideoLimitReached)
    assert (refused.reached.used, refused.reached.maximum) == (5, 5)
