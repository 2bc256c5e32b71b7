from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.errors import Remedy
from bot.domain.guilds import Budget, GuildSettings
from bot.domain.limits import (
    Credit,
    Limits,
    Usage,
)
from bot.domain.quotas import (
    BudgetReached,
    CooldownActive,
    LimitName,
    LimitReached,
    QuotaContext,
    Spent,
    TotalBudgetReached,
    VideoLimitReached,
    WithinQuota,
    evaluate_quota,
)
from tests.domain.limit_factories import DAY, LIMITS, NOW, limits, usage

DAY_END = datetime(2026, 2, 1, tzinfo=UTC)
LAST = NOW - timedelta(seconds=50)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


FREE = QuotaContext(
    limits=LIMITS,
    usage=usage(),
    guild=GuildSettings(),
    guild_spent=Spent(),
    granted_budget=Budget(),
    total_budget=Budget(),
    total_spent=Spent(),
    queued=0,
    max_queued=10,
    queued_here=0,
    estimate=Decimal("0.20"),
)


def refused(context: QuotaContext, now: datetime = NOW) -> LimitReached:
    answer = evaluate_quota(context, now)
    assert isinstance(answer, LimitReached)
    return answer


def member(used: Usage, allowed: Limits = LIMITS) -> QuotaContext:
    return replace(FREE, usage=used, limits=allowed)


USD = Decimal
SPENT = Spent(videos_today=3, usd_today=USD("0.90"), usd_month=USD("9.90"))
AT_LIMIT: dict[LimitName, QuotaContext] = {
    LimitName.MAX_ACTIVE: member(usage(1, 1, running=2)),
    LimitName.COOLDOWN: member(Usage(last_accepted_at=LAST), limits(cooldown_s=60)),
    LimitName.VIDEOS_PER_WINDOW: member(usage(20, 7, 5, 3, 1)),
    LimitName.GUILD_VIDEOS_PER_DAY: replace(FREE, guild=GuildSettings(videos_per_day=3), guild_spent=SPENT),
    LimitName.GUILD_USD_PER_DAY: replace(FREE, guild=GuildSettings(budget=Budget(USD(1))), guild_spent=SPENT),
    LimitName.GUILD_USD_PER_MONTH: replace(
        FREE, guild=GuildSettings(budget=Budget(None, USD(10))), guild_spent=SPENT
    ),
    LimitName.GRANTED_USD_PER_DAY: replace(FREE, granted_budget=Budget(USD(1)), guild_spent=SPENT),
    LimitName.GRANTED_USD_PER_MONTH: replace(FREE, granted_budget=Budget(None, USD(10)), guild_spent=SPENT),
    LimitName.TOTAL_USD_PER_DAY: replace(FREE, total_budget=Budget(USD(1)), total_spent=SPENT),
    LimitName.TOTAL_USD_PER_MONTH: replace(FREE, total_budget=Budget(None, USD(10)), total_spent=SPENT),
    LimitName.PROVIDER_USD: replace(FREE, is_too_dear=True),
    LimitName.QUEUE: replace(FREE, queued=10),
    LimitName.GUILD_QUEUE: replace(FREE, queued_here=2),
    LimitName.UNDELIVERED: member(replace(usage(), undelivered_at=usage(20, 7, 5, 3, 1).charged_at)),
}
"""For each limit, a context in which it alone is reached."""


def budget_reached(name: LimitName) -> BudgetReached:
    used, most = (USD("0.90"), USD(1)) if name.endswith("_day") else (USD("9.90"), USD(10))
    return BudgetReached(name, DAY_END, used, most, estimate=USD("0.20"))


OPERATOR_LIMITS = {
    LimitName.GRANTED_USD_PER_DAY,
    LimitName.GRANTED_USD_PER_MONTH,
    LimitName.TOTAL_USD_PER_DAY,
    LimitName.TOTAL_USD_PER_MONTH,
    LimitName.PROVIDER_USD,
    LimitName.QUEUE,
    LimitName.GUILD_QUEUE,
}
MEMBER_LIMITS = {LimitName.MAX_ACTIVE, LimitName.COOLDOWN, LimitName.VIDEOS_PER_WINDOW}


def test_there_is_a_context_for_every_limit() -> None:
    assert set(AT_LIMIT) == set(LimitName)


