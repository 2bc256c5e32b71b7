"""What a member called their picture goes with everything that is made from it, above all that it is a spoiler."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bot.chat.messages.markdown import discord_length
from bot.chat.transport.client import RestClient
from bot.chat.transport.delivery import Delivery, video_file
from bot.chat.transport.status_messages import StatusMessages
from bot.chat.views.approval_cards import ApprovalCards
from bot.domain.jobs import Job, JobState, Order, PictureLabels, new_job_id
from bot.domain.orders import ALT_TEXT_MAX, PICTURE_NAME_MAX, picture_labels
from bot.domain.status_cards import StatusCard
from tests.discord_server import DiscordServer
from tests.fakes import FRAME


@pytest.fixture
def job(server: DiscordServer) -> Job:
    now = datetime.now(UTC)
    place = (server.guild.id, server.channel.id, server.member.id)
    labels = {"picture_name": "SPOILER_the end.final.jpg", "picture_alt_text": "who did it"}
    return replace(Job(new_job_id(), JobState.DELIVERING, *place, Order("a cat"), now, now), **labels)  # type: ignore[arg-type]  # mypy: a dict is any field


async def test_the_video_of_a_spoilered_picture_is_a_spoiler_with_its_name_and_alt_text(
    server: DiscordServer, client: RestClient, job: Job, tmp_path: Path
) -> None:
    video = tmp_path / "fitted.mp4"
    video.write_bytes(b"a video")

    await Delivery(client).post_video(job, video)

    [posted] = server.messages()[0].attachments
    assert (posted.upload.filename, posted.description) == ("SPOILER_the_end.final.mp4", "who did it")


PROMPT = "<@1> **waves** roll in " + "🌊" * 800
DERIVED = "<@1> **waves** roll in 🌊"


async def test_without_an_alt_text_the_prompt_describes_every_file(
    server: DiscordServer, client: RestClient, job: Job, tmp_path: Path
) -> None:
    job = replace(job, picture_alt_text=None, order=Order(PROMPT))
    video = tmp_path / "fitted.mp4"
    video.write_bytes(b"a video")
    card = StatusCard(JobState.RUNNING, has_thumbnail=True)

    await Delivery(client).post_video(job, video)
    await Delivery(client).send_video(job, video)
    await StatusMessages(client).show(job, card, b"a thumbnail", check_existing=False)
    await ApprovalCards(client).post(job, FRAME, server.channel.id, check_existing=False)

    sent = [*server.messages(), *server.messages(server.state.direct(server.member).id)]
    described = [file.description or "" for message in sent for file in message.attachments]
    assert sorted(text[: text.index(": ")] for text in described) == [
        "A video", "A video", "The picture for a video", "The picture for a video",
    ]  # fmt: skip
    assert all(DERIVED in text and discord_length(text) <= ALT_TEXT_MAX for text in described)


async def test_moderators_get_a_spoilered_picture_as_a_spoiler_too(
    server: DiscordServer, client: RestClient, job: Job
) -> None:
    await ApprovalCards(client).post(job, FRAME, server.channel.id, check_existing=False)

    [posted] = server.messages()[0].attachments
    assert (posted.upload.filename, posted.description) == ("SPOILER_first-frame.png", "who did it")


@pytest.mark.parametrize(
    ("name", "posted"),
    [
        ("sea.png", "sea.mp4"),
        ("SPOILER_a.jpg", "SPOILER_a.mp4"),
        ("SPOILER_no-extension", "SPOILER_no-extension.mp4"),
        ("SPOILER_.png", "SPOILER_.mp4"),
        ("SPOILER_😀.png", "SPOILER__.mp4"),
        ("../../etc/passwd", "passwd.mp4"),
        ("..", None),
        ("картина.png", None),
        (None, None),
        ("x" * 300 + ".png", "x" * 100 + ".mp4"),
    ],
)
def test_a_posted_file_is_called_like_the_picture(job: Job, tmp_path: Path, name: str | None, posted: str) -> None:
    video = tmp_path / "video.mp4"
    video.touch()

    file = video_file(replace(job, picture_name=name), video)
    file.close()

    assert file.filename == (posted or f"zoetrope-{job.id}.mp4")
    assert file.spoiler == (name or "").startswith("SPOILER_")


def test_a_spoiler_without_the_name_of_one_gets_it() -> None:
    assert picture_labels("a.jpg", None, spoiler=True) == PictureLabels("SPOILER_a.jpg")
    assert picture_labels("SPOILER_a.jpg", None, spoiler=True) == PictureLabels("SPOILER_a.jpg")


def test_names_and_descriptions_are_cleaned_and_cut() -> None:
    labels = picture_labels("a\n\0b.jpg" + "x" * 999, " two\nlines " + "y" * 9999, spoiler=False)

    assert labels.name is not None
    assert labels.alt_text is not None
    assert (labels.name[:7], len(labels.name)) == ("a b.jpg", PICTURE_NAME_MAX)
    assert (labels.alt_text[:9], len(labels.alt_text)) == ("two lines", ALT_TEXT_MAX)
    assert picture_labels("", "", spoiler=False) == PictureLabels()
