"""The bot as a member's own app, where it isn't a member: over real sockets."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from bot.chat.messages.member_texts import ELSEWHERE
from bot.domain.guilds import OUTSIDE_SERVERS, Access
from bot.domain.jobs import NO_CHANNEL, Job, JobState
from bot.store.guilds import guild_settings
from bot.store.schema import interaction_tokens
from tests.cogs.conftest import sample_picture
from tests.discord_server import Channel, DiscordServer, FaultPhase, Hang, Interaction, Message, Reset, Upload
from tests.discord_server.interactions import Kind
from tests.faulty_gateway import Fault, FaultyGateway, Route
from tests.forged.harness import KEY, WITHIN_S, ForgeryHarness, open_harness


@asynccontextmanager
async def outside(folder: Path) -> AsyncIterator[tuple[DiscordServer, FaultyGateway, Channel]]:
    """Discord, the gateway, and a channel of a server where the bot isn't a member."""
    async with DiscordServer() as server, FaultyGateway(folder / "upstream", KEY) as upstream:
        guild = server.state.add_guild_without_bot("Elsewhere", server.member)
        yield server, upstream, server.state.add_channel(guild, "lounge")


def harness_of(
    folder: Path, server: DiscordServer, upstream: FaultyGateway, **changes: Any
) -> AbstractAsyncContextManager[ForgeryHarness]:
    return open_harness(folder, server, upstream, direct_orders=True, **changes)


@asynccontextmanager
async def own_app(folder: Path, **changes: Any) -> AsyncIterator[tuple[ForgeryHarness, Channel]]:
    """The bot, and a channel of a server where it isn't a member."""
    async with (
        outside(folder) as (server, upstream, channel),
        harness_of(folder, server, upstream, **changes) as harness,
    ):
        yield harness, channel


def content(asked: Interaction) -> str:
    return "" if asked.original is None else asked.original.content


async def order(harness: ForgeryHarness, channel: Channel, prompt: str = "a heron", **options: Any) -> Interaction:
    asked = await harness.order(prompt, channel=channel, **options)
    await asked.until(lambda: "looking at your picture" not in content(asked), timeout_s=WITHIN_S)
    return asked


async def with_video(harness: ForgeryHarness, channel: Channel) -> Message:
    return await harness.discord.state.until(
        lambda: next((m for m in harness.discord.messages(channel.id) if m.attachments), None), timeout_s=WITHIN_S
    )


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


def videos_put(harness: ForgeryHarness) -> int:
    """How often a video was put into an answer."""
    return sum(bool(call.uploads) for call in harness.discord.calls("PATCH", "/webhooks/"))


async def delivered(harness: ForgeryHarness, prompt: str = "a heron") -> Job:
    while (job := await harness.job(prompt)).state is not JobState.DELIVERED:
        await harness.app.store.release([])
    return job


async def kept_tokens(harness: ForgeryHarness) -> int:
    async with harness.app.database.read() as connection:
        return await connection.scalar(select(func.count()).select_from(interaction_tokens)) or 0


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


async def test_a_form_that_is_sent_twice_announces_once(tmp_path: Path) -> None:
    async with own_app(tmp_path) as (harness, channel), harness.worker_running():
        await order(harness, channel)
        message = await with_video(harness, channel)
        job = await delivered(harness)
        click = await harness.discord.click(message.id, f"zoetrope:edit:{job.id}")
        changed = {"prompt": "a kestrel", "negative_prompt": "", "seed": "", "resolution": "480P"}
        sent = [await harness.discord.submit(click, changed) for _ in range(2)]
        await harness.discord.state.until(
            lambda: all("Got it" in content(it) for it in sent) or None, timeout_s=WITHIN_S
        )
        again = await delivered(harness, "a kestrel")

        assert [again.result_message_id] == [followup.id for it in sent for followup in it.followups]


async def test_a_video_is_not_extended_where_the_bot_is_no_member(tmp_path: Path) -> None:
    async with own_app(tmp_path) as (harness, channel), harness.worker_running():
        await order(harness, channel)
        message = await with_video(harness, channel)
        job = await delivered(harness)

        custom_ids = re.findall(r"zoetrope:(\w+):", repr(message.components))
        assert custom_ids == ["again", "edit", "info", "video"]
        asked = await harness.discord.slash(
            "videos extend", channel=channel, options={"video": job.id, "prompt": "on"}
        )
        await asked.until(lambda: content(asked), timeout_s=WITHIN_S)
        assert "Got it" not in content(asked)


async def test_help_offers_videos_where_the_bot_is_no_member(tmp_path: Path) -> None:
    async with own_app(tmp_path) as (harness, channel):
        asked = await harness.discord.slash("help", channel=channel)
        answer = await asked.answer(timeout_s=WITHIN_S)

        assert "can't post" not in answer.shown


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


