from datetime import date, timedelta
from decimal import Decimal

import pytest

from bot.domain.jobs import ACTIVE, FailureReason, JobState
from bot.domain.usage_stats import Day, Period, Span, VideoCounts, by_week, filled, span_of, videos_of

TODAY = date(2026, 3, 1)


@pytest.mark.parametrize(
    ("period", "first", "last"),
    [
        (Period.TODAY, TODAY, TODAY),
        (Period.WEEK, date(2026, 2, 23), TODAY),
        (Period.THIRTY_DAYS, date(2026, 1, 31), TODAY),
        (Period.THIS_MONTH, TODAY, TODAY),
        (Period.LAST_MONTH, date(2026, 2, 1), date(2026, 2, 28)),
        (Period.ALL, None, TODAY),
    ],
)
def test_each_period_has_its_span_of_days(period: Period, first: date | None, last: date) -> None:
    assert span_of(period, TODAY) == Span(first, last)


def test_the_month_before_january_is_december() -> None:
    assert span_of(Period.LAST_MONTH, date(2026, 1, 31)) == Span(date(2025, 12, 1), date(2025, 12, 31))


@pytest.mark.parametrize("state", JobState)
def test_each_state_counts_as_exactly_one_outcome(state: JobState) -> None:
    videos = videos_of(state, 3)

    assert videos.ordered == 3
    assert videos.in_progress == (3 if state in ACTIVE else 0)


@pytest.mark.parametrize("reason", FailureReason)
def test_what_moderation_rejected_is_no_failure(reason: FailureReason) -> None:
    videos = videos_of(JobState.FAILED, 3, reason)

    is_rejected = reason is FailureReason.REJECTED
    assert (videos.ordered, videos.failed, videos.rejected) == (
        3,
        0 if is_rejected else 3,
        3 if is_rejected else 0,
    )


def test_a_span_without_a_start_begins_with_the_first_known_day() -> None:
    known = {TODAY - timedelta(days=2): Day(TODAY - timedelta(days=2), VideoCounts(1))}

    days = filled(Span(None, TODAY), known)

    assert [day.videos.ordered for day in days] == [1, 0, 0]


def test_a_span_without_data_is_its_last_day() -> None:
    assert filled(Span(None, TODAY), {}) == (Day(TODAY),)


def test_weeks_begin_on_monday_and_sum_their_days() -> None:
    sunday = TODAY
    days = filled(
        Span(sunday, sunday + timedelta(days=8)),
        {
            sunday + timedelta(days=n): Day(sunday + timedelta(days=n), VideoCounts(n), Decimal(n))
            for n in range(9)
        },
    )

    weeks = by_week(days)

    assert [week.day for week in weeks] == [date(2026, 2, 23), date(2026, 3, 2), date(2026, 3, 9)]
    assert [week.videos.delivered for week in weeks] == [0, 28, 8]
    assert sum(week.usd for week in weeks) == 36
