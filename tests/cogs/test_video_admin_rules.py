"""Channels, roles, words, resolutions, age-restricted channels, approval and strikes, as admins set them."""

from pathlib import Path
from typing import Any

import discord
import pytest
from simcord import InteractionResult, MemberActor

from bot.domain.guilds import BlockedTerm
from bot.services.admin.audited import Admin
from tests.cogs.admins import (
    admin,
    another_guild,
    ask,
    bypass_client_check,
    choices_bypassing_client_check,
    plain,
    text_of,
)
from tests.cogs.conftest import CogHarness, open_cog_harness


async def offered(
    harness: CogHarness, who: MemberActor, command: str, option: str, typed: str = ""
) -> list[dict[str, Any]]:
    return await who.autocomplete(harness.offline.channel, command, option, typed)


def answer(result: InteractionResult) -> str:
    assert result.ephemeral
    return text_of(result)


async def delete_channel(harness: CogHarness, channel_id: int) -> None:
    """Somebody deletes the channel in Discord."""
    channel = harness.bot.get_channel(channel_id)
    assert isinstance(channel, discord.TextChannel)
    await channel.delete()
    await harness.offline._env.settle()


async def blocked(harness: CogHarness, guild_id: int | None = None) -> tuple[BlockedTerm, ...]:
    who = Admin(guild_id or harness.offline.guild.id, 0)
    return await harness.bot.services.admins.policy.terms(who)


async def test_an_order_in_a_denied_channel_is_refused_with_the_allowed_channels(harness: CogHarness) -> None:
    admin_user = admin(harness)
    other = harness.offline.guild.create_text_channel("studio")

    said = await ask(harness, admin_user, "video-admin channels deny", channel=harness.offline.channel)
    await ask(harness, admin_user, "video-admin channels allow", channel=other)

    assert f"Denied videos in <#{harness.offline.channel.id}>" in said
    refusal = await harness.animate()
    assert "can't make videos in this channel" in refusal
    assert f"<#{other.id}>" in refusal


async def test_a_channels_rule_applies_to_its_threads(harness: CogHarness) -> None:
    handle = harness.offline.guild.create_text_channel("talk")
    channel = harness.bot.get_channel(handle.id)
    assert isinstance(channel, discord.TextChannel)
    await channel.create_thread(name="side talk", type=discord.ChannelType.public_thread)
    await harness.offline._env.settle()
    (thread,) = handle.threads

    await ask(harness, admin(harness), "video-admin channels deny", channel=handle)

    result = await harness.offline.viewer.slash(thread, "animate", image=("sea.png", b"x"), prompt="waves")
    assert "can't make videos in this channel" in answer(result)


async def test_a_categorys_rule_applies_to_its_channels(harness: CogHarness) -> None:
    admin_user = admin(harness)
    category = harness.offline.guild.create_category("Art")
    inside = harness.offline.guild.create_text_channel("inside", category=category)

    said = await ask(harness, admin_user, "video-admin channels deny", channel=category)

    assert "Denied videos in" in said
    result = await harness.offline.viewer.slash(inside, "animate", image=("sea.png", b"x"), prompt="waves")
    assert "can't make videos in this channel" in answer(result)


async def test_allowing_a_channel_says_that_all_others_are_denied(harness: CogHarness) -> None:
    said = await ask(harness, admin(harness), "video-admin channels allow", channel=harness.offline.channel)

    assert "only in allowed channels" in said


async def test_the_list_shows_allowed_denied_and_deleted_channels(harness: CogHarness) -> None:
    admin_user = admin(harness)
    gone = harness.offline.guild.create_text_channel("gone")
    await ask(harness, admin_user, "video-admin channels allow", channel=harness.offline.channel)
    await ask(harness, admin_user, "video-admin channels deny", channel=gone)
    await delete_channel(harness, gone.id)

    said = await ask(harness, admin_user, "video-admin channels show")

    assert f"**✅ Allowed**: <#{harness.offline.channel.id}>" in said
    assert f"**🚫 Denied**: `{gone.id}` (deleted)" in said


