from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest

from bot.chat.messages import usage_texts as texts
from bot.chat.messages.markdown import discord_length
from bot.domain.guilds import Budget
from bot.domain.jobs import FailureReason
from bot.domain.usage_stats import BudgetUse, Day, MemberUse, Period, UsageStats, VideoCounts, Waits
from bot.services.admin.usage import Report

LAST = date(2026, 1, 31)
HUGE = 10**15
HUGE_S = 3e11
FIGURES = UsageStats(
    videos=VideoCounts(delivered=8, failed=2, cancelled=1, in_progress=1),
    failures={FailureReason.TIMED_OUT: 1, FailureReason.UNDELIVERABLE: 1},
    members=3,
    top=(MemberUse(7, 6, 5, Decimal("1.20")), MemberUse(8, 4, 3, Decimal("0.60"))),
    in_queue=Waits(4.4, 90),
    to_video=Waits(130, 9000),
    days=(
        Day(LAST - timedelta(days=1), VideoCounts(delivered=8), Decimal("1.60")),
        Day(LAST, VideoCounts(failed=2, cancelled=1, in_progress=1), Decimal("0.40"), Decimal("0.20")),
    ),
    budget=BudgetUse(Budget(), Budget(), Decimal("0.40"), Decimal(2)),
)
EMPTY = replace(
    FIGURES,
    videos=VideoCounts(),
    failures={},
    members=0,
    top=(),
    in_queue=None,
    to_video=None,
    days=(Day(LAST),),
    budget=BudgetUse(Budget(), Budget(), Decimal(0), Decimal(0)),
)


def usage(stats: UsageStats = FIGURES, period: Period = Period.WEEK, *, csv_lines: int = 12, **more: Any) -> str:
    return texts.usage(Report(period, replace(stats, **more), b"", b"", csv_lines))


def test_the_usage_names_its_days() -> None:
    assert "**Usage of this server, the last 7 days** (2026-01-30 to 2026-01-31, UTC)" in usage()


def test_videos_are_counted_by_outcome() -> None:
    assert "**12 videos** by 3 members: 8 delivered, 2 failed, 1 cancelled, 1 in progress." in usage()


def test_what_moderation_rejected_has_its_own_number() -> None:
    text = usage(videos=VideoCounts(delivered=1, failed=2, rejected=3))
    assert "1 delivered, 2 failed, 3 rejected." in text
    assert "🛡️ The video service's moderation rejected 3 videos for their content." in text
    assert "moderation" not in usage()


def test_the_success_rate_counts_only_finished_attempts() -> None:
    assert "80% of finished attempts succeeded" in usage()


def test_failures_are_counted_by_reason() -> None:
    assert "Failed: 1× took too long, 1× couldn't be posted." in usage()


def test_short_waits_are_shown_to_the_second_and_long_ones_to_the_minute() -> None:
    text = usage(in_queue=Waits(4.4, 117), to_video=Waits(185, 9010))

    assert "4 seconds until it started (95%: 1 minute 57 seconds)" in text
    assert "3 minutes until the video was ready (95%: 2 hours 30 minutes)" in text


def test_spending_is_shown_as_settled_and_reserved() -> None:
    assert "**$2.00** spent: $1.80 settled, $0.20 reserved for videos in progress." in usage()
    assert "**$2.00** spent.\n" in usage(days=(Day(LAST, VideoCounts(delivered=12), Decimal(2)),))


def test_the_members_with_the_most_orders_are_listed() -> None:
    assert "1. <@7>: 6 ordered, 5 delivered, $1.20\n2. <@8>: 4 ordered, 3 delivered, $0.60" in usage()


def test_the_usage_says_if_no_budget_is_set() -> None:
    assert "Today: $0.40 spent, no budget set." in usage()


def test_each_budget_says_who_set_it_and_how_much_is_used() -> None:
    budget = BudgetUse(Budget(Decimal("0.50"), None), Budget(Decimal(4), Decimal(20)), Decimal("0.40"), Decimal(2))

    text = usage(budget=budget)

    assert "Today: $0.40 spent, 80% of $0.50 set by this server and 10% of $4.00 set by the operator." in text
    assert "This month: $2.00 spent, 10% of $20.00 set by the operator." in text


def test_an_empty_report_says_that_there_is_no_data() -> None:
    text = usage(EMPTY, csv_lines=0)

    assert "Nobody ordered a video in that time" in text
    assert "%" not in text


def test_a_truncated_table_says_so() -> None:
    assert "newest 5 videos" in usage(csv_lines=5)
    assert "newest" not in usage()


def test_the_file_name_contains_the_days() -> None:
    report = Report(Period.WEEK, FIGURES, None, b"", 0)

    assert texts.csv_name(report) == "videos-2026-01-30-to-2026-01-31.csv"


def test_the_largest_numbers_fit_a_message() -> None:
    amount = Decimal(HUGE) + Decimal("0.123456789")
    budget = Budget(amount, amount)

    text = usage(
        videos=VideoCounts(HUGE, HUGE, HUGE, HUGE, HUGE),
        failures=dict.fromkeys(FailureReason, HUGE),
        members=HUGE,
        top=(MemberUse(2**63 - 1, HUGE, HUGE, amount),) * 5,
        in_queue=Waits(HUGE_S, HUGE_S),
        to_video=Waits(HUGE_S, HUGE_S),
        budget=BudgetUse(budget, budget, amount, amount),
    )

    assert discord_length(text) <= 2000


@pytest.mark.parametrize("period", Period)
def test_each_period_has_its_text(period: Period) -> None:
    assert texts.PERIODS[period] in usage(period=period)


def test_the_chart_has_an_alt_text() -> None:
    text = texts.described(Report(Period.WEEK, FIGURES, b"", b"", 12))

    assert "12 videos (8 delivered, 2 failed, 1 cancelled, 1 in progress)" in text
    assert "$2.00" in text
    assert discord_length(text) <= 1024
