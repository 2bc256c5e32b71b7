from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from bot.chat.messages import admin_texts
from bot.chat.messages.reason_texts import text_of
from bot.domain.audit_log import Action, AuditedChange, AuditEntry, TargetKind
from bot.domain.guilds import (
    Access,
    Budget,
    Guild,
    GuildSettings,
    LimitOverrides,
    OperatorDefaults,
    PolicyEntry,
    PolicyEntryKind,
)
from bot.domain.jobs import Resolution
from bot.domain.limits import Allowance, Credit, Limit, Limits, Origin, Usage
from bot.domain.quotas import Spent
from bot.services.admin.audited import AdminProblem, AdminRefused
from bot.services.admin.limits import LimitPart, LimitUnreadable
from bot.services.admin.settings import Overview

SNOWFLAKE = 9_223_372_036_854_775_807
NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
PLAIN = Overview(
    guild=Guild(10),
    rules=OperatorDefaults(),
    budget=Budget(),
    draining=False,
    spent=Spent(),
    entries=(),
    terms=0,
    bans=0,
    role_overrides=0,
    member_overrides=0,
    credits=0,
    credit_members=0,
)


def settings(overview: Overview) -> str:
    embed = admin_texts.settings(overview)
    return "\n".join([embed.description or "", *(f"{field.name}\n{field.value}" for field in embed.fields)])


def with_settings(**changes: object) -> Overview:
    return replace(PLAIN, guild=Guild(10, replace(GuildSettings(), **changes)))  # type: ignore[arg-type]  # any field


def test_the_largest_settings_fit_an_embed() -> None:
    budget = Budget(Decimal("999999.999999999"), Decimal("999999.999999999"))
    places = tuple(
        PolicyEntry(kind, SNOWFLAKE - number, number % 2 == 0) for kind in PolicyEntryKind for number in range(500)
    )
    longest = GuildSettings(
        limits=LimitOverrides(10_000, 100, 2_591_999),
        window_hours=720,
        admins_exempt=True,
        videos_per_day=100_000,
        budget=budget,
        log_channel_id=SNOWFLAKE,
    )
    most = Overview(
        guild=Guild(10, longest),
        rules=OperatorDefaults(),
        budget=budget,
        draining=True,
        spent=Spent(100_000, Decimal("999999.999999999"), Decimal("999999.999999999")),
        entries=places,
        terms=10_000,
        bans=10_000,
        role_overrides=10_000,
        member_overrides=10_000,
        credits=1_000_000,
        credit_members=10_000,
    )

    embed = admin_texts.settings(most)

    assert len(embed) <= 6000
    assert all(len(field.value or "") <= 1024 for field in embed.fields)
    assert "and 245 more" in settings(most)
    assert all((field.value or "").endswith("`") for field in embed.fields), "a command was cut off"


@pytest.mark.parametrize(
    ("overview", "says"),
    [
        (PLAIN, "Open"),
        (with_settings(paused=True), "Paused"),
        (replace(PLAIN, draining=True), "operator isn't taking new videos"),
        (replace(PLAIN, guild=Guild(10, access=Access.BLOCKED)), "doesn't currently let this server"),
        (replace(PLAIN, rules=OperatorDefaults(open_to_all=False)), "doesn't currently let this server"),
        (with_settings(violation_limit=0), "pause for blocked prompts: **never**"),
        (
            with_settings(violation_limit=3, violation_pause_hours=1),
            "pause for blocked prompts: **after 3 in 24 hours, for 1 hour**\n",
        ),
        (replace(PLAIN, terms=1234), "blocked words: **1234**"),
        (with_settings(allowed_resolutions=frozenset({Resolution.P480})), "resolutions: **480P**"),
        (with_settings(approval_required=True), "a moderator approves each video: **yes**"),
        (with_settings(age_restricted_only=True), "age-restricted channels only: **yes**"),
        (with_settings(log_channel_id=5), "<#5>"),
        (
            replace(PLAIN, entries=(PolicyEntry(PolicyEntryKind.ROLE, 5, allowed=False),)),
            "roles: **all**, except <@&5>",
        ),
        (
            replace(PLAIN, entries=(PolicyEntry(PolicyEntryKind.CHANNEL, 5, allowed=True),)),
            "channels: **only <#5>**",
        ),
    ],
)
def test_each_setting_is_shown(overview: Overview, says: str) -> None:
    assert says in settings(overview)


def test_a_members_limits_show_where_each_comes_from() -> None:
    limits = Limits(
        videos_per_window=Limit(20, Origin.ROLE, 5),
        max_active=Limit(3, Origin.SERVER),
        cooldown_s=Limit(30, Origin.MEMBER),
        window=timedelta(hours=24),
    )
    text = admin_texts.member_limits(1, Allowance(limits, Usage((NOW,), 1, NOW, (Credit(1, 4, NOW),)), NOW))

    assert "videos per 24 hours: 1 of **20** used (from <@&5>)" in text
    assert "videos at once: 1 of **3** (set by this server)" in text
    assert "pause between orders: **30 seconds** (set for them)" in text
    assert "credits: **4**, expiring <t:1769860800:R>" in text


def test_a_limit_that_is_not_set_is_shown_as_the_default() -> None:
    assert "videos per window: **5** (default)" in settings(PLAIN)
    assert "videos per window: **7**\n" in settings(with_settings(limits=LimitOverrides(videos_per_window=7)))


def test_unchanged_limits_are_shown_as_the_current_limits() -> None:
    values = {"videos": {"value": 5, "default": True}, "pause": {"value": 0}}
    asked = AuditEntry(10, NOW, 7, AuditedChange(Action.LIMITS_SET, before=values, after=values))

    assert admin_texts.limits_set(asked).splitlines() == [
        "Current limits:",
        "**videos per window**: 5 (default)",
        "**pause between orders**: none",
    ]


def test_the_reply_to_a_limits_command_shows_changed_and_unchanged_limits() -> None:
    before = {"usd_per_day": {"value": None}, "videos": {"value": None}}
    after = {"usd_per_day": {"value": "2.5"}, "videos": {"value": None}}
    change = AuditedChange(Action.LIMITS_SET, TargetKind.ROLE, "5", before, after)

    assert admin_texts.limits_set(AuditEntry(10, NOW, 7, change)).splitlines() == [
        "✅ Changed for <@&5>:",
        "**USD per day (whole server)**: no limit → $2.50",
        "**videos per window**: not set",
    ]


def test_an_unreadable_limit_is_refused_with_the_name_of_its_option() -> None:
    refused = LimitUnreadable(LimitPart.PAUSE, AdminRefused(AdminProblem.PAUSE_TOO_LONG, 30))

    assert text_of(refused) == "`pause`: Choose at most 30 days. Nothing was changed."
