"""Whose limits apply to a member, and what a member's usage leaves."""

from dataclasses import replace
from datetime import timedelta

import pytest

from bot.domain.errors import Problem
from bot.domain.guilds import GuildSettings, LimitOverrides, OperatorDefaults
from bot.domain.limits import (
    Allowance,
    Credit,
    Limit,
    Origin,
    Usage,
    limits_for,
    overrides_of,
    usable,
)
from tests.domain.limit_factories import LIMITS, NOW, limits, usage

RULES = OperatorDefaults(limits=LimitOverrides(videos_per_window=5, max_active=2, cooldown_s=0), window_hours=24)


def test_of_equal_grants_the_older_one_is_used_first() -> None:
    assert [grant.credit_grant_id for grant in usable([Credit(5, 1), Credit(4, 1)], NOW)] == [4, 5]


# Whose limits apply.


def test_without_settings_the_operators_limits_apply() -> None:
    given_limits = limits_for(RULES, GuildSettings(), {}, None, admin=False)
    assert given_limits == limits()


def test_the_servers_limits_override_the_operators() -> None:
    guild = GuildSettings(limits=LimitOverrides(videos_per_window=1, cooldown_s=30), window_hours=720)
    found = limits_for(RULES, guild, {}, None, admin=False)
    assert found.videos_per_window == Limit(1, Origin.SERVER)
    assert found.max_active == Limit(2, Origin.OPERATOR)
    assert found.cooldown_s == Limit(30, Origin.SERVER)
    assert found.window == timedelta(days=30)


def test_a_member_gets_the_best_of_their_roles_for_each_limit() -> None:
    guild = GuildSettings(limits=LimitOverrides(videos_per_window=5, max_active=1, cooldown_s=60))
    roles = {
        11: LimitOverrides(videos_per_window=10, cooldown_s=90),
        12: LimitOverrides(videos_per_window=8, max_active=4, cooldown_s=45),
        13: LimitOverrides(),
    }
    found = limits_for(RULES, guild, roles, None, admin=False)
    assert found.videos_per_window == Limit(10, Origin.ROLE, 11)
    assert found.max_active == Limit(4, Origin.ROLE, 12)
    assert found.cooldown_s == Limit(45, Origin.ROLE, 12)


def test_a_role_may_have_less_than_the_server() -> None:
    found = limits_for(
        RULES,
        GuildSettings(limits=LimitOverrides(videos_per_window=5)),
        {11: LimitOverrides(videos_per_window=1)},
        None,
        admin=False,
    )
    assert found.videos_per_window == Limit(1, Origin.ROLE, 11)


def test_of_equal_roles_the_lowest_id_is_named() -> None:
    found = limits_for(
        RULES,
        GuildSettings(),
        {12: LimitOverrides(videos_per_window=9), 11: LimitOverrides(videos_per_window=9)},
        None,
        admin=False,
    )
    assert found.videos_per_window == Limit(9, Origin.ROLE, 11)


def test_a_members_own_limit_overrides_their_roles_even_if_it_is_lower() -> None:
    own = LimitOverrides(videos_per_window=0, cooldown_s=600)
    found = limits_for(
        RULES,
        GuildSettings(),
        {11: LimitOverrides(videos_per_window=9, max_active=9, cooldown_s=0)},
        own,
        admin=False,
    )
    assert found.videos_per_window == Limit(0, Origin.MEMBER)
    assert found.cooldown_s == Limit(600, Origin.MEMBER)
    assert found.max_active == Limit(9, Origin.ROLE, 11)


def test_a_limit_of_zero_is_a_limit() -> None:
    found = limits_for(RULES, GuildSettings(limits=LimitOverrides(0, 0, 0)), {}, None, admin=False)
    assert found.videos_per_window == Limit(0, Origin.SERVER)
    assert found.max_active == Limit(0, Origin.SERVER)


@pytest.mark.parametrize(("admin", "exempts"), [(True, False), (False, True), (False, False), (True, True)])
def test_admins_are_exempt_only_if_the_server_exempts_them(admin: bool, exempts: bool) -> None:  # noqa: FBT001
    found = limits_for(RULES, GuildSettings(admins_exempt=exempts), {}, None, admin=admin)
    assert found.exempt is (admin and exempts)


def test_only_the_roles_that_a_member_has_count() -> None:
    tiers = {11: LimitOverrides(videos_per_window=9), 12: LimitOverrides(videos_per_window=99)}
    assert overrides_of(tiers, frozenset({11, 13})) == {11: LimitOverrides(videos_per_window=9)}


# When the next video unlocks.


@pytest.mark.parametrize("used", [usage(), usage(3, 2, 1, 1)])
def test_with_videos_left_there_is_no_time_of_the_next_video(used: Usage) -> None:
    assert used.next_available_at(LIMITS) is None


def test_the_next_video_unlocks_when_the_oldest_leaves_the_window() -> None:
    assert usage(20, 7, 5, 3, 1).next_available_at(LIMITS) == NOW + timedelta(hours=4)


def test_under_a_lowered_limit_enough_videos_must_leave_the_window_first() -> None:
    assert usage(20, 10, 5, 3, 1).next_available_at(limits(videos=3)) == NOW + timedelta(hours=24 - 5)


def test_usage_says_when_the_cooldown_ends_while_it_lasts() -> None:
    asked = Usage(last_accepted_at=NOW)
    assert asked.cooldown_ends_at(limits(cooldown_s=60), NOW) == NOW + timedelta(seconds=60)
    assert asked.cooldown_ends_at(limits(cooldown_s=60), NOW + timedelta(seconds=60)) is None
    assert asked.cooldown_ends_at(limits(), NOW) is None
    assert asked.cooldown_ends_at(limits(cooldown_s=60, exempt=True), NOW) is None


def test_there_is_room_for_what_fits_the_window_with_credits_and_the_videos_in_progress() -> None:
    credit = Credit(7, 2, None)
    three_used = usage(3, 2, 1, running=1)

    assert Allowance(limits(max_active=9), three_used, NOW).room == 2
    assert Allowance(limits(max_active=9), replace(three_used, credits=(credit,)), NOW).room == 4
    assert Allowance(limits(max_active=2), three_used, NOW).room == 1
    assert Allowance(limits(max_active=1), replace(three_used, running=3), NOW).room == 0
    assert Allowance(limits(exempt=True), three_used, NOW).room > 100
    assert Allowance(limits(), usage(), NOW, Problem.ORDER_NOT_STORED).room == 0
