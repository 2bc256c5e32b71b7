"""When a status card is worth an edit."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from bot.domain.jobs import JobState
from bot.domain.status_cards import SELDOM, SOONEST, StatusCard
from bot.domain.waiting import Wait

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
WAIT = Wait(2, NOW + timedelta(seconds=60), NOW + timedelta(seconds=100), share=0.3)
CARD = StatusCard(JobState.QUEUED, WAIT)


@pytest.mark.parametrize(
    "change",
    [
        {"state": JobState.SUBMITTING},
        {"service_closed": True},
        {"is_cancelled": True},
        {"wait": replace(WAIT, ahead=1)},
        {"wait": replace(WAIT, is_unusual=True)},
    ],
)
def test_what_its_reader_waits_for_is_shown_at_once_but_never_twice_within_a_moment(
    change: dict[str, object],
) -> None:
    card = replace(CARD, **change)  # type: ignore[arg-type]  # mypy: a dict is any field
    assert card.is_news(CARD)
    assert card.replaces(CARD, SOONEST)
    assert not card.replaces(CARD, SOONEST - timedelta(milliseconds=1))


@pytest.mark.parametrize(
    "wait",
    [
        replace(WAIT, share=0.4),
        replace(WAIT, likely_at=NOW + timedelta(seconds=90), late_at=NOW + timedelta(seconds=120)),
        replace(WAIT, likely_at=None, late_at=None),
    ],
)
def test_a_bar_or_a_time_is_corrected_seldom(wait: Wait) -> None:
    card = replace(CARD, wait=wait)
    assert not card.is_news(CARD)
    assert card.replaces(CARD, SELDOM)
    assert not card.replaces(CARD, SELDOM - timedelta(milliseconds=1))


@pytest.mark.parametrize(
    "wait",
    [WAIT, replace(WAIT, share=0.33), replace(WAIT, likely_at=NOW + timedelta(seconds=65))],
)
def test_what_nobody_would_notice_is_never_edited(wait: Wait) -> None:
    assert not replace(CARD, wait=wait).replaces(CARD, timedelta(days=1))


@pytest.mark.parametrize(
    ("before", "now", "shown"), [(0.5, 0.3, 0.5), (0.5, 0.6, 0.6), (None, 0.2, 0.2), (0.5, None, 0.5)]
)
def test_a_bar_never_goes_back(before: float | None, now: float | None, shown: float | None) -> None:
    earlier = replace(CARD, wait=replace(WAIT, share=before), has_thumbnail=True)
    card = replace(CARD, wait=replace(WAIT, share=now)).following(earlier)

    assert card.wait.share == shown
    assert card.has_thumbnail
