"""What the one card of variations says about each of them."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.chat.messages.variation_texts import FAILURES, card_color, card_heading, card_text, how_many
from bot.domain.errors import Problem
from bot.domain.jobs import ENDED, REMOVED, FailureReason, Job, JobState, Order, Resolution
from bot.domain.limits import Allowance, Credit
from bot.domain.models import WAN22_FLASH
from bot.domain.quotes import Quote
from bot.domain.status_cards import StatusCard, VariationsCard
from bot.domain.waiting import Wait
from tests.domain.limit_factories import limits, usage

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
SOON = NOW + timedelta(minutes=1)
TEXT_MAX = 4000
"""The most text in a message of components (Discord's documentation)."""


def job(state: JobState, **changes: object) -> Job:
    one = Job("job-1", state, 10, 100, 1, Order("a *fox*"), NOW, NOW)
    return replace(one, **changes)  # type: ignore[arg-type]  # mypy: a dict is any field


def text(*shown: tuple[Job, StatusCard]) -> str:
    jobs, cards = zip(*shown, strict=True)
    card = VariationsCard(jobs, cards)
    return f"{card_heading(card)}\n{card_text(card)}"


def said(one: Job, **card: object) -> str:
    """What the card says about one of them."""
    shown = replace(StatusCard(one.state), **card)  # type: ignore[arg-type]  # mypy: a dict is any field
    (line,) = [line for line in text((one, shown)).splitlines() if line.startswith("**1.**")]
    return line.removeprefix("**1.** ")


@pytest.mark.parametrize(
    ("wait", "line"),
    [
        (Wait(), "⏳ in the queue"),
        (Wait(0), "⏳ in the queue · next in line"),
        (Wait(1), "⏳ in the queue · **1 video** before it"),
        (Wait(2, SOON, SOON), f"⏳ in the queue · **2 videos** before it · ready <t:{int(SOON.timestamp())}:R>"),
    ],
)
def test_one_in_the_queue_has_its_place_and_its_time(wait: Wait, line: str) -> None:
    assert said(job(JobState.QUEUED), wait=wait) == line


def test_one_that_is_being_made_has_a_bar() -> None:
    wait = Wait(None, SOON, SOON, share=0.5)
    assert said(job(JobState.RUNNING), wait=wait) == (
        f"🎞️ being made · ready <t:{int(SOON.timestamp())}:R> · ▰▰▰▰▰▱▱▱▱▱"
    )
    assert "takes longer than usual" in said(job(JobState.RUNNING), wait=replace(wait, is_unusual=True))


def test_one_that_is_ready_is_linked_and_one_that_was_removed_is_not() -> None:
    ready = job(JobState.DELIVERED, result_message_id=77)
    assert said(ready) == "✅ [ready](https://discord.com/channels/10/100/77)"
    assert said(replace(ready, result_message_id=REMOVED)) == "🗑️ removed"


@pytest.mark.parametrize("reason", FailureReason)
def test_each_failure_has_a_short_reason_and_says_that_it_costs_nothing(reason: FailureReason) -> None:
    assert said(job(JobState.FAILED, failure_reason=reason)) == f"❌ {FAILURES[reason]} · doesn't count"


def test_a_cancelled_one_says_whether_it_counts() -> None:
    assert said(job(JobState.CANCELLED, charged=False)) == "🚫 cancelled · doesn't count"
    assert said(job(JobState.CANCELLED)) == "🚫 cancelled · it was already paid for, so it counts"
    assert said(job(JobState.RUNNING), is_cancelled=True) == "🚫 cancelled · it was already paid for, so it counts"


def test_the_closed_service_is_explained_once() -> None:
    held_up = StatusCard(JobState.QUEUED, service_closed=True)
    shown = text(*[(job(JobState.QUEUED), held_up)] * 3)
    assert shown.count("⏸️ waiting for the video service") == 3
    assert shown.count("The video service isn't taking orders") == 1


def test_what_no_moderator_has_seen_is_not_shown() -> None:
    shown = text(
        (job(JobState.AWAITING), StatusCard(JobState.AWAITING)),
        (job(JobState.CANCELLED), StatusCard(JobState.CANCELLED)),
    )
    assert "fox" not in shown
    assert "Without an answer they expire" in shown


def test_the_prompt_of_a_video_that_was_removed_is_not_shown() -> None:
    removed = job(JobState.DELIVERED, result_message_id=REMOVED)
    shown = (job(JobState.RUNNING), StatusCard(JobState.RUNNING)), (removed, StatusCard(JobState.DELIVERED))
    assert "fox" not in text(*shown)


def test_the_color_is_that_of_the_one_that_is_furthest() -> None:
    def color(*states: JobState) -> int | None:
        return card_color(VariationsCard(tuple(map(job, states)), tuple(map(StatusCard, states))))

    assert color(JobState.QUEUED, JobState.RUNNING) == color(JobState.RUNNING) != color(JobState.QUEUED)
    assert color(*ENDED) is None


@given(
    st.text(min_size=1, max_size=WAN22_FLASH.prompt_max),
    st.lists(st.sampled_from(JobState), min_size=4, max_size=4),
    st.sampled_from(FailureReason),
    st.booleans(),
)
def test_the_longest_card_fits_a_message(
    prompt: str,
    states: list[JobState],
    reason: FailureReason,
    service_closed: bool,  # noqa: FBT001 - hypothesis
) -> None:
    far = Wait(10**6, SOON, SOON, share=1.0)
    shown = [
        (
            job(
                state,
                id="x" * 20,
                order=Order(prompt),
                failure_reason=reason,
                result_message_id=2**63,
                user_id=2**63,
            ),
            StatusCard(state, far, service_closed=service_closed),
        )
        for state in states
    ]
    assert len(text(*shown)) < TEXT_MAX


def test_the_question_how_many_says_what_is_left() -> None:
    left = how_many(Allowance(limits(), replace(usage(3, 2), credits=(Credit(7, 1, None),)), NOW))
    assert left.splitlines() == [
        "How many variations of this video? Each has another seed, and each counts.",
        "You have **3 of 5** videos left in 24 hours and 1 credit.",
        "In progress: **0 of 2** at a time.",
    ]
    assert how_many(Allowance(limits(exempt=True), usage(), NOW)).splitlines() == left.splitlines()[:1]


def test_the_question_how_many_says_what_each_costs_to_who_may_know_it() -> None:
    quote = Quote(1, 0, 5, timedelta(hours=24), 0, Resolution.P720, Decimal("0.2"))
    assert how_many(Allowance(limits(), usage(), NOW), quote).endswith("\nEach costs about **$0.20**.")


def test_the_question_how_many_says_why_none_can_be_made_now() -> None:
    refused = Allowance(limits(), usage(), NOW, Problem.ORDER_NOT_STORED)
    assert "🛑 I can't save anything right now" in how_many(refused)
