import pytest

from bot.domain.guilds import LimitOverrides
from bot.store.guilds import limit_overrides
from tests.cogs.admins import admin, another_guild, ask, text_of
from tests.cogs.conftest import CogHarness


async def test_server_limits_are_shown_before_and_after_a_change(harness: CogHarness) -> None:
    answer = await ask(
        harness,
        admin(harness),
        "video-admin limits server",
        videos=7,
        pause="10m",
        window="7d",
        videos_per_day=50,
        usd_per_day="2.50",
        exempt_admins=True,
    )

    assert "**videos per window**: 5 (default) → 7" in answer
    assert "**pause between orders**: none (default) → 10 minutes" in answer
    assert "**window**: 24 hours (default) → 7 days" in answer
    assert "**videos per day (whole server)**: no limit → 50" in answer
    assert "**USD per day (whole server)**: no limit → $2.50" in answer
    assert "**admins exempt from member limits**: no → yes" in answer


async def test_a_server_limit_applies_to_its_members(harness: CogHarness) -> None:
    await ask(harness, admin(harness), "video-admin limits server", videos=0)

    assert "your limit is 0" in await harness.animate()


async def test_a_cleared_limit_falls_back_to_the_operators_default(harness: CogHarness) -> None:
    admin_user = admin(harness)
    await ask(harness, admin_user, "video-admin limits server", videos=7, running=9)

    answer = await ask(harness, admin_user, "video-admin limits server", clear="videos")

    assert "**videos per window**: 7 → 5 (default)" in answer
    assert "videos at once: 9\n" in await ask(harness, admin_user, "video-admin limits show")


async def test_all_limits_can_be_cleared_at_once(harness: CogHarness) -> None:
    admin_user = admin(harness)
    await ask(harness, admin_user, "video-admin limits server", videos=7, usd_per_day="3", exempt_admins=True)

    await ask(harness, admin_user, "video-admin limits server", clear="everything")

    text = await ask(harness, admin_user, "video-admin limits show")
    assert "videos per window: 5 (default)" in text
    assert "USD per day (whole server): no limit" in text
    assert "admins exempt from member limits: no" in text


async def test_without_options_the_current_limits_are_shown(harness: CogHarness) -> None:
    answer = await ask(harness, admin(harness), "video-admin limits server")

    assert answer.startswith("Current limits:")
    assert "**videos at once**: 2 (default)" in answer


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("usd_per_day", "5,50", "an amount in USD"),
        ("usd_per_day", "-1", "an amount in USD"),
        ("usd_per_day", "0.0000000001", "an amount in USD"),
        ("usd_per_month", "lots", "an amount in USD"),
        ("pause", "soon", "`10m`"),
        ("pause", "31d", "at most 30 days"),
        ("window", "90m", "whole hours"),
        ("window", "0h", "whole hours"),
        ("window", "31d", "whole hours"),
    ],
)
async def test_an_unreadable_value_is_refused_and_changes_nothing(
    harness: CogHarness, option: str, value: str, says: str
) -> None:
    admin_user = admin(harness)

    answer = await ask(harness, admin_user, "video-admin limits server", videos=7, **{option: value})

    assert answer.startswith(f"`{option}`: ")
    assert says in answer
    assert answer.endswith("Nothing was changed.")
    assert "videos per window: 5 (default)" in await ask(harness, admin_user, "video-admin limits show")


async def test_a_member_gets_the_best_limits_of_their_roles_with_their_origin(harness: CogHarness) -> None:
    admin_user, guild = admin(harness), harness.offline.guild
    boosters, fans = guild.create_role("Boosters"), guild.create_role("Fans")
    member = harness.another_member("both", roles=[boosters, fans])
    await ask(harness, admin_user, "video-admin limits role", role=boosters, videos=20)
    await ask(harness, admin_user, "video-admin limits role", role=fans, videos=10, pause="30s")

    text = await ask(harness, admin_user, "video-admin limits show", member=member)

    assert f"0 of **20** used (from <@&{boosters.id}>)" in text
    assert f"pause between orders: **30 seconds** (from <@&{fans.id}>)" in text
    assert "videos at once: 0 of **2** (default)" in text


