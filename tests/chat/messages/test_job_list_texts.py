"""What `/videos list` and its choices say."""

import pytest

from bot.chat.messages import member_texts
from bot.chat.messages.markdown import CONTENT_MAX, discord_length
from bot.domain.jobs import JobState
from tests.chat.messages.jobs import LARGEST, LONG_PROMPTS, NOW, job


def test_an_empty_list_says_how_to_make_a_video() -> None:
    assert "`/animate`" in member_texts.job_list([])


def test_a_list_shows_state_time_progress_link_and_prompt() -> None:
    running = job(JobState.RUNNING, prompt="a *fox*", progress=0.35, status_message_id=3, guild_id=1, channel_id=2)
    assert member_texts.job_list([running]).splitlines() == [
        f"🎞️ being made · 35% · ordered <t:{int(NOW.timestamp())}:R> · https://discord.com/channels/1/2/3",
        "> a \\*fox\\*",
    ]


def test_a_list_links_to_the_video_rather_than_to_its_status() -> None:
    text = member_texts.job_list([job(JobState.DELIVERED, status_message_id=3, result_message_id=4)])
    assert text.splitlines()[0].endswith("/4")


@pytest.mark.parametrize("prompt", LONG_PROMPTS)
def test_a_long_list_shows_whole_entries_and_fits_a_message(prompt: str) -> None:
    text = member_texts.job_list([job(JobState.DELIVERED, prompt=prompt, result_message_id=LARGEST)] * 50)
    assert discord_length(text) <= CONTENT_MAX
    lines = text.splitlines()
    assert len(lines) % 2 == 0
    assert len(lines) >= 16


@pytest.mark.parametrize("prompt", LONG_PROMPTS)
def test_a_choice_is_plain_text_of_at_most_100_characters(prompt: str) -> None:
    choice = member_texts.choice(job(JobState.RUNNING, prompt=prompt))
    assert choice.startswith("🎞️ being made · ")
    assert discord_length(choice) <= 100


@pytest.mark.parametrize("state", JobState)
def test_a_list_says_that_its_times_are_those_of_the_order(state: JobState) -> None:
    assert f" · ordered <t:{int(NOW.timestamp())}:R>" in member_texts.job_list([job(state)])