@pytest.mark.parametrize("name", AT_LIMIT)
def test_a_reached_limit_is_named_in_the_refusal(name: LimitName) -> None:
    assert refused(AT_LIMIT[name]).limit is name


@pytest.mark.parametrize("name", AT_LIMIT)
def test_every_refusal_says_who_can_change_it(name: LimitName) -> None:
    assert refused(AT_LIMIT[name]).remedy is (
        Remedy.ASK_OPERATOR if name in OPERATOR_LIMITS else Remedy.ASK_ADMINS
    )


@pytest.mark.parametrize("name", [name for name in AT_LIMIT if "_usd_" in name])
def test_a_budget_that_is_reached_says_whether_it_is_for_a_day_or_a_month(name: LimitName) -> None:
    assert refused(AT_LIMIT[name]).period == name.rpartition("_")[2]


@pytest.mark.parametrize(
    "reached",
    [
        VideoLimitReached(LimitName.MAX_ACTIVE, None, used=2, maximum=2),
        CooldownActive(LimitName.COOLDOWN, LAST + MINUTE, cooldown=MINUTE),
        VideoLimitReached(LimitName.VIDEOS_PER_WINDOW, NOW + 4 * HOUR, used=5, maximum=5, window=DAY),
        VideoLimitReached(LimitName.GUILD_VIDEOS_PER_DAY, DAY_END, used=3, maximum=3),
        budget_reached(LimitName.GUILD_USD_PER_DAY),
        budget_reached(LimitName.GUILD_USD_PER_MONTH),
        budget_reached(LimitName.GRANTED_USD_PER_DAY),
        budget_reached(LimitName.GRANTED_USD_PER_MONTH),
        TotalBudgetReached(LimitName.TOTAL_USD_PER_DAY, DAY_END, 90),
        TotalBudgetReached(LimitName.TOTAL_USD_PER_MONTH, DAY_END, 99),
        LimitReached(LimitName.PROVIDER_USD, None),
        LimitReached(LimitName.QUEUE, None),
        VideoLimitReached(LimitName.GUILD_QUEUE, None, used=2, maximum=2),
        VideoLimitReached(LimitName.UNDELIVERED, NOW + 4 * HOUR, used=5, maximum=5, window=DAY),
    ],
    ids=lambda reached: reached.limit,
)
def test_every_refusal_says_what_is_used_and_when_the_next_order_is_possible(reached: LimitReached) -> None:
    assert refused(AT_LIMIT[reached.limit]) == reached


@pytest.mark.parametrize("name", AT_LIMIT)
def test_just_below_a_limit_one_more_order_is_accepted(name: LimitName) -> None:
    below: dict[LimitName, QuotaContext] = {
        LimitName.MAX_ACTIVE: member(usage(1, 1, running=1)),
        LimitName.COOLDOWN: member(Usage(last_accepted_at=NOW - timedelta(seconds=60)), limits(cooldown_s=60)),
        LimitName.VIDEOS_PER_WINDOW: member(usage(7, 5, 3, 1)),
        LimitName.GUILD_VIDEOS_PER_DAY: replace(AT_LIMIT[name], guild_spent=replace(SPENT, videos_today=2)),
        LimitName.PROVIDER_USD: FREE,
        LimitName.QUEUE: replace(FREE, queued=9),
        LimitName.GUILD_QUEUE: replace(FREE, queued_here=1),
        LimitName.UNDELIVERED: member(replace(usage(), undelivered_at=usage(7, 5, 3, 1).charged_at)),
    }
    exactly = Spent(3, USD("0.80"), USD("9.80"))
    context = below.get(name, replace(AT_LIMIT[name], guild_spent=exactly, total_spent=exactly))
    assert evaluate_quota(context, NOW) == WithinQuota()


@pytest.mark.parametrize("name", [LimitName.TOTAL_USD_PER_DAY, LimitName.TOTAL_USD_PER_MONTH, LimitName.QUEUE])
def test_totals_of_all_servers_are_given_at_most_as_a_share(name: LimitName) -> None:
    context = replace(
        AT_LIMIT[name],
        total_spent=Spent(777, USD("876.54"), USD("987.65")),
        queued=4321 if name is LimitName.QUEUE else 0,
        max_queued=1234,
    )
    said = repr(refused(context))
    assert not any(number in said for number in ("777", "876", "987", "4321", "1234"))