async def test_a_members_own_limits_override_their_roles(harness: CogHarness) -> None:
    admin_user, guild = admin(harness), harness.offline.guild
    boosters = guild.create_role("Boosters")
    member = harness.another_member("own", roles=[boosters])
    await ask(harness, admin_user, "video-admin limits role", role=boosters, videos=20)

    answer = await ask(harness, admin_user, "video-admin limits member", member=member, videos=1)

    assert f"Changed for <@{member.id}>:\n**videos per window**: not set → 1" in answer
    assert "0 of **1** used (set for them)" in await ask(
        harness, admin_user, "video-admin limits show", member=member
    )


async def test_limits_of_a_member_who_left_can_be_shown_and_cleared(harness: CogHarness) -> None:
    admin_user, gone = admin(harness), harness.offline._env.create_user("gone")
    await ask(harness, admin_user, "video-admin limits member", member=gone, videos=1)

    assert "0 of **1** used (set for them)" in await ask(
        harness, admin_user, "video-admin limits show", member=gone
    )
    answer = await ask(harness, admin_user, "video-admin limits member", member=gone, clear="everything")

    assert f"Changed for <@{gone.id}>:\n**videos per window**: 1 → not set" in answer


async def test_limits_of_roles_and_members_are_listed(harness: CogHarness) -> None:
    admin_user, guild = admin(harness), harness.offline.guild
    boosters, member = guild.create_role("Boosters"), harness.another_member("own")
    await ask(harness, admin_user, "video-admin limits role", role=boosters, videos=20, running=3)
    await ask(harness, admin_user, "video-admin limits member", member=member, pause="1h")

    text = await ask(harness, admin_user, "video-admin limits show")

    assert f"<@&{boosters.id}>: videos 20, running 3" in text
    assert f"<@{member.id}>: pause 1 hour" in text


async def test_a_cleared_role_is_no_longer_listed(harness: CogHarness) -> None:
    admin_user, boosters = admin(harness), harness.offline.guild.create_role("Boosters")
    await ask(harness, admin_user, "video-admin limits role", role=boosters, videos=20)

    answer = await ask(harness, admin_user, "video-admin limits role", role=boosters, clear="everything")

    assert f"Changed for <@&{boosters.id}>:\n**videos per window**: 20 → not set" in answer
    assert str(boosters.id) not in await ask(harness, admin_user, "video-admin limits show")


async def test_the_everyone_role_is_refused_with_a_reference_to_server_limits(harness: CogHarness) -> None:
    everyone = harness.offline.guild.default_role

    answer = await ask(harness, admin(harness), "video-admin limits role", role=everyone, videos=20)

    assert "`/video-admin limits server`" in answer


async def test_an_exempt_admin_is_shown_as_exempt(harness: CogHarness) -> None:
    admin_user = admin(harness)
    await ask(harness, admin_user, "video-admin limits server", exempt_admins=True)

    assert "**exempt**" in await ask(harness, admin_user, "video-admin limits show", member=admin_user)
    other = await ask(harness, admin_user, "video-admin limits show", member=harness.another_member("no admin"))
    assert "exempt" not in other


async def test_a_members_limits_in_another_server_are_not_shown(harness: CogHarness) -> None:
    guild, channel = another_guild(harness)
    user = harness.offline._env.create_user("both places")
    here, there = harness.offline.guild.add_member(user), guild.add_member(user)
    elsewhere = admin(harness, "elsewhere", guild=guild)
    await elsewhere.slash(channel, "video-admin limits member", member=there, videos=4321)

    text = await ask(harness, admin(harness), "video-admin limits show", member=here)

    assert "0 of **5** used (default)" in text
    assert "**4321** used (set for them)" in text_of(
        await elsewhere.slash(channel, "video-admin limits show", member=there)
    )


async def test_the_limits_of_many_roles_are_sent_as_a_file(harness: CogHarness) -> None:
    admin_user, guild = admin(harness), harness.offline.guild
    role = guild.create_role("one of many")
    async with harness.app.database.write() as connection:
        for number in range(100):
            target = role.id + number
            await limit_overrides.put(
                connection,
                guild.id,
                limit_overrides.LimitTarget.ROLE,
                target,
                LimitOverrides(videos_per_window=number),
            )

    result = await admin_user.slash(harness.offline.channel, "video-admin limits show")

    assert result.response is not None
    [file] = result.response.attachments
    assert (await file.read()).decode().count("<@&") == 100
    assert "the rest is in the file" in result.response.content