async def test_the_rule_of_a_deleted_channel_can_be_removed(harness: CogHarness) -> None:
    admin_user = admin(harness)
    gone = harness.offline.guild.create_text_channel("gone")
    await ask(harness, admin_user, "video-admin channels deny", channel=gone)
    await ask(harness, admin_user, "video-admin channels deny", channel=harness.offline.channel)
    await delete_channel(harness, gone.id)

    (choice,) = await offered(harness, admin_user, "video-admin channels forget", "channel", "deleted")
    said = await ask(harness, admin_user, "video-admin channels forget", channel=choice["value"])

    assert choice["value"] == str(gone.id)
    assert "Removed the rule for" in said
    left = await offered(harness, admin_user, "video-admin channels forget", "channel")
    assert [choice["name"] for choice in left] == ["(denied) #videos"]


@pytest.mark.parametrize("typed", ["", "videos", "99999999999999999999", "0", "<#1>", "' OR 1=1"])
async def test_an_unknown_channel_removes_no_rule(harness: CogHarness, typed: str) -> None:
    admin_user = admin(harness)
    await ask(harness, admin_user, "video-admin channels deny", channel=harness.offline.channel)

    said = await ask(harness, admin_user, "video-admin channels forget", channel=typed)

    assert "neither allowed nor denied" in said or "don't know" in said
    assert "Denied" in await ask(harness, admin_user, "video-admin channels show")


async def test_role_rules_can_be_set_shown_and_removed(harness: CogHarness) -> None:
    admin_user = admin(harness)
    artists = harness.offline.guild.create_role("Artists")

    assert "Allowed videos for" in await ask(harness, admin_user, "video-admin roles allow", role=artists)
    assert f"<@&{artists.id}>" in await harness.animate()
    assert "(before: allowed)" in await ask(harness, admin_user, "video-admin roles deny", role=artists)
    assert f"Denied**: <@&{artists.id}>" in await ask(harness, admin_user, "video-admin roles show")
    (choice,) = await offered(harness, admin_user, "video-admin roles forget", "role", "art")
    assert choice["name"] == "(denied) @Artists"
    assert "Removed the rule for" in await ask(
        harness, admin_user, "video-admin roles forget", role=choice["value"]
    )
    assert "No roles are allowed or denied" in await ask(harness, admin_user, "video-admin roles show")
    assert "Got it!" in await harness.animate()


async def test_members_with_a_denied_role_are_refused(harness: CogHarness) -> None:
    admin_user = admin(harness)
    muted = harness.offline.guild.create_role("Muted")
    member = harness.another_member("muted", roles=[muted])
    await ask(harness, admin_user, "video-admin roles deny", role=muted)

    said = await ask(harness, member, "animate", image=("sea.png", b"x"), prompt="waves")

    assert f"Members with the role <@&{muted.id}> can't make videos" in said


async def test_several_words_are_blocked_at_once_and_a_prompt_with_one_is_refused(harness: CogHarness) -> None:
    admin_user = admin(harness)
    await ask(harness, admin_user, "video-admin words strikes", count=0)

    said = await ask(harness, admin_user, "video-admin words add", words="Gore, blood bath, 血腥")

    assert "Blocked in prompts: " in said
    assert "blood bath" in said
    for prompt in ("a GORE scene", "Blood-bath", "很血腥的画面"):
        assert "something this server blocks" in await harness.animate(prompt)
    assert "Got it!" in await harness.animate("waves roll in", negative_prompt="gore")


async def test_a_pattern_is_blocked_and_an_invalid_one_is_refused(harness: CogHarness) -> None:
    admin_user = admin(harness)

    assert "Blocked in prompts: pattern" in await ask(
        harness, admin_user, "video-admin words add", words="g+o+r+e+", pattern=True
    )
    assert "nearly every prompt" in await ask(
        harness, admin_user, "video-admin words add", words=".*x?.", pattern=True
    )
    assert "can't use that pattern" in await ask(
        harness, admin_user, "video-admin words add", words="(", pattern=True
    )
    assert "“GGOOREE”" in await harness.animate("GGOOREE!")


