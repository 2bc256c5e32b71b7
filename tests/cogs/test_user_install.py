"""Where the videos go that members make where the bot is only their own app: over real sockets."""

import asyncio
from pathlib import Path

import pytest

from bot.chat.messages.member_texts import ELSEWHERE
from bot.domain.guilds import OUTSIDE_SERVERS
from bot.domain.jobs import NO_CHANNEL
from tests.cogs.own_app import (
    content,
    delivered,
    harness_of,
    kept_tokens,
    order,
    outside,
    own_app,
    videos_put,
    with_video,
)
from tests.discord_server import FaultPhase, Hang, Reset
from tests.faulty_gateway import Fault, Route
from tests.forged.harness import WITHIN_S


async def test_the_video_is_put_into_an_answer_that_everybody_sees(tmp_path: Path) -> None:
    async with own_app(tmp_path) as (harness, channel), harness.worker_running():
        asked = await order(harness, channel)
        message = await with_video(harness, channel)

        assert "within about ten minutes" in content(asked)
        assert "direct message" in content(asked)
        assert asked.original is not None
        assert asked.original.ephemeral
        assert [message.id] == [followup.id for followup in asked.followups]
        assert "here's your video" in message.content
        assert harness.discord.messages(harness.discord.state.direct(harness.discord.member).id) == []
        assert harness.discord.calls("POST", f"/channels/{channel.id}") == []
        job = await delivered(harness)
        assert (job.guild_id, job.channel_id) == (OUTSIDE_SERVERS, NO_CHANNEL)


async def test_where_the_video_will_be_is_said_before_anything_is_paid_for(tmp_path: Path) -> None:
    async with own_app(tmp_path) as (harness, channel):
        await order(harness, channel)

        edits = [call for call in harness.discord.calls("PATCH", "/webhooks/") if "content" in call.payload]
        assert edits[0].payload["content"] == ELSEWHERE
        assert "direct message" in ELSEWHERE
        assert not harness.upstream.received


async def test_after_the_token_has_expired_the_video_comes_by_direct_message(tmp_path: Path) -> None:
    async with own_app(tmp_path) as (harness, channel):
        asked = await order(harness, channel)
        asked.expire()
        direct = harness.discord.state.direct(harness.discord.member)

        async with harness.worker_running():
            message = await with_video(harness, direct)

        assert "Your video is ready." in message.content
        assert all(not followup.attachments for followup in asked.followups)


async def test_a_token_that_discord_takes_no_more_is_tried_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with own_app(tmp_path) as (harness, channel):
        asked = await order(harness, channel)
        await asked.until(lambda: asked.followups, timeout_s=WITHIN_S)
        asked.expire()

        async with harness.worker_running():
            job = await delivered(harness)

        direct = harness.discord.state.direct(harness.discord.member)
        assert [job.result_message_id] == [message.id for message in harness.discord.messages(direct.id)]
        assert videos_put(harness) == 1
        assert asked.token not in caplog.text


async def test_a_video_whose_answer_was_lost_is_looked_for_and_not_put_there_again(tmp_path: Path) -> None:
    async with own_app(tmp_path) as (harness, channel):
        asked = await order(harness, channel)
        harness.discord.fail_next("PATCH", "/webhooks/*/*/messages/*", Reset(phase=FaultPhase.AFTER))

        async with harness.worker_running():
            message = await with_video(harness, channel)
            await delivered(harness)

        assert videos_put(harness) == 1
        assert [message.id] == [followup.id for followup in asked.followups]
        assert harness.discord.messages(harness.discord.state.direct(harness.discord.member).id) == []


async def test_after_a_restart_the_video_is_still_put_into_the_answer(tmp_path: Path) -> None:
    async with outside(tmp_path) as (server, upstream, channel):
        async with harness_of(tmp_path, server, upstream) as harness:
            asked = await order(harness, channel)
            await asked.until(lambda: asked.followups, timeout_s=WITHIN_S)
        async with harness_of(tmp_path, server, upstream) as harness, harness.worker_running():
            job = await delivered(harness)

            assert [job.result_message_id] == [followup.id for followup in asked.followups]
            assert asked.followups[0].attachments
            assert server.messages(server.state.direct(server.member).id) == []


