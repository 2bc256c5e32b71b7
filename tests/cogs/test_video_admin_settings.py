from pathlib import Path

import discord
from simcord import InteractionResult, MemberActor, ResponseMessage

from bot.domain.jobs import JobState
from tests.cogs.admins import admin, another_guild, ask, plain, text_of
from tests.cogs.conftest import CogHarness, open_cog_harness


async def show_settings(harness: CogHarness, who: MemberActor) -> ResponseMessage:
    """The settings message that `who` is shown."""
    result = await who.slash(harness.offline.channel, "video-admin settings")
    assert result.response is not None
    assert result.ephemeral
    return result.response


def enabled(message: ResponseMessage) -> set[str]:
    return {
        component["label"]
        for row in message.components
        for component in row["components"]
        if not component.get("disabled")
    }


def settings_now(message: ResponseMessage) -> str:
    """The settings message as it stands now."""
    embed = message.embeds[0]
    return "\n".join([embed.description or "", *(f"{field.name}\n{field.value}" for field in embed.fields)])


async def test_the_settings_mark_defaults(harness: CogHarness) -> None:
    admin_user = admin(harness)
    await ask(harness, admin_user, "video-admin limits server", videos=7)

    text = await ask(harness, admin_user, "video-admin settings")

    assert "videos per window: **7**\n" in text
    assert "window: **24 hours** (default)" in text
    assert "videos at once: **2** (default)" in text
    assert "videos per day: **no limit**, 0 today" in text


async def test_the_settings_show_the_operators_budget(tmp_path: Path) -> None:
    async with open_cog_harness(tmp_path, server_budget_usd_per_day="1.50") as harness:
        text = await ask(harness, admin(harness), "video-admin settings")

    assert "operator's budget for this server: **$1.50** per day, **no limit** per month" in text


async def test_each_setting_is_shown_with_the_command_that_changes_it(harness: CogHarness) -> None:
    message = await show_settings(harness, admin(harness))
    [embed] = message.embeds
    leaves = {
        command.qualified_name.removeprefix("video-admin ")
        for command in harness.bot.tree.walk_commands()
        if command.qualified_name.startswith("video-admin ")
        and not isinstance(command, discord.app_commands.Group)
    }

    linked = {
        path.strip("`").removeprefix("/video-admin ")
        for field in embed.fields
        for path in (field.value or "").splitlines()[-1].split(" · ")
    }

    assert linked <= leaves
    assert leaves - linked == {  # what changes nothing that is set, or has a button
        "pause", "resume", "settings", "usage", "jobs show", "jobs cancel", "jobs retry", "channels show",
        "roles show", "words show",
    }  # fmt: skip


async def test_usage_is_shown_with_its_limit(harness: CogHarness) -> None:
    await harness.animate()
    await harness.wait_for_video()

    assert "1 today" in await ask(harness, admin(harness), "video-admin settings")


async def test_a_paused_server_refuses_orders(harness: CogHarness) -> None:
    admin_user = admin(harness)

    answer = await ask(harness, admin_user, "video-admin pause")

    assert "Paused new videos" in answer
    assert "paused the bot" in await harness.animate()
    assert await harness.app.service.recent(harness.offline.guild.id, harness.offline.viewer.id) == []


async def test_a_resumed_server_accepts_orders_again(harness: CogHarness) -> None:
    admin_user = admin(harness)
    await ask(harness, admin_user, "video-admin pause")

    assert "Resumed new videos" in await ask(harness, admin_user, "video-admin resume")
    assert "Got it!" in await harness.animate()


async def test_jobs_queued_before_a_pause_are_still_made(tmp_path: Path) -> None:
    async with open_cog_harness(tmp_path, upstream_max_running=1) as harness:
        harness.gateway.task_seconds = 0.5
        await harness.animate("the first")
        await harness.animate("the second")
        await ask(harness, admin(harness), "video-admin pause")

        await harness.wait_for_video("the second")

        found = await harness.app.service.recent(harness.offline.guild.id, harness.offline.viewer.id)
    assert [job.state for job in found] == [JobState.DELIVERED, JobState.DELIVERED]


async def test_a_second_pause_changes_nothing_and_says_so(harness: CogHarness) -> None:
    admin_user = admin(harness)
    await ask(harness, admin_user, "video-admin pause")

    answer = await ask(harness, admin_user, "video-admin pause")

    assert "Nothing changed: new videos are already paused." in answer
    assert (await ask(harness, admin_user, "video-admin log show")).count("new videos") == 1


async def test_the_pause_button_pauses_and_updates_the_message(harness: CogHarness) -> None:
    admin_user = admin(harness)
    message = await show_settings(harness, admin_user)
    assert enabled(message) == {"Pause"}

    result = await admin_user.click(message, label="Pause")

    assert "Paused new videos" in followup_text(result)
    assert "Paused" in settings_now(message)
    assert enabled(message) == {"Resume"}


async def test_the_resume_button_resumes_and_updates_the_message(harness: CogHarness) -> None:
    admin_user = admin(harness)
    await ask(harness, admin_user, "video-admin pause")
    message = await show_settings(harness, admin_user)

    assert "Resumed new videos" in followup_text(await admin_user.click(message, label="Resume"))
    assert "Open" in settings_now(message)


def followup_text(result: InteractionResult) -> str:
    """The followups to a click, all of which must be private."""
    assert result.followups
    assert all(message.ephemeral for message in result.followups)
    return "\n".join(message.content for message in result.followups)


async def test_a_click_on_an_outdated_button_says_that_nothing_changed(harness: CogHarness) -> None:
    first, second = admin(harness, "first"), admin(harness, "second")
    first_message, second_message = await show_settings(harness, first), await show_settings(harness, second)
    await first.click(first_message, label="Pause")

    result = await second.click(second_message, label="Pause")

    assert "Nothing changed: new videos are already paused." in followup_text(result)
    assert enabled(second_message) == {"Resume"}


async def test_the_buttons_work_after_a_restart(harness: CogHarness) -> None:
    result = await admin(harness).click(await a_message_of_an_earlier_process(harness), label="Pause")

    assert "Paused new videos" in followup_text(result)


async def a_message_of_an_earlier_process(harness: CogHarness) -> discord.Message:
    """A message with a button of which only the custom id is known."""
    channel = harness.bot.get_channel(harness.offline.channel.id)
    assert isinstance(channel, discord.TextChannel)
    view = discord.ui.View(timeout=None)
    view.add_item(discord.ui.Button(label="Pause", custom_id="zoetrope-admin:pause"))
    return await channel.send("the settings", view=view)


async def test_the_settings_of_another_server_are_neither_shown_nor_changed(harness: CogHarness) -> None:
    guild, channel = another_guild(harness)
    elsewhere = admin(harness, "elsewhere", guild=guild)
    await elsewhere.slash(channel, "video-admin pause")
    await elsewhere.slash(channel, "video-admin limits server", videos=4321)

    text = await ask(harness, admin(harness), "video-admin settings")

    assert "Open" in text
    assert "4321" not in text
    assert "Paused" in text_of(await elsewhere.slash(channel, "video-admin settings"))


async def test_a_plain_members_click_on_a_settings_message_does_nothing(harness: CogHarness) -> None:
    """Discord shows an ephemeral message to one member only; a forged click is refused all the same."""
    admin_user, member = admin(harness), plain(harness)
    public = await a_message_of_an_earlier_process(harness)

    result = await member.click(public, label="Pause")

    assert "Manage Server" in text_of(result)
    assert result.ephemeral
    assert "Open" in await ask(harness, admin_user, "video-admin settings")