async def test_words_already_blocked_are_reported(harness: CogHarness) -> None:
    admin_user = admin(harness)
    await ask(harness, admin_user, "video-admin words add", words="gore")

    said = await ask(harness, admin_user, "video-admin words add", words="GORE, nude")

    assert "Already blocked: GORE" in said
    assert "Blocked in prompts: " in said


async def test_a_word_can_be_removed_by_its_autocomplete_choice(harness: CogHarness) -> None:
    admin_user = admin(harness)
    await ask(harness, admin_user, "video-admin words add", words="gore, nude")

    (choice,) = await offered(harness, admin_user, "video-admin words remove", "word", "GOR")
    said = await ask(harness, admin_user, "video-admin words remove", word=choice["value"])

    assert "Unblocked in prompts: " in said
    assert "Got it!" in await harness.animate("gore")
    assert "isn't blocked" in await ask(harness, admin_user, "video-admin words remove", word="gore")


async def test_a_long_pattern_is_offered_with_a_short_name_and_can_be_removed(harness: CogHarness) -> None:
    admin_user = admin(harness)
    await ask(harness, admin_user, "video-admin words add", words="gore" * 49, pattern=True)

    (choice,) = await offered(harness, admin_user, "video-admin words remove", "word", "gore")

    assert len(choice["name"]) <= 100
    assert "Unblocked in prompts: " in await ask(
        harness, admin_user, "video-admin words remove", word=choice["value"]
    )


async def test_at_most_25_words_are_offered(harness: CogHarness) -> None:
    admin_user = admin(harness)
    await ask(
        harness, admin_user, "video-admin words add", words=",".join(f"word{number}" for number in range(60))
    )

    assert len(await offered(harness, admin_user, "video-admin words remove", "word", "word")) == 25


async def test_the_words_are_shown_escaped_with_the_pause_for_blocked_prompts(harness: CogHarness) -> None:
    admin_user = admin(harness)
    assert "No words are blocked" in await ask(harness, admin_user, "video-admin words show")
    await ask(harness, admin_user, "video-admin words add", words="a*b*c, nude")
    await ask(harness, admin_user, "video-admin words add", words="g+ore", pattern=True)

    said = await ask(harness, admin_user, "video-admin words show")

    assert "**2 words and 1 pattern**" in said
    assert r"a\*b\*c, nude" in said
    assert r"pattern g\+ore" in said
    assert "after 3 in 24 hours, for 24 hours" in said


async def test_too_many_words_for_a_message_are_sent_as_a_file(harness: CogHarness) -> None:
    admin_user = admin(harness)
    many = [f"some rather long phrase number {number}" for number in range(100)]
    await ask(harness, admin_user, "video-admin words add", words=",".join(many))

    result = await admin_user.slash(harness.offline.channel, "video-admin words show")

    assert result.response is not None
    assert result.ephemeral
    assert "**100 words and 0 patterns**" in result.response.content
    (file,) = result.response.attachments
    assert file.filename == "blocked_words.txt"


async def test_the_number_of_strikes_can_be_set_and_pauses_a_member(harness: CogHarness) -> None:
    admin_user = admin(harness)
    await ask(harness, admin_user, "video-admin words add", words="gore")

    said = await ask(harness, admin_user, "video-admin words strikes", count=2, pause_hours=5)

    assert "after 3 in 24 hours, for 24 hours → after 2 in 24 hours, for 5 hours" in said
    assert "something this server blocks" in await harness.animate("gore")
    await harness.animate("gore")
    assert "You're paused until" in await harness.animate("waves roll in")


async def test_without_options_the_number_of_strikes_is_shown(harness: CogHarness) -> None:
    said = await ask(harness, admin(harness), "video-admin words strikes")

    assert said == "Blocked prompts pause a member: after 3 in 24 hours, for 24 hours."


async def test_the_allowed_resolutions_can_be_set(harness: CogHarness) -> None:
    said = await ask(harness, admin(harness), "video-admin resolutions", allow="480P")

    assert "allowed resolutions: 480P and 720P → 480P" in said
    assert "only allows 480P videos" in await harness.animate(resolution="720P")
    assert "Got it!" in await harness.animate(resolution="480P")