@pytest.mark.parametrize("name", sorted(set(AT_LIMIT) - MEMBER_LIMITS))
def test_neither_an_exemption_nor_a_credit_lifts_a_limit_of_the_server_or_the_operator(name: LimitName) -> None:
    exempt_with_credit = replace(
        AT_LIMIT[name],
        limits=limits(exempt=True),
        usage=replace(AT_LIMIT[name].usage, credits=(Credit(1, 5),)),
    )
    assert refused(exempt_with_credit).limit is name


@pytest.mark.parametrize("name", sorted(MEMBER_LIMITS))
def test_an_exempt_admin_has_no_member_limits_and_needs_no_credit(name: LimitName) -> None:
    of_admin = replace(AT_LIMIT[name].usage, credits=(Credit(1, 5),))
    exempt = replace(AT_LIMIT[name].limits, exempt=True)
    assert evaluate_quota(replace(AT_LIMIT[name], limits=exempt, usage=of_admin), NOW) == WithinQuota()


@pytest.mark.parametrize(("most", "share"), [(0, 1), (1, 1), (3, 1), (8, 2), (1000, 250)])
def test_a_server_gets_a_quarter_of_the_queue_and_at_least_one_place(most: int, share: int) -> None:
    assert replace(FREE, max_queued=most).max_queued_here == share


@pytest.mark.parametrize(("videos", "most"), [(0, 3), (2, 3), (3, 3), (7, 7)])
def test_the_limit_of_undelivered_videos_is_the_quota_but_at_least_three(videos: int, most: int) -> None:
    def undelivered(number: int) -> QuotaContext:
        return member(Usage(undelivered_at=(NOW,) * number, credits=(Credit(1, 99),)), limits(videos=videos))

    assert isinstance(evaluate_quota(undelivered(most - 1), NOW), WithinQuota)
    assert refused(undelivered(most)).limit is LimitName.UNDELIVERED


def test_undelivered_videos_leave_the_window_one_by_one() -> None:
    undelivered = Usage(undelivered_at=usage(20, 10, 5, 3, 1).charged_at)
    assert refused(member(undelivered, limits(videos=3))).available_at == NOW + timedelta(hours=24 - 5)


def test_the_limit_that_resets_last_is_named() -> None:
    """Otherwise the member would return at midnight only to be refused by the monthly budget."""
    early = NOW.replace(day=10)
    both = replace(FREE, guild=GuildSettings(budget=Budget(USD(1), USD(10))), guild_spent=SPENT)
    assert refused(both, early).limit is LimitName.GUILD_USD_PER_MONTH
    total_too = replace(both, total_budget=Budget(USD(1)), total_spent=SPENT, queued=10)
    assert refused(total_too, early).limit is LimitName.GUILD_USD_PER_MONTH


@pytest.mark.parametrize(
    "context",
    [
        replace(FREE, guild=GuildSettings(budget=Budget(USD("0.10")))),
        replace(FREE, granted_budget=Budget(None, USD(0))),
        replace(FREE, total_budget=Budget(USD(0))),
        replace(FREE, guild=GuildSettings(videos_per_day=0)),
        member(usage(), limits(videos=0)),
        member(usage(3, 2), limits(videos=0)),
    ],
)
def test_a_limit_that_waiting_does_not_lift_names_no_time(context: QuotaContext) -> None:
    assert refused(context).available_at is None


def test_a_running_limit_of_zero_refuses_every_order() -> None:
    answer = refused(member(usage(), limits(max_active=0)))
    assert answer == VideoLimitReached(LimitName.MAX_ACTIVE, None, used=0, maximum=0)


def test_the_running_limit_is_named_before_the_window() -> None:
    assert refused(member(usage(9, 8, 7, 6, 5, running=2))).limit is LimitName.MAX_ACTIVE


def test_a_free_video_fits_a_used_up_budget() -> None:
    spent = Spent(1, USD(1), USD(1))
    free = replace(FREE, estimate=USD(0), guild=GuildSettings(budget=Budget(USD(1))), guild_spent=spent)
    assert evaluate_quota(free, NOW) == WithinQuota()


def test_without_a_cooldown_a_clock_set_back_refuses_nobody() -> None:
    assert evaluate_quota(member(Usage(last_accepted_at=NOW + HOUR)), NOW) == WithinQuota()