async def test_whoever_sees_the_video_makes_it_again_as_their_own(tmp_path: Path) -> None:
    async with own_app(tmp_path) as (harness, channel), harness.worker_running():
        await order(harness, channel)
        message = await with_video(harness, channel)
        job = await delivered(harness)
        stranger = harness.discord.state.add_member(channel.guild, "noa")

        click = await harness.discord.click(message.id, f"zoetrope:again:{job.id}", stranger)
        await click.until(lambda: [f for f in click.followups if f.attachments] or None, timeout_s=WITHIN_S)

        assert f"<@{stranger.id}>, here's your video" in click.followups[0].content
        assert message.attachments


async def test_nobody_elses_video_is_found_by_its_id_alone(tmp_path: Path) -> None:
    async with own_app(tmp_path) as (harness, channel), harness.worker_running():
        await order(harness, channel)
        await with_video(harness, channel)
        job = await delivered(harness)
        stranger = harness.discord.state.add_member(channel.guild, "noa")

        click = harness.click(f"zoetrope:again:{job.id}", stranger, channel)

        assert "don't know" in await harness.private_reply(click)


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


async def test_its_member_cancels_a_waiting_video_by_the_answers_button(tmp_path: Path) -> None:
    async with own_app(tmp_path) as (harness, channel):
        asked = await order(harness, channel)
        job = await harness.job("a heron")
        assert asked.original is not None

        click = await harness.discord.click(asked.original.id, f"zoetrope:cancel:{job.id}")
        await click.until(lambda: "Cancelled" in content(click), timeout_s=WITHIN_S)

        assert (await harness.job("a heron")).state is JobState.CANCELLED


async def test_a_video_is_removed_by_its_member_alone(tmp_path: Path) -> None:
    async with own_app(tmp_path) as (harness, channel), harness.worker_running():
        await order(harness, channel)
        message = await with_video(harness, channel)
        job = await delivered(harness)
        stranger = harness.discord.state.add_member(channel.guild, "noa")

        refused = await harness.discord.click(message.id, f"zoetrope:video:{job.id}", stranger)
        await refused.until(lambda: refused.followups, timeout_s=WITHIN_S)
        assert message in harness.discord.messages(channel.id)

        await harness.discord.click(message.id, f"zoetrope:video:{job.id}")
        await harness.discord.state.until(lambda: message not in harness.discord.messages(channel.id))
        assert (await harness.job("a heron")).is_removed


async def test_a_server_that_has_the_bot_keeps_its_rules_however_the_bot_is_used(tmp_path: Path) -> None:
    async with own_app(tmp_path) as (harness, _):
        async with harness.app.database.write() as connection:
            await guild_settings.write(connection, harness.discord.guild.id, {"paused": True})

        asked = await harness.order("a heron")

        assert "have paused the bot" in content(asked)


async def test_a_server_that_removed_the_bot_still_forbids_what_it_forbade(tmp_path: Path) -> None:
    for columns in ({"paused": True}, {"access": Access.BLOCKED}):
        folder = tmp_path / next(iter(columns))
        folder.mkdir()
        async with own_app(folder) as (harness, channel):
            async with harness.app.database.write() as connection:
                await guild_settings.write(connection, channel.guild.id, dict(columns))

            asked = await order(harness, channel)

            assert "Got it!" not in content(asked)
            assert asked.followups == []


async def test_the_limit_is_that_of_direct_messages(tmp_path: Path) -> None:
    async with own_app(tmp_path, direct_videos_per_day=1) as (harness, channel):
        await order(harness, channel)

        asked = await order(harness, channel, "a kestrel")

        assert "1 of 1 videos in direct messages" in content(asked)


async def test_a_messages_picture_is_animated_where_the_bot_is_no_member(tmp_path: Path) -> None:
    async with own_app(tmp_path) as (harness, channel), harness.worker_running():
        server = harness.discord
        await server.state.until(lambda: server.gateway.live, timeout_s=WITHIN_S)
        picture = server.state.store_file("attachments/1", Upload("sea.png", sample_picture()))
        message = Message(channel, server.member, content="look", attachments=[picture])
        command = server.commands.find("Animate this image", channel.guild.id)
        assert command is not None
        found = {"messages": {str(message.id): message.json()}}
        target = {"type": 3, "target_id": str(message.id), "resolved": found}
        data = {"id": command["id"], "name": command["name"]} | target

        asked = harness.send(Kind.COMMAND, server.member, channel, data)
        form = await server.submit(asked, {"prompt": "a heron"})
        await form.until(lambda: "Got it!" in content(form) or None, timeout_s=WITHIN_S)

        assert (await delivered(harness)).guild_id == OUTSIDE_SERVERS
