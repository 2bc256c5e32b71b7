"""What a status card says in each stage."""

from dataclasses import replace
from datetime import timedelta

import pytest

from bot.chat.messages.markdown import discord_length
from bot.chat.messages.status_texts import card_text, color
from bot.domain.jobs import JobState
from bot.domain.status_cards import StatusCard
from bot.domain.waiting import Wait
from tests.chat.messages.jobs import JOB, LARGEST, LONG_PROMPTS, MENTION, NOW

COMPONENTS_TEXT_MAX = 4000
"""Characters in all texts of a message of components (Discord's documentation of components)."""

AT = int(NOW.timestamp())
KNOWN = Wait(None, NOW + timedelta(seconds=40), NOW + timedelta(seconds=100), share=0.42)
CARDS = [
    StatusCard(JobState.AWAITING),
    StatusCard(JobState.QUEUED),
    StatusCard(JobState.QUEUED, replace(KNOWN, ahead=2)),
    StatusCard(JobState.QUEUED, replace(KNOWN, ahead=0)),
    StatusCard(JobState.QUEUED, service_closed=True),
    StatusCard(JobState.SUBMITTING),
    StatusCard(JobState.RUNNING, KNOWN),
    StatusCard(JobState.RUNNING, Wait(is_unusual=True)),
    StatusCard(JobState.RUNNING, KNOWN, is_cancelled=True),
    StatusCard(JobState.DELIVERING, KNOWN),
]


def says(card: StatusCard) -> list[str]:
    """The lines that say what it waits for."""
    return [line for line in card_text(JOB, card).splitlines()[2:] if not line.startswith("> ")]


@pytest.mark.parametrize("card", CARDS)
def test_a_card_says_what_it_is_and_for_whom(card: StatusCard) -> None:
    heading, whose, *_ = card_text(JOB, card).splitlines()
    assert heading.startswith("### ")
    assert MENTION in whose
    assert 0 <= color(card) <= 0xFFFFFF


def test_only_what_a_moderator_has_approved_or_need_not_is_shown() -> None:
    prompts = [JOB.order.prompt in card_text(JOB, card) for card in CARDS]
    assert prompts == [card.state is not JobState.AWAITING for card in CARDS]


def test_a_queued_video_has_a_place_and_a_time() -> None:
    times = f"Ready <t:{AT + 40}:R>, or 1 minute later if it's a slow one."
    assert says(StatusCard(JobState.QUEUED, replace(KNOWN, ahead=2)))[:2] == ["**2 videos** before it.", times]
    assert says(StatusCard(JobState.QUEUED, replace(KNOWN, ahead=0)))[:2] == ["It's next in line.", times]


def test_what_is_not_known_is_not_made_up() -> None:
    (line,) = says(StatusCard(JobState.RUNNING))
    assert "<t:" not in line


def test_an_unusual_wait_names_no_time() -> None:
    (line,) = says(StatusCard(JobState.RUNNING, Wait(is_unusual=True)))
    assert "longer than usual" in line
    assert "<t:" not in line


def test_a_certain_time_is_named_once() -> None:
    certain = replace(KNOWN, late_at=NOW + timedelta(seconds=45))
    assert says(StatusCard(JobState.RUNNING, certain))[0] == f"Ready <t:{AT + 45}:R>."


@pytest.mark.parametrize(
    ("late_s", "said"),
    [
        (52, "10 seconds"),
        (62, "20 seconds"),
        (94, "50 seconds"),
        (96, "1 minute"),
        (130, "2 minutes"),
        (340, "5 minutes"),
    ],
)
def test_a_slow_one_is_told_by_how_much_later_it_is(late_s: int, said: str) -> None:
    card = StatusCard(JobState.RUNNING, replace(KNOWN, late_at=NOW + timedelta(seconds=late_s)))
    assert says(card)[0] == f"Ready <t:{AT + 40}:R>, or {said} later if it's a slow one."


def test_a_bar_shows_how_much_of_the_wait_is_over() -> None:
    assert says(StatusCard(JobState.RUNNING, KNOWN))[-1] == "▰▰▰▰▱▱▱▱▱▱"


def test_while_the_video_service_is_closed_it_says_so_and_shows_no_bar() -> None:
    lines = says(StatusCard(JobState.QUEUED, KNOWN, service_closed=True))
    assert len(lines) == 1
    assert "isn't taking orders" in lines[0]


def test_a_cancelled_video_says_that_it_counts() -> None:
    assert says(StatusCard(JobState.RUNNING, KNOWN, is_cancelled=True)) == [
        "It was already paid for, so it counts. It won't be posted."
    ]


def test_a_cancelled_video_that_may_still_be_stopped_says_so() -> None:
    stoppable = replace(JOB, state=JobState.RUNNING, can_be_stopped=True)
    text = card_text(stoppable, StatusCard(JobState.RUNNING, KNOWN, is_cancelled=True))
    assert "I'm asking the video service to stop it" in text


@pytest.mark.parametrize("prompt", LONG_PROMPTS)
@pytest.mark.parametrize("card", CARDS)
def test_the_longest_prompt_fits(card: StatusCard, prompt: str) -> None:
    job = replace(JOB, user_id=LARGEST, order=replace(JOB.order, prompt=prompt))
    assert discord_length(card_text(job, card)) <= COMPONENTS_TEXT_MAX
