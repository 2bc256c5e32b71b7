"""What members can do with the bot as their own app, where it isn't a member, and what they can't."""

import re
from pathlib import Path

from bot.domain.guilds import OUTSIDE_SERVERS, Access
from bot.domain.jobs import JobState
from bot.store.guilds import guild_settings
from tests.cogs.conftest import sample_picture
from tests.cogs.own_app import (
    content,
    delivered,
    order,
    own_app,
    with_video,
)
from tests.discord_server import Message, Upload
from tests.discord_server.interactions import Kind
from tests.forged.harness import WITHIN_S


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
