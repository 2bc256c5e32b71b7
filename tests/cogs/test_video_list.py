"""`/videos list`, `/videos show` and the choices of `/videos cancel` as a member sees them."""

from collections.abc import Sequence
from datetime import timedelta

import discord
import pytest
from simcord import InteractionResult
from sqlalchemy import update

from bot.chat.messages.video_list_texts import (
    NO_MATCH,
    NO_VIDEOS,
    NOTHING_TO_CANCEL,
    NOTHING_TO_EXTEND,
    NOTHING_TO_REPEAT,
)
from bot.chat.posting import components_within, shown_text
from bot.domain.jobs import Frame, Job, JobState, NewJob, Order, PictureLabels, new_job_id
from bot.domain.policy import Requester
from bot.operations.clock import utc_now
from bot.store.jobs.job_store import JobStore
from bot.store.schema import jobs
from tests.cogs.admins import text_of
from tests.cogs.conftest import CogHarness, sample_picture
from tests.store.factories import UNLIMITED

THUMBNAIL = sample_picture((32, 24))


async def add(
    harness: CogHarness, prompts: Sequence[str], state: JobState = JobState.DELIVERED, *, spoiler: bool = False
) -> list[Job]:
    """Adds the member's videos, the last one the newest."""
    store = JobStore(harness.app.database, UNLIMITED)
    guild, channel, user = harness.offline.guild.id, harness.offline.channel.id, harness.offline.viewer.id
    made = []
    for number, prompt in enumerate(prompts):
        labels = PictureLabels("SPOILER_sea.png" if spoiler else "sea.png", "the sea")
        new = NewJob(new_job_id(), guild, channel, user, Order(prompt), labels)
        at = utc_now() - timedelta(days=5) + timedelta(minutes=number)
        made.append(await store.add(new, Frame(b"x", "image/png", THUMBNAIL), Requester(guild, channel, user), at))
        ended = {"state": state, "state_changed_at": at, "due_at": None, "result_message_id": 5}
        async with harness.app.database.write() as connection:
            await connection.execute(update(jobs).where(jobs.c.id == new.id).values(ended))
    return made


def message(result: InteractionResult) -> discord.Message:
    """The private answer."""
    assert result.response is not None
    assert result.response.ephemeral
    return result.response.message


async def listed(harness: CogHarness) -> discord.Message:
    return message(await harness.offline.viewer.slash(harness.offline.channel, "videos list"))


def prompts_in(shown: discord.Message) -> list[str]:
    return [line[2:] for line in shown_text(shown.components).splitlines() if line.startswith("> ")]


def now(harness: CogHarness, shown: discord.Message) -> discord.Message:
    """The message as it is by now."""
    [found] = [one for one in harness.offline.messages() if one.id == shown.id]
    return found


def button(shown: discord.Message, label: str) -> discord.Button:
    [found] = [
        one
        for one in components_within(shown.components)
        if isinstance(one, discord.Button) and one.label is not None and label in one.label
    ]
    return found


async def choose(harness: CogHarness, shown: discord.Message, value: str) -> discord.Message:
    user_id = harness.offline.viewer.id
    await harness.offline.viewer.select(shown, [value], custom_id=f"zoetrope:list:filter:{user_id}")
    return now(harness, shown)


TWELVE = [f"wave {number}" for number in range(12)]


async def test_the_list_shows_five_videos_with_their_pictures(harness: CogHarness) -> None:
    await add(harness, TWELVE)

    shown = await listed(harness)

    assert prompts_in(shown) == TWELVE[:-6:-1]
    assert "page 1 of 3" in shown_text(shown.components)
    pictures = [one.accessory for one in components_within(shown.components) if hasattr(one, "accessory")]
    assert [picture.description for picture in pictures] == ["the sea"] * 5
    assert button(shown, "Previous").disabled


async def test_pages_are_turned_in_place(harness: CogHarness) -> None:
    await add(harness, TWELVE)
    shown = await listed(harness)
    seen = prompts_in(shown)

    while not button(shown, "Next").disabled:
        await harness.click(shown, "Next ▶")
        shown = now(harness, shown)
        seen += prompts_in(shown)

    assert seen == TWELVE[::-1]
    await harness.click(shown, "◀ Previous")
    assert "page 2 of 3" in shown_text(now(harness, shown).components)


async def test_the_filter_shows_the_videos_in_that_state(harness: CogHarness) -> None:
    await add(harness, ["ready"])
    await add(harness, ["failed"], JobState.FAILED)
    shown = await listed(harness)

    assert prompts_in(await choose(harness, shown, "failed")) == ["failed"]
    assert prompts_in(await choose(harness, shown, "ready")) == ["ready"]
    nothing = await choose(harness, shown, "progress")
    assert "None of your videos here is in progress." in shown_text(nothing.components)
    assert set(prompts_in(await choose(harness, nothing, "all"))) == {"failed", "ready"}


async def test_another_page_keeps_the_filter(harness: CogHarness) -> None:
    await add(harness, TWELVE, JobState.FAILED)
    await add(harness, ["ready"] * 12)
    shown = await choose(harness, await listed(harness), "failed")

    await harness.click(shown, "Next ▶")

    assert prompts_in(now(harness, shown)) == TWELVE[6:1:-1]


