"""Again and Edit on the wire: received twice, from direct messages, and by those whom the server doesn't let."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from discord import Permissions
from sqlalchemy import select

from bot.domain.jobs import Job, JobState
from bot.store.jobs.rows import job_of, select_jobs
from bot.store.schema import kept_pictures
from tests.discord_server import DiscordServer, Message, Overwrite, server_error
from tests.faulty_gateway import FaultyGateway
from tests.forged.harness import KEY, WITHIN_S, ForgeryHarness, open_harness

pytestmark = pytest.mark.full

EDITED = {"prompt": "a storm", "negative_prompt": "", "resolution": "480P", "seed": "8"}


@pytest.fixture
async def forgery(tmp_path: Path) -> AsyncIterator[ForgeryHarness]:
    async with (
        DiscordServer() as server,
        FaultyGateway(tmp_path / "upstream", KEY) as upstream,
        open_harness(tmp_path, server, upstream) as harness,
    ):
        yield harness


async def all_jobs(harness: ForgeryHarness) -> list[Job]:
    async with harness.app.database.read() as connection:
        return [job_of(row) for row in await connection.execute(select_jobs())]


async def posted(harness: ForgeryHarness) -> tuple[str, Message]:
    """A video in the channel, and its job's id. The worker has stopped."""
    harness.upstream.task_seconds = 0.1
    async with harness.worker_running():
        await harness.order("a heron")
        video = await harness.wait_for_message("here's your video", "a heron")
        await harness.wait_until_notified()
    job = await harness.job("a heron")
    assert job.state is JobState.DELIVERED
    return job.id, video


async def test_a_click_that_is_received_twice_orders_once(forgery: ForgeryHarness) -> None:
    job_id, video = await posted(forgery)

    click = forgery.click(f"zoetrope:again:{job_id}", forgery.discord.member, video.channel, message=video)
    forgery.discord.gateway.dispatch("INTERACTION_CREATE", click.create_json())
    assert (await forgery.private_reply(click)).startswith("Got it!")
    await forgery.wait_until_handled(forgery.discord.member)

    assert len(await all_jobs(forgery)) == 2


async def test_a_form_that_is_submitted_twice_orders_once(forgery: ForgeryHarness) -> None:
    job_id, video = await posted(forgery)
    asked = await forgery.discord.click(video.id, f"zoetrope:edit:{job_id}")

    for _ in range(2):
        answer = await (await forgery.discord.submit(asked, EDITED)).answer()
        assert answer.content.startswith("Got it!")

    assert sorted(job.order.prompt for job in await all_jobs(forgery)) == ["a heron", "a storm"]


async def test_a_form_that_extends_a_video_and_is_submitted_twice_orders_once(forgery: ForgeryHarness) -> None:
    job_id, video = await posted(forgery)
    asked = await forgery.discord.click(video.id, f"zoetrope:extend:{job_id}")

    for _ in range(2):
        answer = await (await forgery.discord.submit(asked, {"prompt": "a storm"})).answer()
        assert "as one clip of 10 s" in answer.content

    assert sorted(job.order.prompt for job in await all_jobs(forgery)) == ["a heron", "a storm"]


async def test_a_form_with_another_custom_id_is_not_ours(forgery: ForgeryHarness) -> None:
    job_id, video = await posted(forgery)
    asked = await forgery.discord.click(video.id, f"zoetrope:edit:{job_id}")
    modal = await asked.until(lambda: asked.modal)
    for bent in (f"zoetrope:edit:{job_id}", f"{modal['custom_id']}0x", f"zoetrope:edit:{'A' * 21}:1", "edit"):
        modal["custom_id"] = bent
        await forgery.discord.submit(asked, EDITED)
    await forgery.wait_until_handled(forgery.discord.member)

    assert len(await all_jobs(forgery)) == 1


