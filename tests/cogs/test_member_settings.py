"""`/videos settings` as a member sees it, and what it changes."""

from dataclasses import replace

import discord
import pytest
from simcord import InteractionResult, SetupError

from bot.chat.posting import components_within
from bot.domain.errors import StoreError
from bot.domain.jobs import Job, Resolution
from bot.domain.member_settings import MemberSettings
from bot.services.member_settings import MemberSettingsService
from tests.cogs.admins import text_of
from tests.cogs.conftest import CogHarness


async def opened(harness: CogHarness) -> discord.Message:
    result = await harness.offline.viewer.slash(harness.offline.channel, "videos settings")
    assert result.response is not None
    assert result.response.ephemeral
    return result.response.message


def now(harness: CogHarness, shown: discord.Message) -> discord.Message:
    [found] = [one for one in harness.offline.messages() if one.id == shown.id]
    return found


def switches(shown: discord.Message) -> dict[str, str]:
    """Each switch's label by the setting's name."""
    buttons = [one.accessory for one in components_within(shown.components) if hasattr(one, "accessory")]
    return {button.custom_id.split(":")[2]: button.label for button in buttons}


async def switch(harness: CogHarness, name: str, value: str) -> InteractionResult:
    """The member opens their settings and clicks one."""
    custom_id = f"zoetrope:set:{name}:{value}:{harness.offline.viewer.id}"
    return await harness.offline.viewer.click(await opened(harness), custom_id=custom_id)


async def settings(harness: CogHarness) -> MemberSettings:
    return await harness.bot.services.settings.of(harness.offline.viewer.id)


async def ordered(harness: CogHarness) -> Job:
    [job] = await harness.app.service.recent(harness.offline.guild.id, harness.offline.viewer.id)
    return job


async def direct_messages(harness: CogHarness) -> list[discord.Message]:
    """What the bot sent to the member alone."""
    channel = await harness.bot.create_dm(discord.Object(harness.offline.viewer.id))
    return [message async for message in channel.history()]


async def test_the_panel_shows_the_defaults(harness: CogHarness) -> None:
    assert switches(await opened(harness)) == {
        "pings": "On", "direct": "Off", "spoilers": "Off", "prompt_extend": "On", "watermark": "Off",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value"),
    [("pings", "off"), ("direct", "on"), ("spoilers", "on"), ("prompt_extend", "off"), ("watermark", "on")],
)
async def test_a_click_switches_a_setting_and_the_panel_shows_it(
    harness: CogHarness, name: str, value: str
) -> None:
    shown = await opened(harness)

    await harness.offline.viewer.click(shown, custom_id=f"zoetrope:set:{name}:{value}:{harness.offline.viewer.id}")

    assert getattr(await settings(harness), name) is (value == "on")
    assert switches(now(harness, shown))[name] == value.capitalize()


async def test_the_menu_sets_the_default_resolution_and_resets_it(harness: CogHarness) -> None:
    shown, menu = await opened(harness), f"zoetrope:set:resolution:{harness.offline.viewer.id}"

    await harness.offline.viewer.select(shown, ["480P"], custom_id=menu)
    assert (await settings(harness)).resolution is Resolution.P480

    await harness.offline.viewer.select(now(harness, shown), ["best"], custom_id=menu)
    assert (await settings(harness)).resolution is None


async def test_an_order_uses_the_settings(harness: CogHarness) -> None:
    await switch(harness, "watermark", "on")
    await switch(harness, "spoilers", "on")

    await harness.animate()

    job = await ordered(harness)
    assert job.order.watermark
    assert job.is_spoiler


async def test_an_order_may_differ_from_the_settings(harness: CogHarness) -> None:
    await switch(harness, "watermark", "on")

    await harness.animate(watermark=False)

    assert not (await ordered(harness)).order.watermark


async def test_the_answer_to_a_member_who_wants_no_pings_says_so(harness: CogHarness) -> None:
    await switch(harness, "pings", "off")

    assert "I won't ping you" in await harness.animate()


async def test_a_video_of_a_member_who_wants_direct_messages_is_sent_to_them(harness: CogHarness) -> None:
    await switch(harness, "direct", "on")
    await switch(harness, "pings", "off")

    answer = await harness.animate("a heron")
    while not (direct := await direct_messages(harness)):
        await harness.offline.changed.wait()

    assert "as a direct message" in answer
    [message] = direct
    assert message.content.startswith("Your video is ready.\n> a heron")
    assert message.attachments
    assert message.flags.silent
    assert not any("a heron" in message.content for message in harness.public())


class Unavailable(MemberSettingsService):
    """Settings in a database that is down."""

    def __init__(self) -> None:
        """Needs none."""

    async def change(self, user_id: int, **changes: object) -> MemberSettings:  # noqa: ARG002 - the service's
        raise StoreError("the database is down")


async def test_a_click_that_fails_is_answered_and_leaves_the_panel(harness: CogHarness) -> None:
    shown = await opened(harness)
    harness.bot.services = replace(harness.bot.services, settings=Unavailable())

    result = await harness.offline.viewer.click(
        shown, custom_id=f"zoetrope:set:pings:off:{harness.offline.viewer.id}"
    )

    [told] = result.followups
    assert told.ephemeral
    assert "Something broke on my side" in told.content
    assert switches(now(harness, shown))["pings"] == "On"


async def test_nobody_changes_the_settings_of_another(harness: CogHarness) -> None:
    """No client offers it: the panel is private. A forged click brings another id along."""
    shown = await opened(harness)
    stranger = harness.another_member()

    with pytest.raises(SetupError):
        await stranger.click(shown, custom_id=f"zoetrope:set:watermark:on:{harness.offline.viewer.id}")

    assert not (await settings(harness)).watermark


async def test_the_settings_of_others_are_not_changed(harness: CogHarness) -> None:
    await switch(harness, "watermark", "on")

    other = harness.another_member()
    result = await other.slash(harness.offline.channel, "videos settings")

    assert result.response is not None
    assert switches(result.response.message)["watermark"] == "Off"
    assert "direct messages" not in text_of(result)