async def test_the_pictures_of_spoilers_stay_hidden(harness: CogHarness) -> None:
    await add(harness, ["a secret"], spoiler=True)

    shown = await listed(harness)

    [picture] = [one.accessory for one in components_within(shown.components) if hasattr(one, "accessory")]
    assert picture.spoiler


async def test_a_list_survives_a_video_that_was_ordered_meanwhile(harness: CogHarness) -> None:
    await add(harness, TWELVE)
    shown = await listed(harness)
    await harness.animate("the newest")

    await harness.click(shown, "Next ▶")

    assert prompts_in(now(harness, shown))[0] == TWELVE[7]


async def test_one_video_is_shown_with_everything_about_it(harness: CogHarness) -> None:
    [job] = await add(harness, ["a *fox*"])

    result = await harness.offline.viewer.slash(harness.offline.channel, "videos show", video=job.id)

    text = shown_text(message(result).components)
    for part in ("✅ ready", r"> a \*fox\*", "720P", f"`{job.id}`", "**Ordered**"):
        assert part in text
    assert (
        button(message(result), "Go to it").url
        == f"https://discord.com/channels/{job.guild_id}/{job.channel_id}/5"
    )


async def test_a_video_in_progress_can_be_cancelled_where_it_is_shown(harness: CogHarness) -> None:
    harness.gateway.task_seconds = 3600
    await harness.animate("slow one")
    [job] = await harness.app.service.recent(harness.offline.guild.id, harness.offline.viewer.id)
    shown = message(await harness.offline.viewer.slash(harness.offline.channel, "videos show", video=job.id))

    result = await harness.click(shown, "Cancel")

    assert "Cancel" in text_of(result) or "cancel" in text_of(result)


async def test_a_video_that_was_cancelled_while_it_was_made_is_listed_as_cancelled(harness: CogHarness) -> None:
    [job] = await add(harness, ["slow one"])
    running = {"state": JobState.RUNNING, "upstream_id": "task", "result_message_id": None, "due_at": utc_now()}
    async with harness.app.database.write() as connection:
        await connection.execute(update(jobs).where(jobs.c.id == job.id).values(running))
    await harness.app.store.cancel(job.id, utc_now(), even_if_paid=True)
    channel, viewer = harness.offline.channel, harness.offline.viewer

    shown = await listed(harness)
    in_progress = shown_text((await choose(harness, shown, "progress")).components)
    cancelled = shown_text((await choose(harness, shown, "failed")).components)
    [choice] = await viewer.autocomplete(channel, "videos cancel", "video", "")

    assert "None of your videos here is in progress" in in_progress
    assert "🚫 cancelled" in cancelled
    assert choice["name"] == NOTHING_TO_CANCEL


@pytest.mark.parametrize("forged", ["", "no such job", "' OR 1=1 --"])
async def test_a_video_that_is_not_ones_own_is_not_shown(harness: CogHarness, forged: str) -> None:
    [job] = await add(harness, ["mine alone"])
    other = harness.another_member()

    refused = [
        text_of(await harness.offline.viewer.slash(harness.offline.channel, "videos show", video=forged)),
        text_of(await other.slash(harness.offline.channel, "videos show", video=job.id)),
    ]

    assert all("isn't one of your videos" in text for text in refused)


async def test_show_offers_all_of_the_members_videos(harness: CogHarness) -> None:
    (ready,) = await add(harness, ["ready one"])
    (failed,) = await add(harness, ["failed one"], JobState.FAILED)

    offered = await harness.offline.viewer.autocomplete(harness.offline.channel, "videos show", "video", "one")

    assert {choice["value"] for choice in offered} == {ready.id, failed.id}


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ("videos cancel", NOTHING_TO_CANCEL),
        ("videos show", NO_VIDEOS),
        ("videos again", NOTHING_TO_REPEAT),
        ("videos extend", NOTHING_TO_EXTEND),
    ],
)
async def test_with_nothing_to_choose_a_sentence_is_offered_and_answered(
    harness: CogHarness, command: str, sentence: str
) -> None:
    channel, viewer = harness.offline.channel, harness.offline.viewer

    [choice] = await viewer.autocomplete(channel, command, "video", "")
    more = {"prompt": "it goes on"} if command == "videos extend" else {}
    answer = text_of(await viewer.slash(channel, command, video=choice["value"], **more))

    assert choice["name"] == sentence
    assert answer.startswith(sentence)


async def test_where_nothing_matches_a_sentence_is_offered(harness: CogHarness) -> None:
    await add(harness, ["a fox"])

    [choice] = await harness.offline.viewer.autocomplete(
        harness.offline.channel, "videos show", "video", "no such thing"
    )

    assert choice["name"] == NO_MATCH


async def test_an_old_video_in_progress_can_be_chosen_whatever_came_after_it(harness: CogHarness) -> None:
    harness.gateway.task_seconds = 3600
    await harness.animate("slow one")
    [job] = await harness.app.service.recent(harness.offline.guild.id, harness.offline.viewer.id)
    await add(harness, [f"later {number}" for number in range(26)])
    async with harness.app.database.write() as connection:
        early = utc_now() - timedelta(days=6)
        await connection.execute(update(jobs).where(jobs.c.id == job.id).values(created_at=early))

    offered = await harness.offline.viewer.autocomplete(harness.offline.channel, "videos cancel", "video", "")

    assert [choice["value"] for choice in offered] == [job.id]