async def test_a_form_with_things_that_it_never_had_is_refused(forgery: ForgeryHarness) -> None:
    job_id, video = await posted(forgery)
    asked = await forgery.discord.click(video.id, f"zoetrope:edit:{job_id}")
    modal = await asked.until(lambda: asked.modal)

    for values in ({"prompt": "x" * 4000}, {"resolution": "8K"}, {"seed": "-1"}, {"seed": "٣"}, {"prompt": ""}):
        sent: dict[str, Any] = EDITED | values
        answer = await (await forgery.discord.submit(asked, sent)).answer()
        assert not answer.content.startswith("Got it!"), values
    modal["components"] = []
    assert "prompt is empty" in (await (await forgery.discord.submit(asked, {})).answer()).content

    assert len(await all_jobs(forgery)) == 1


async def test_a_member_makes_their_own_video_again_from_a_direct_message(forgery: ForgeryHarness) -> None:
    job_id, video = await posted(forgery)
    server = forgery.discord
    direct = server.state.direct(server.member)

    click = forgery.click(f"zoetrope:again:{job_id}", server.member, direct, outside=True)
    said = await forgery.private_reply(click)

    assert said.startswith(f"Got it! Your video will appear in <#{video.channel.id}>")
    assert {job.channel_id for job in await all_jobs(forgery)} == {video.channel.id}


async def test_nobody_elses_video_is_made_again_from_a_direct_message(forgery: ForgeryHarness) -> None:
    job_id, _ = await posted(forgery)
    server = forgery.discord
    other = server.state.add_member(server.guild, "other")

    for kind in ("again", "edit", "info"):
        click = forgery.click(f"zoetrope:{kind}:{job_id}", other, server.state.direct(other), outside=True)
        assert "I don't know that video" in await forgery.private_reply(click)


async def test_who_left_the_server_makes_nothing_again_from_a_direct_message(forgery: ForgeryHarness) -> None:
    job_id, _ = await posted(forgery)
    server = forgery.discord
    direct = server.state.direct(server.member)
    del server.guild.members[server.member.id]

    click = forgery.click(f"zoetrope:again:{job_id}", server.member, direct, outside=True)

    assert "I can't post in the channel where you asked" in await forgery.private_reply(click)
    assert len(await all_jobs(forgery)) == 1


async def test_who_may_use_no_commands_in_a_channel_orders_nothing_with_buttons_there(
    forgery: ForgeryHarness,
) -> None:
    job_id, video = await posted(forgery)
    denied = Overwrite(deny=Permissions(use_application_commands=True))
    video.channel.overwrites[forgery.discord.member.id] = denied

    for kind in ("again", "vary"):
        answer = await (await forgery.discord.click(video.id, f"zoetrope:{kind}:{job_id}")).answer()
        assert "This server's settings don't let you make videos here" in answer.content

    assert len(await all_jobs(forgery)) == 1


async def test_a_new_video_keeps_its_picture_and_a_deleted_one_does_not(forgery: ForgeryHarness) -> None:
    job_id, video = await posted(forgery)
    async with forgery.app.database.read() as connection:
        kept = (await connection.execute(select(kept_pictures))).one()
    assert (kept.job_id, kept.origin_id) == (job_id, job_id)
    assert kept.ended_at is not None

    answer = await (await forgery.discord.click(video.id, f"zoetrope:video:{job_id}")).answer(timeout_s=WITHIN_S)

    assert answer.content.startswith("Deleted")
    async with forgery.app.database.read() as connection:
        assert (await connection.execute(select(kept_pictures))).all() == []


async def test_if_discord_does_not_say_who_may_order_a_click_can_be_repeated(forgery: ForgeryHarness) -> None:
    job_id, video = await posted(forgery)
    forgery.discord.fail_next("GET", "/applications/*/guilds/*/commands/*/permissions", server_error(503), times=9)

    answer = await (await forgery.discord.click(video.id, f"zoetrope:again:{job_id}")).answer()

    assert "click again in a moment" in answer.content
    assert len(await all_jobs(forgery)) == 1