async def test_videos_can_be_limited_to_age_restricted_channels(harness: CogHarness) -> None:
    admin_user = admin(harness)

    assert "Limited videos to age-restricted channels" in await ask(
        harness, admin_user, "video-admin age-restricted", only="on"
    )
    assert "only allows videos in age-restricted channels" in await harness.animate()
    assert "Nothing changed" in await ask(harness, admin_user, "video-admin age-restricted", only="on")
    assert "Allowed videos outside" in await ask(harness, admin_user, "video-admin age-restricted", only="off")
    assert "Got it!" in await harness.animate()


async def test_approval_requires_a_log_channel(harness: CogHarness) -> None:
    said = await ask(harness, admin(harness), "video-admin approval", needed="on")

    assert "/video-admin log" in said


COMMANDS: dict[str, dict[str, Any]] = {
    "channels allow": {"channel": None},
    "channels deny": {"channel": None},
    "channels forget": {"channel": "1"},
    "channels show": {},
    "roles allow": {"role": None},
    "roles deny": {"role": None},
    "roles forget": {"role": "1"},
    "roles show": {},
    "words add": {"words": "gore"},
    "words remove": {"word": "kept"},
    "words show": {},
    "words strikes": {"count": 0},
    "resolutions": {"allow": "480P"},
    "age-restricted": {"only": "on"},
    "approval": {"needed": "on"},
}


async def test_a_member_without_manage_server_is_refused_by_every_command(harness: CogHarness) -> None:
    await ask(harness, admin(harness), "video-admin words add", words="kept")
    await ask(harness, admin(harness, "second"), "video-admin channels allow", channel=harness.offline.channel)
    stranger = plain(harness)
    things = {"channel": harness.offline.channel, "role": harness.offline.guild.create_role("Artists")}

    for command, options in COMMANDS.items():
        given = {name: things[name] if value is None else value for name, value in options.items()}
        result = await bypass_client_check(stranger, harness.offline.channel, f"video-admin {command}", **given)
        assert "Manage Server" in answer(result), command
    for command, option in (("channels forget", "channel"), ("roles forget", "role"), ("words remove", "word")):
        assert not await choices_bypassing_client_check(
            stranger, harness.offline.channel, f"video-admin {command}", option
        )

    assert await blocked(harness) == (BlockedTerm("kept"),)
    assert "Got it!" in await harness.animate()


async def test_another_servers_admin_neither_sees_nor_changes_this_servers_rules(harness: CogHarness) -> None:
    admin_user = admin(harness)
    await ask(harness, admin_user, "video-admin words add", words="gore")
    await ask(
        harness,
        admin_user,
        "video-admin channels deny",
        channel=harness.offline.guild.create_text_channel("quiet"),
    )
    guild, channel = another_guild(harness)
    other = admin(harness, "other admin", guild=guild)
    quiet = (await offered(harness, admin_user, "video-admin channels forget", "channel"))[0]["value"]

    assert "No words" in answer(await other.slash(channel, "video-admin words show"))
    assert "No channels" in answer(await other.slash(channel, "video-admin channels show"))
    assert await other.autocomplete(channel, "video-admin words remove", "word", "") == []
    assert await other.autocomplete(channel, "video-admin channels forget", "channel", "") == []
    assert "isn't blocked" in answer(await other.slash(channel, "video-admin words remove", word="gore"))
    forgotten = await other.slash(channel, "video-admin channels forget", channel=quiet)
    assert "neither allowed nor denied" in answer(forgotten)
    await other.slash(channel, "video-admin words add", words="waves")

    assert await blocked(harness) == (BlockedTerm("gore"),)
    assert "Got it!" in await harness.animate("waves roll in")


async def test_rules_survive_a_restart(tmp_path: Path) -> None:
    async with open_cog_harness(tmp_path) as harness:
        await ask(harness, admin(harness), "video-admin words add", words="gore")
        guild_id = harness.offline.guild.id
    async with open_cog_harness(tmp_path) as harness:
        assert await blocked(harness, guild_id) == (BlockedTerm("gore"),)
