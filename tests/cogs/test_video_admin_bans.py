"""Members banned from the bot, and let in again."""

from typing import Any

import pytest
from simcord import InteractionResult, MemberActor

from bot.admins.acts import Admin
from tests.cogs.admins import admin, another_guild, ask, plain, slip, slipped_choices, text_of
from tests.cogs.conftest import Town


async def offered(town: Town, who: MemberActor, typed: str = "") -> list[dict[str, Any]]:
    return await who.autocomplete(town.offline._channel, "video-admin unban", "member", typed)


def answer(result: InteractionResult) -> str:
    assert result.ephemeral
    return text_of(result)


async def banned(town: Town) -> list[int]:
    return [ban.user_id for ban in await town.bot.admins.bans.standing(Admin(town.offline.guild_id, 0))]


async def test_a_banned_member_is_told_why_and_until_when(town: Town) -> None:
    said = await ask(
        town, admin(town), "video-admin ban", member=town.offline._viewer, reason="*Spam*", expires="7d"
    )

    assert f"**ban of <@{town.offline.viewer_id}>**: nothing → until" in said
    refusal = await town.animate()
    assert "until <t:" in refusal
    assert r"\*Spam\*" in refusal


async def test_a_ban_without_an_end_is_for_good_and_needs_no_reason(town: Town) -> None:
    said = await ask(town, admin(town), "video-admin ban", member=town.offline._viewer)

    assert r"nothing → for good\: No reason was given." in said
    assert "No reason was given." in await town.animate()


@pytest.mark.parametrize("expires", ["soon", "-1h", "7", "0m", "9999999w"])
async def test_an_end_that_is_no_length_of_time_bans_nobody(town: Town, expires: str) -> None:
    said = await ask(town, admin(town), "video-admin ban", member=town.offline._viewer, expires=expires)

    assert "nothing →" not in said
    assert await banned(town) == []


async def test_a_ban_says_that_what_was_ordered_is_still_made(town: Town) -> None:
    town.gateway.task_seconds = 3600
    await town.animate("slow one")

    said = await ask(town, admin(town), "video-admin ban", member=town.offline._viewer)

    assert "1 video of theirs, ordered before, will still be made" in said
    assert "/video-admin jobs" in said


async def test_a_banned_member_is_offered_and_let_in_again(town: Town) -> None:
    chief = admin(town)
    await ask(town, chief, "video-admin ban", member=town.offline._viewer, reason="Spam in general")
    await ask(town, chief, "video-admin ban", member=town.another_member(), reason="Gore")

    (choice,) = await offered(town, chief, "spam")
    said = await ask(town, chief, "video-admin unban", member=choice["value"])

    assert "Spam in general" in choice["name"]
    assert r"for good\: Spam in general → nothing" in said
    assert "is ordered" in await town.animate()
    assert "Gore" in (await offered(town, chief))[0]["name"]


async def test_a_member_is_also_let_in_by_a_mention(town: Town) -> None:
    chief = admin(town)
    await ask(town, chief, "video-admin ban", member=town.offline._viewer)

    await ask(town, chief, "video-admin unban", member=f"<@{town.offline.viewer_id}>")

    assert await banned(town) == []


@pytest.mark.parametrize("typed", ["", "You", "1", "99999999999999999999"])
async def test_a_made_up_member_is_not_let_in(town: Town, typed: str) -> None:
    chief = admin(town)
    await ask(town, chief, "video-admin ban", member=town.offline._viewer)

    said = await ask(town, chief, "video-admin unban", member=typed)

    assert "not banned" in said or "don't know" in said
    assert len(await banned(town)) == 1


async def test_the_bans_are_listed_with_their_end_reason_and_maker(town: Town) -> None:
    chief = admin(town)
    assert "Nobody is banned" in await ask(town, chief, "video-admin bans")
    await ask(town, chief, "video-admin ban", member=town.offline._viewer, reason="**Spam**", expires="12h")

    said = await ask(town, chief, "video-admin bans")

    assert f"<@{town.offline.viewer_id}> until <t:" in said
    assert f"by <@{chief.id}>" in said
    assert r"\*\*Spam\*\*" in said


async def test_many_bans_come_as_a_file(town: Town) -> None:
    chief = admin(town)
    for number in range(30):
        await town.bot.admins.bans.ban(Admin(town.offline.guild_id, chief.id), number, "x" * 100, None)

    result = await chief.slash(town.offline._channel, "video-admin bans")

    assert result.response is not None
    assert result.ephemeral
    assert "**30 members**" in result.response.content
    (file,) = result.response.attachments
    assert file.filename == "bans.txt"
    assert len(await offered(town, chief)) == 25


async def test_a_pause_after_blocked_prompts_is_lifted_as_a_ban_is(town: Town) -> None:
    chief = admin(town)
    await ask(town, chief, "video-admin words add", words="gore")
    await ask(town, chief, "video-admin words strikes", count=1)
    await town.animate("gore")

    assert "by the bot" in await ask(town, chief, "video-admin bans")
    await ask(town, chief, "video-admin unban", member=str(town.offline.viewer_id))

    assert "is ordered" in await town.animate("waves roll in")


async def test_a_member_without_manage_server_is_refused_by_every_command(town: Town) -> None:
    chief, stranger = admin(town), plain(town)
    await ask(town, chief, "video-admin ban", member=town.offline._viewer)
    channel = town.offline._channel

    commands: dict[str, dict[str, Any]] = {
        "ban": {"member": chief},
        "unban": {"member": str(town.offline.viewer_id)},
        "bans": {},
    }

    for command, options in commands.items():
        assert "Manage Server" in answer(await slip(stranger, channel, f"video-admin {command}", **options))
    assert not await slipped_choices(stranger, channel, "video-admin unban", "member")

    assert await banned(town) == [town.offline.viewer_id]


async def test_another_servers_admin_neither_sees_nor_lifts_this_servers_bans(town: Town) -> None:
    await ask(town, admin(town), "video-admin ban", member=town.offline._viewer)
    guild, channel = another_guild(town)
    other = admin(town, "other chief", guild=guild)

    assert "Nobody is banned" in answer(await other.slash(channel, "video-admin bans"))
    assert await other.autocomplete(channel, "video-admin unban", "member", "") == []
    lifted = await other.slash(channel, "video-admin unban", member=str(town.offline.viewer_id))
    assert "not banned" in answer(lifted)

    assert await banned(town) == [town.offline.viewer_id]
