"""What `/videos list` and `/videos show` say, and the choices of a video."""

from dataclasses import replace
from datetime import timedelta

import pytest

from bot.chat.messages import video_list_texts as texts
from bot.chat.messages.markdown import discord_length
from bot.domain.jobs import REMOVED, FailureCause, FailureDetail, FailureReason, Job, JobState, Order, Resolution
from bot.domain.video_list import VideoFilter, VideoPage
from bot.services.video_reader import VideoDetails
from tests.chat.messages.jobs import LARGEST, LONG_PROMPTS, NOW, job

LONG_LINK = "https://example.com/" + "x" * 1600


def page(*jobs: Job, **changes: object) -> VideoPage:
    return VideoPage(VideoFilter.ALL, jobs, **changes)  # type: ignore[arg-type]


def entry(shown: Job) -> str:
    [text] = texts.entries(page(shown))
    return text


def test_an_empty_list_says_how_to_make_a_video() -> None:
    assert "`/animate`" in texts.heading(page())


@pytest.mark.parametrize("shows", VideoFilter)
def test_an_empty_list_says_what_it_would_show(shows: VideoFilter) -> None:
    text = texts.heading(VideoPage(shows, ()))
    assert texts.FILTERS[shows] in text
    assert "your videos here" in text or "any videos here" in text


def test_an_entry_shows_state_progress_time_link_and_prompt() -> None:
    running = job(
        JobState.RUNNING, prompt="a *fox*", progress=0.35, status_message_id=3, guild_id=10, channel_id=2
    )
    assert entry(running).splitlines() == [
        f"**🎞️ being made · 35%** · ordered <t:{int(NOW.timestamp())}:R> · [go to it](https://discord.com/channels/10/2/3)",
        "> a \\*fox\\*",
    ]


def test_a_video_that_is_still_being_made_is_never_at_100_percent() -> None:
    assert "being made · 99%" in entry(job(JobState.RUNNING, progress=0.999))


def test_a_video_that_its_member_cancelled_reads_as_cancelled_though_it_is_still_being_made() -> None:
    assert entry(job(JobState.RUNNING, progress=0.5, cancel_requested=True)).startswith(
        "**🚫 cancelled** · ordered"
    )


def test_an_entry_links_to_the_video_rather_than_to_its_card() -> None:
    assert entry(job(JobState.DELIVERED, status_message_id=3, result_message_id=4)).splitlines()[0].endswith("/4)")


def test_a_removed_video_is_not_linked_to() -> None:
    text = entry(job(JobState.DELIVERED, result_message_id=REMOVED))
    assert "🗑️ removed" in text
    assert "discord.com" not in text


def test_the_heading_says_which_page_it_is() -> None:
    assert "page 2 of 3" in texts.heading(page(job(), number=1, count=3))
    assert "page" not in texts.heading(page(job()))


@pytest.mark.parametrize("prompt", LONG_PROMPTS)
def test_the_longest_page_fits_a_message(prompt: str) -> None:
    ids = ["a", "b", "c", "d", "e"]
    largest = [job(JobState.FAILED, prompt=prompt, id=id_, result_url=LONG_LINK) for id_ in ids]
    full = page(*largest, downloads=dict.fromkeys(ids, NOW), service_closed=True, number=10**6, count=10**6)
    written = [texts.heading(full), *texts.entries(full)]
    assert sum(map(discord_length, written)) <= texts.TEXT_MAX
    assert LONG_LINK in written[1]
    assert "`/videos show`" in written[2]


@pytest.mark.parametrize("prompt", LONG_PROMPTS)
@pytest.mark.parametrize("unwanted", [None, "a", "*" * 500, "🦊" * 500])
def test_the_longest_details_fit_a_message(prompt: str, unwanted: str | None) -> None:
    order = Order(prompt, unwanted, Resolution.P720, 2**31 - 1)
    failed = job(
        JobState.FAILED,
        submitted_at=NOW,
        failure_reason=FailureReason.UNDELIVERABLE,
        failure_detail=FailureDetail(FailureCause.TASK_FAILED, "*" * 5000),
        result_url=LONG_LINK,
        channel_id=LARGEST,
    )
    text = texts.details(VideoDetails(replace(failed, order=order), None, NOW))
    assert discord_length(text) <= texts.TEXT_MAX
    assert LONG_LINK in text
    assert (unwanted is not None) == ("**Not in it:**" in text)


def test_details_have_all_options_times_and_the_id() -> None:
    order = Order("a fox", "people", Resolution.P480, 7, prompt_extend=False, watermark=True)
    ended = job(JobState.DELIVERED, submitted_at=NOW, state_changed_at=NOW + timedelta(minutes=2))
    ready = replace(ended, order=order)
    text = texts.details(VideoDetails(ready))
    for part in (
        "✅ ready", "> a fox", "**Not in it:** people", "480P", "seed 7", "prompt not extended", "watermark",
        f"`{ready.id}`", "**Ordered**", "**Started**", "**Ready**", "It counts against your quota.",
    ):  # fmt: skip
        assert part in text


def test_details_of_a_failure_say_why_and_that_it_does_not_count() -> None:
    failed = job(JobState.FAILED, failure_detail=FailureDetail(FailureCause.SERVICE_UNREACHABLE), charged=False)
    text = texts.details(VideoDetails(failed))
    assert "unreachable for too long" in text
    assert "It doesn't count" in text


@pytest.mark.parametrize("prompt", LONG_PROMPTS)
def test_a_choice_is_plain_text_of_at_most_100_characters(prompt: str) -> None:
    choice = texts.choice(job(JobState.RUNNING, prompt=prompt))
    assert choice.startswith("🎞️ being made · ")
    assert discord_length(choice) <= 100


@pytest.mark.parametrize(
    ("reason", "reads"),
    [
        (FailureReason.DECLINED, "🚫 declined"),
        (FailureReason.EXPIRED, "⌛ expired"),
        (FailureReason.REFUSED, "❌ failed"),
    ],
)
def test_a_declined_or_expired_video_does_not_read_as_a_failure(reason: FailureReason, reads: str) -> None:
    failed = job(JobState.FAILED, failure_reason=reason)
    assert texts.choice(failed).startswith(reads)
    assert entry(failed).startswith(f"**{reads}**")


def test_a_video_that_waits_for_a_moderator_says_so() -> None:
    assert "waiting for a moderator" in entry(job(JobState.AWAITING))