def test_with_a_cooldown_a_clock_set_back_lets_nobody_skip_it() -> None:
    answer = refused(member(Usage(last_accepted_at=NOW + timedelta(seconds=1)), limits(cooldown_s=60)))
    assert answer.available_at == NOW + timedelta(seconds=61)


# Credits.


def with_credits(*grants: Credit, videos: int = 5) -> QuotaContext:
    return replace(
        AT_LIMIT[LimitName.VIDEOS_PER_WINDOW],
        limits=limits(videos=videos),
        usage=replace(usage(9, 8, 7, 6, 5), credits=grants),
    )


def test_a_credit_is_used_only_when_the_window_is_full() -> None:
    credit = Credit(7, 1)
    assert evaluate_quota(replace(FREE, usage=Usage(credits=(credit,))), NOW) == WithinQuota()
    assert evaluate_quota(with_credits(credit), NOW) == WithinQuota(credit_grant_id=7)


@pytest.mark.parametrize(
    "grants", list(permutations([Credit(1, 1), Credit(2, 1, NOW + 2 * HOUR), Credit(3, 1, NOW + HOUR)]))
)
def test_the_credit_that_expires_first_is_used_first(grants: tuple[Credit, ...]) -> None:
    assert evaluate_quota(with_credits(*grants), NOW) == WithinQuota(credit_grant_id=3)


@pytest.mark.parametrize("grants", [(), (Credit(1, 0),), (Credit(1, 9, NOW),), (Credit(1, 9, NOW - HOUR),)])
def test_a_used_or_expired_credit_pays_for_nothing(grants: tuple[Credit, ...]) -> None:
    assert refused(with_credits(*grants)).limit is LimitName.VIDEOS_PER_WINDOW


def test_with_a_quota_of_zero_a_credit_is_used() -> None:
    assert evaluate_quota(with_credits(Credit(1, 1), videos=0), NOW) == WithinQuota(credit_grant_id=1)


@pytest.mark.parametrize("name", [LimitName.MAX_ACTIVE, LimitName.COOLDOWN])
def test_no_credit_lifts_the_cooldown_or_the_running_limit(name: LimitName) -> None:
    has_credit = replace(AT_LIMIT[name].usage, credits=(Credit(1, 5),))
    assert refused(replace(AT_LIMIT[name], usage=has_credit)).limit is name


@given(
    ages=st.lists(st.floats(0, 0.999), max_size=12),
    videos=st.integers(1, 12),
    window_h=st.integers(1, 720),
)
def test_the_next_video_unlocks_at_the_first_moment_at_which_it_is_allowed(
    ages: list[float], videos: int, window_h: int
) -> None:
    used = usage(*sorted((age * window_h for age in ages), reverse=True))
    allowed = limits(videos=videos, window=timedelta(hours=window_h))

    def allowed_at(moment: datetime) -> bool:
        left = tuple(asked for asked in used.charged_at if asked > moment - allowed.window)
        return evaluate_quota(member(Usage(left), allowed), moment) == WithinQuota()

    frees = used.next_available_at(allowed)
    if frees is None:
        assert allowed_at(NOW)
    else:
        assert allowed_at(frees)
        assert not allowed_at(frees - timedelta(microseconds=1))


@pytest.mark.parametrize(
    ("now", "day", "month"),
    [
        (datetime(2026, 12, 31, 23, 59, 59, 999_999, UTC), datetime(2027, 1, 1, tzinfo=UTC), None),
        (datetime(2026, 2, 28, 23, 59, tzinfo=UTC), datetime(2026, 3, 1, tzinfo=UTC), None),
        (
            datetime(2028, 2, 28, 23, 59, tzinfo=UTC),
            datetime(2028, 2, 29, tzinfo=UTC),
            datetime(2028, 3, 1, tzinfo=UTC),
        ),
        (datetime(2026, 12, 1, tzinfo=UTC), datetime(2026, 12, 2, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)),
    ],
)
def test_a_budget_resets_with_its_day_or_month(now: datetime, day: datetime, month: datetime | None) -> None:
    assert refused(AT_LIMIT[LimitName.GUILD_USD_PER_DAY], now).available_at == day
    assert refused(AT_LIMIT[LimitName.TOTAL_USD_PER_MONTH], now).available_at == (month or day)
