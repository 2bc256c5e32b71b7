import pytest
from simcord import MemberActor

from bot.domain.jobs import JobState
from tests.cogs.admins import admin, another_guild, ask, text_of
from tests.cogs.conftest import CogHarness


async def jobs_of(harness: CogHarness) -> list[JobState]:
    found = await harness.app.service.recent(harness.offline.guild.id, harness.offline.viewer.id)
    return [job.state for job in found]


def viewer(harness: CogHarness) -> MemberActor:
    return harness.offline.viewer


async def test_a_grant_shows_the_balance_before_and_after(harness: CogHarness) -> None:
    admin_user, member = admin(harness), viewer(harness)
    await ask(harness, admin_user, "video-admin grant", member=member, credits=2)

    answer = await ask(
        harness, admin_user, "video-admin grant", member=member, credits=3, expires="30d", reason="won"
    )

    assert f"Gave <@{member.id}> 3 credits: 2 → 5" in answer
    assert "They expire <t:" in answer
    audit_log = await ask(harness, admin_user, "video-admin log show")
    assert f"gave <@{member.id}> 3 credits (2 → 5, expiring <t:" in audit_log
    assert "won" in audit_log


async def test_a_granted_credit_is_used_when_the_quota_is_used_up(harness: CogHarness) -> None:
    admin_user = admin(harness)
    await ask(harness, admin_user, "video-admin limits server", videos=0)
    assert "your limit is 0" in await harness.animate()

    await ask(harness, admin_user, "video-admin grant", member=viewer(harness), credits=1)

    assert "Got it!" in await harness.animate()
    assert "your limit is 0" in await harness.animate()
    assert len(await jobs_of(harness)) == 1


async def test_credits_can_be_revoked(harness: CogHarness) -> None:
    admin_user, member = admin(harness), viewer(harness)
    await ask(harness, admin_user, "video-admin grant", member=member, credits=5)

    assert "5 → 3" in await ask(harness, admin_user, "video-admin revoke", member=member, credits=2)
    assert "3 → 0" in await ask(harness, admin_user, "video-admin revoke", member=member, reason="enough")
    assert "no credits" in await ask(harness, admin_user, "video-admin revoke", member=member)


async def test_revoking_more_than_the_balance_revokes_all_of_it(harness: CogHarness) -> None:
    admin_user, member = admin(harness), viewer(harness)
    await ask(harness, admin_user, "video-admin grant", member=member, credits=1)

    assert "1 → 0" in await ask(harness, admin_user, "video-admin revoke", member=member, credits=9)


@pytest.mark.parametrize("expires", ["soon", "7", "-1d", "0s"])
async def test_an_unreadable_expiry_grants_nothing(harness: CogHarness, expires: str) -> None:
    admin_user, member = admin(harness), viewer(harness)

    await ask(harness, admin_user, "video-admin grant", member=member, credits=5, expires=expires)

    assert "no credits" in await ask(harness, admin_user, "video-admin revoke", member=member)


async def test_the_settings_show_the_credits_that_members_hold(harness: CogHarness) -> None:
    admin_user, member = admin(harness), viewer(harness)
    await ask(harness, admin_user, "video-admin grant", member=member, credits=5)

    assert "credits: **5**, held by **1 member**" in await ask(harness, admin_user, "video-admin settings")


async def test_credits_of_one_server_do_not_exist_in_another(harness: CogHarness) -> None:
    guild, channel = another_guild(harness)
    user = harness.offline._env.create_user("both places")
    here, there = harness.offline.guild.add_member(user), guild.add_member(user)
    elsewhere = admin(harness, "elsewhere", guild=guild)
    await ask(harness, admin(harness), "video-admin grant", member=here, credits=5)

    refused = await elsewhere.slash(channel, "video-admin revoke", member=there)

    assert "no credits" in text_of(refused)
    assert "credits: **0**" in text_of(await elsewhere.slash(channel, "video-admin settings"))
    assert "5 → 0" in await ask(harness, admin(harness, "again"), "video-admin revoke", member=here)


async def test_hostile_text_in_a_reason_is_inert(harness: CogHarness) -> None:
    admin_user = admin(harness)

    await ask(
        harness, admin_user, "video-admin grant", member=viewer(harness), credits=1, reason="@everyone **bold**"
    )

    audit_log = await ask(harness, admin_user, "video-admin log show")
    assert r"\@everyone \*\*bold\*\*" in audit_log