async def test_a_process_that_dies_after_the_answer_took_the_video_sends_it_only_once(tmp_path: Path) -> None:
    async with outside(tmp_path) as (server, upstream, channel):
        async with harness_of(tmp_path, server, upstream) as harness:
            asked = await order(harness, channel)
            await asked.until(lambda: asked.followups, timeout_s=WITHIN_S)
            server.fail_next("PATCH", "/webhooks/*/*/messages/*", Hang(phase=FaultPhase.AFTER))
            dying = asyncio.create_task(harness.app.worker.run())
            await with_video(harness, channel)
            dying.cancel()
            await asyncio.wait([dying])
            assert (await harness.job("a heron")).result_message_id is None
        async with harness_of(tmp_path, server, upstream) as harness, harness.worker_running():
            job = await delivered(harness)

            assert [job.result_message_id] == [followup.id for followup in asked.followups]
            assert videos_put(harness) == 1
            assert server.messages(server.state.direct(server.member).id) == []


async def test_where_the_announcement_was_deleted_the_private_answer_takes_the_video(tmp_path: Path) -> None:
    async with own_app(tmp_path) as (harness, channel):
        asked = await order(harness, channel)
        announcement = await asked.until(lambda: next(iter(asked.followups), None), timeout_s=WITHIN_S)
        harness.discord.interactions.delete(asked, announcement)

        async with harness.worker_running():
            while (job := await delivered(harness)).due_at is not None:
                await asyncio.sleep(0.01)

        assert asked.original is not None
        assert asked.original.attachments
        assert job.result_message_id == asked.original.id
        assert f"zoetrope:video:{job.id}" in asked.original.custom_ids


async def test_variations_whose_announcements_were_deleted_do_not_take_each_others_place(tmp_path: Path) -> None:
    async with own_app(tmp_path) as (harness, channel):
        asked = await order(harness, channel, variations=2)
        await asked.until(lambda: len(asked.followups) == 2 or None, timeout_s=WITHIN_S)
        for announcement in list(asked.followups):
            harness.discord.interactions.delete(asked, announcement)
        direct = harness.discord.state.direct(harness.discord.member)

        async with harness.worker_running():
            await harness.discord.state.until(
                lambda: len(harness.discord.messages(direct.id)) == 2 or None, timeout_s=WITHIN_S
            )

        assert asked.original is not None
        assert not asked.original.attachments


async def test_no_token_is_kept_once_the_end_is_told(tmp_path: Path) -> None:
    async with own_app(tmp_path) as (harness, channel):
        asked = await order(harness, channel)
        await asked.until(lambda: asked.followups, timeout_s=WITHIN_S)
        assert await kept_tokens(harness) == 1

        async with harness.worker_running():
            await delivered(harness)
            while await kept_tokens(harness):
                await harness.app.store.release([])


async def test_the_announcement_of_a_cancelled_video_goes(tmp_path: Path) -> None:
    async with own_app(tmp_path) as (harness, channel):
        asked = await order(harness, channel)
        await asked.until(lambda: asked.followups, timeout_s=WITHIN_S)
        job = await harness.job("a heron")
        assert asked.original is not None
        await harness.discord.click(asked.original.id, f"zoetrope:cancel:{job.id}")

        async with harness.worker_running():
            await harness.discord.state.until(
                lambda: not harness.discord.messages(channel.id) or None, timeout_s=WITHIN_S
            )


async def test_each_variation_replaces_an_announcement_of_its_own(tmp_path: Path) -> None:
    async with own_app(tmp_path) as (harness, channel), harness.worker_running():
        asked = await order(harness, channel, variations=2)
        await asked.until(
            lambda: len([f for f in asked.followups if f.attachments]) == 2 or None, timeout_s=WITHIN_S
        )

        assert len(asked.followups) == 2
        assert "Each appears here" in content(asked)
        assert harness.discord.messages(harness.discord.state.direct(harness.discord.member).id) == []


async def test_where_a_member_wants_direct_messages_nothing_is_public(tmp_path: Path) -> None:
    async with own_app(tmp_path) as (harness, channel), harness.worker_running():
        await harness.bot.services.settings.change(harness.discord.member.id, direct=True)
        asked = await order(harness, channel)
        await with_video(harness, harness.discord.state.direct(harness.discord.member))

        assert "as a direct message" in content(asked)
        assert asked.followups == []


async def test_a_failed_video_is_told_in_the_answer(tmp_path: Path) -> None:
    async with own_app(tmp_path) as (harness, channel):
        failed = {"id": "x", "status": "failed", "error": {"code": 1, "message": "no"}}
        harness.upstream.fault(Route.POLL, Fault(status=200, body=failed))
        async with harness.worker_running():
            asked = await order(harness, channel)
            await asked.until(lambda: "didn't work" in content(asked), timeout_s=WITHIN_S)

        assert "doesn't count" in content(asked)
