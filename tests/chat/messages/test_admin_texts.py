from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from bot.chat.messages import admin_texts
from bot.domain.guilds import (
    Access,
    Budget,
    Change,
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
from bot.services.admin.settings import Overview

SNOWFLAKE = 9_223_372_036_854_775_807
NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
PLAIN = Overview(
    guild=Guild(10),
    rules=OperatorDefaults(),
    budget=Budget(),
    draining=False,
    spent=Spent(),
    places=(),
    words=0,
    bans=0,
    role_tiers=0,
    member_tiers=0,
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
        places=places,
        words=10_000,
        bans=10_000,
        role_tiers=10_000,
        member_tiers=10_000,
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
        (replace(PLAIN, draining=True), "The operator takes no new videos"),
        (replace(PLAIN, guild=Guild(10, access=Access.BLOCKED)), "does not let this server"),
        (replace(PLAIN, rules=OperatorDefaults(open_to_all=False)), "does not let this server"),
        (with_settings(violation_limit=0), "blocked prompts pause a member: never"),
        (
            with_settings(violation_limit=3, violation_pause_hours=1),
            "pause a member: after 3 within a day, for 1 hour\n",
        ),
        (replace(PLAIN, words=1234), "blocked words: **1234**"),
        (with_settings(allowed_resolutions=frozenset({Resolution.P480})), "resolutions: **480P**"),
        (with_settings(approval_required=True), "lets each video through: **yes**"),
        (with_settings(age_restricted_only=True), "age-restricted channels only: **yes**"),
        (with_settings(log_channel_id=5), "<#5>"),
        (
            replace(PLAIN, places=(PolicyEntry(PolicyEntryKind.ROLE, 5, allowed=False),)),
            "roles: **all**, but not <@&5>",
        ),
        (
            replace(PLAIN, places=(PolicyEntry(PolicyEntryKind.CHANNEL, 5, allowed=True),)),
            "channels: **only <#5>**",
        ),
    ],
)
def test_what_is_set_is_said(overview: Overview, says: str) -> None:
    assert says in settings(overview)


def test_a_member_reads_from_where_each_limit_comes() -> None:
    limits = Limits(
        videos_per_window=Limit(20, Origin.ROLE, 5),
        max_active=Limit(3, Origin.SERVER),
        cooldown_s=Limit(30, Origin.MEMBER),
        window=timedelta(hours=24),
    )
    text = admin_texts.member_limits(1, Allowance(limits, Usage((NOW,), 1, NOW, (Credit(1, 4, NOW),))))

    assert "videos in 24 hours: 1 used of **20** (from role <@&5>)" in text
    assert "at once: 1 of **3** (this server's)" in text
    assert "pause between requests: **30 seconds** (their own)" in text
    assert "credits: **4**, expiring <t:1769860800:R>" in text


def test_the_audit_trail_tells_the_bots_own_acts_and_hides_no_markup_in_values() -> None:
    change = Change(10, NOW, None, "ban of <@6>", None, "**3 strikes** @everyone")

    text = admin_texts.trail([change])

    assert text == r"<t:1769860800:f> the bot **ban of <@6>**: nothing → \*\*3 strikes\*\* \@everyone"
    assert admin_texts.trail_file([change]) == (
        "2026-01-31 12:00:00 UTC\tthe bot\tban of <@6>\tnothing\t**3 strikes** @everyone\n"
    )


def test_the_audit_trail_tells_the_operators_acts_from_the_bots_own() -> None:
    change = Change(10, NOW, None, "operator's access", "open", "blocked")

    assert admin_texts.trail([change]) == "<t:1769860800:f> the operator **access**: open → blocked"
    assert admin_texts.trail_file([change]) == "2026-01-31 12:00:00 UTC\tthe operator\taccess\topen\tblocked\n"


def test_nothing_in_a_value_makes_a_line_or_a_column_of_the_audit_trails_file() -> None:
    forged = "for good: x\n2026-01-31 12:00:00 UTC\t7\tban of <@1>\tnothing\tfor good\u2028\r\x0b."
    change = Change(10, NOW, 6, f"a{forged}", f"b{forged}", f"c{forged}")

    file = admin_texts.trail_file([change])

    assert len(file.splitlines()) == 1
    assert file.count("\t") == 4
