"""Messages to members who want no pings, on the wire."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bot.chat.transport.client import RestClient
from bot.chat.transport.delivery import Delivery
from bot.domain.jobs import Job, JobState, Order, new_job_id
from bot.domain.member_settings import MemberSettings
from tests.discord_server import DiscordServer, logged_in

QUIET = MemberSettings(pings=False, direct=True)


@pytest.fixture
def job(server: DiscordServer) -> Job:
    now = datetime.now(UTC)
    place = (server.guild.id, server.channel.id, server.member.id)
    return Job(new_job_id(), JobState.DELIVERING, *place, Order("a cat"), now, now)


@pytest.fixture
def video(tmp_path: Path) -> Path:
    path = tmp_path / "video.mp4"
    path.write_bytes(b"\0\0\0\x18ftypmp42" + b"x" * 1000)
    return path


@pytest.fixture
async def quiet(server: DiscordServer) -> AsyncIterator[Delivery]:
    async def settings_of(user_id: int) -> MemberSettings:
        assert user_id == server.member.id
        return QUIET

    async with logged_in(RestClient(), server) as client:
        yield Delivery(client, settings_of=settings_of)


async def test_a_posted_video_names_its_member_without_a_ping(
    server: DiscordServer, quiet: Delivery, job: Job, video: Path
) -> None:
    await quiet.post_video(job, video)

    [message] = server.messages()
    assert f"<@{job.user_id}>" in message.content
    assert message.pinged == []


async def test_a_note_about_a_failure_pings_nobody(server: DiscordServer, quiet: Delivery, job: Job) -> None:
    await quiet.notify_failure(replace(job, state=JobState.FAILED), check_existing=False)

    [message] = server.messages()
    assert f"<@{job.user_id}>" in message.content
    assert message.pinged == []


async def test_a_video_sent_as_the_member_wants_it_does_not_say_that_something_went_wrong(
    server: DiscordServer, quiet: Delivery, job: Job, video: Path
) -> None:
    await quiet.send_video(job, video)
    server.state.forget_nonces()
    await quiet.send_link(replace(job, result_url="https://cdn.example/v.mp4"), job.created_at)

    texts = [message.content for message in server.messages(server.state.direct(server.member).id)]
    assert len(texts) == 2
    assert all(text.startswith("Your video is ready.") and "couldn't post" not in text for text in texts)
